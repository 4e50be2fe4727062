//! The arrival schedule of an open loop: absolute offsets, fixed by seed and spec alone.
//!
//! Arrival `i` belongs to thread `i mod T`. Every thread draws the whole sequence and keeps its own part, so
//! the schedule is the same for every T and no thread needs another. Nothing here looks at a clock.

use std::sync::Arc;

use super::{Arrival, LoadSpec, Trace, draw::Draw, profile::Rescaling};

/// Stream of draws for the gaps, apart from those for request content.
const GAPS: u64 = 0x6172_7269_7661_6c73;

/// One request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Place in the whole sequence, from 0.
    pub index: u64,
    /// Nanoseconds from offset 0.
    pub at_ns: u64,
}

/// Every arrival of an open loop. In closed loop there are none.
#[derive(Clone, Debug)]
struct Arrivals {
    process: Process,
    /// From the process of rate 1 to time.
    clock: Clock,
    next: u64,
    /// Where the process of rate 1 is.
    reached: f64,
}

/// Gaps of mean 1, or recorded times.
#[derive(Clone, Debug)]
enum Process {
    Constant,
    Poisson(Draw),
    Gamma(Draw, f64),
    Trace(Arc<Trace>),
}

#[derive(Clone, Debug)]
enum Clock {
    Rate(f64),
    Steps(Rescaling),
}

impl Arrivals {
    fn new(spec: &LoadSpec, trace: Option<&Arc<Trace>>) -> Option<Self> {
        let gaps = || Draw::new(&[spec.seed, GAPS]);
        let (process, rate) = match spec.arrival {
            Arrival::Closed { .. } => return None,
            Arrival::Constant { rate } => (Process::Constant, rate),
            Arrival::Poisson { rate } => (Process::Poisson(gaps()), rate),
            Arrival::Gamma { rate, shape } => (Process::Gamma(gaps(), shape), rate),
            Arrival::Trace { speed, .. } => (Process::Trace(trace?.clone()), speed),
        };
        let clock = match spec.steps.is_empty() {
            true => Clock::Rate(rate),
            false => Clock::Steps(Rescaling::new(spec.warmup.duration_s, &spec.steps)),
        };
        Some(Self { process, clock, next: 0, reached: 0.0 })
    }
}

impl Iterator for Arrivals {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let index = self.next;
        self.next += 1;
        match &mut self.process {
            Process::Constant => self.reached = index as f64,
            Process::Poisson(draw) => self.reached += draw.exponential(1.0),
            Process::Gamma(draw, shape) => self.reached += draw.gamma(*shape),
            Process::Trace(trace) => self.reached = trace.arrivals.get(index as usize)?.offset_s,
        }
        let at_s = match &mut self.clock {
            Clock::Rate(rate) => self.reached / *rate,
            Clock::Steps(rescaling) => rescaling.time_of(self.reached)?,
        };
        Some(Due { index, at_ns: (at_s * 1e9).round() as u64 })
    }
}

/// Where warm-up ends and the load ends in an open loop's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The measurement window begins here, in nanoseconds from offset 0.
    pub window_start_ns: u64,
    /// The first arrival that is measured.
    pub first_measured: u64,
    /// No arrival at or after this index, nor at or after this time.
    pub end_index: u64,
    pub end_ns: u64,
}

impl Bounds {
    /// `None` in closed loop, and when all is warm-up.
    pub fn new(spec: &LoadSpec, trace: Option<&Arc<Trace>>) -> Option<Self> {
        let warmup_ns = (spec.warmup.duration_s * 1e9) as u64;
        let first =
            Arrivals::new(spec, trace)?.find(|due| due.index >= spec.warmup.requests && due.at_ns >= warmup_ns)?;
        // A window after counted warm-up begins with its first request, else when the time is up.
        let by_count = spec.warmup.requests > 0 && first.index == spec.warmup.requests;
        let window_start_ns = if by_count { first.at_ns } else { warmup_ns };
        Some(Self {
            window_start_ns,
            first_measured: first.index,
            end_index: spec.stop.requests.map_or(u64::MAX, |count| first.index.saturating_add(count)),
            end_ns: spec
                .stop
                .duration_s
                .map_or(u64::MAX, |duration| window_start_ns.saturating_add((duration * 1e9) as u64)),
        })
    }
}

/// The spec with the stop that is reached first: a window that lasted on after the last of its requests would tell a lower
/// rate than was driven.
pub fn reached_first(spec: &LoadSpec, trace: Option<&Arc<Trace>>) -> LoadSpec {
    let mut spec = spec.clone();
    let both = spec.stop.requests.is_some() && spec.stop.duration_s.is_some();
    if let Some(bounds) = both.then(|| Bounds::new(&spec, trace)).flatten() {
        let end = Arrivals::new(&spec, trace)
            .and_then(|mut all| all.find(|due| due.index >= bounds.end_index || due.at_ns >= bounds.end_ns));
        if end.is_some_and(|due| due.at_ns < bounds.end_ns) {
            spec.stop.duration_s = None;
        }
    }
    spec
}

/// One thread's part of the schedule.
#[derive(Debug)]
pub struct ThreadSchedule {
    arrivals: Arrivals,
    bounds: Bounds,
    thread: u64,
    threads: u64,
}

impl ThreadSchedule {
    /// `None` in closed loop.
    pub fn new(
        spec: &LoadSpec,
        trace: Option<&Arc<Trace>>,
        bounds: Option<Bounds>,
        thread: u32,
        threads: u32,
    ) -> Option<Self> {
        Some(Self {
            arrivals: Arrivals::new(spec, trace)?,
            bounds: bounds?,
            thread: u64::from(thread),
            threads: u64::from(threads),
        })
    }
}

impl Iterator for ThreadSchedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let due = self.arrivals.next()?;
            if due.index >= self.bounds.end_index || due.at_ns >= self.bounds.end_ns {
                return None;
            }
            if due.index % self.threads == self.thread {
                return Some(due);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::{Step, Stop, Warmup, trace::Arrived};

    fn spec(arrival: Arrival, stop: Stop, warmup: Warmup, seed: u64) -> LoadSpec {
        LoadSpec {
            arrival,
            clients: 1,
            threads: 1,
            stop,
            warmup,
            stagger_s: 0.0,
            timeout_s: 1.0,
            pipeline: 1,
            seed,
            steps: Vec::new(),
            precision: None,
        }
    }

    #[test]
    fn a_window_is_no_longer_than_its_load() {
        let duration_left = |requests, duration| {
            let stop = Stop { requests, duration_s: duration };
            reached_first(&spec(Arrival::Constant { rate: 100.0 }, stop, Warmup::default(), 1), None).stop.duration_s
        };
        assert_eq!(duration_left(Some(50), Some(10.0)), None, "after half a second");
        assert_eq!(duration_left(Some(5000), Some(10.0)), Some(10.0), "before the requests are");
        assert_eq!(duration_left(None, Some(10.0)), Some(10.0));
    }

    fn schedule_of(spec: &LoadSpec, trace: Option<&Arc<Trace>>, threads: u32) -> Vec<Due> {
        let bounds = Bounds::new(spec, trace);
        let mut all: Vec<Due> = (0..threads)
            .flat_map(|thread| ThreadSchedule::new(spec, trace, bounds, thread, threads).expect("an open loop"))
            .collect();
        all.sort_by_key(|due| due.index);
        all
    }

    fn schedule(spec: &LoadSpec, threads: u32) -> Vec<Due> {
        schedule_of(spec, None, threads)
    }

    fn counted(requests: u64) -> Stop {
        Stop { requests: Some(requests), duration_s: None }
    }

    fn arrivals() -> impl Strategy<Value = Arrival> {
        (1.0..1e6f64, 0.1..10.0f64, 0..3).prop_map(|(rate, shape, model)| match model {
            0 => Arrival::Constant { rate },
            1 => Arrival::Poisson { rate },
            _ => Arrival::Gamma { rate, shape },
        })
    }

    proptest! {
        #[test]
        fn does_not_depend_on_threads_and_never_goes_back(
            arrival in arrivals(), requests in 1u64..2000, warmup in 0u64..100, threads in 1u32..9, seed: u64,
        ) {
            let spec = spec(arrival, counted(requests), Warmup { duration_s: 0.0, requests: warmup }, seed);
            let one = schedule(&spec, 1);
            prop_assert_eq!(&one, &schedule(&spec, threads));
            prop_assert_eq!(one.len() as u64, requests + warmup);
            prop_assert!(one.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns && pair[0].index + 1 == pair[1].index));
            let bounds = Bounds::new(&spec, None).expect("an open loop");
            prop_assert_eq!(bounds.first_measured, warmup);
            prop_assert!(one[warmup as usize].at_ns >= bounds.window_start_ns);
        }

        #[test]
        fn a_window_holds_the_arrivals_due_in_it(rate in 100.0..1e4f64, seed: u64, warmup_s in 0.0..1.0f64) {
            let stop = Stop { requests: None, duration_s: Some(1.0) };
            let spec = spec(Arrival::Poisson { rate }, stop, Warmup { duration_s: warmup_s, requests: 0 }, seed);
            let bounds = Bounds::new(&spec, None).expect("an open loop");
            prop_assert_eq!(bounds.window_start_ns, (warmup_s * 1e9) as u64);
            for due in schedule(&spec, 2) {
                prop_assert!(due.at_ns < bounds.end_ns);
                prop_assert_eq!(due.index >= bounds.first_measured, due.at_ns >= bounds.window_start_ns);
            }
        }
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let spec = spec(Arrival::Constant { rate: 3e5 }, counted(3_000_001), Warmup::default(), 1);
        let last = schedule(&spec, 1).pop().expect("not empty");
        assert_eq!((last.index, last.at_ns), (3_000_000, 10_000_000_000));
    }

    /// Kolmogorov-Smirnov distance of a sample from a law.
    fn distance(mut sample: Vec<f64>, law: impl Fn(f64) -> f64) -> f64 {
        sample.sort_by(f64::total_cmp);
        let n = sample.len() as f64;
        sample.iter().enumerate().fold(0.0f64, |worst, (i, value)| {
            worst.max((law(*value) - i as f64 / n).abs()).max(((i + 1) as f64 / n - law(*value)).abs())
        })
    }

    /// Below the 0.1 % point of the distance. Seeds are fixed, so the checks cannot flake.
    fn assert_follows(sample: Vec<f64>, law: impl Fn(f64) -> f64, name: &str) {
        let n = sample.len() as f64;
        let distance = distance(sample, law);
        assert!(distance < 1.95 / n.sqrt(), "{name}: distance {distance}");
    }

    fn gaps(times: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut last = 0.0;
        times.into_iter().map(|time| time - std::mem::replace(&mut last, time)).collect()
    }

    #[test]
    fn gaps_follow_their_law() {
        let rate = 5000.0;
        let exponential = |gap: f64| 1.0 - (-rate * gap).exp();
        // Erlang's law: gamma of shape 2.
        let erlang = |gap: f64| 1.0 - (-2.0 * rate * gap).exp() * (1.0 + 2.0 * rate * gap);
        let check = |arrival: Arrival, law: &dyn Fn(f64) -> f64, pairs: bool, name: &str| {
            let spec = spec(arrival, counted(20_000), Warmup::default(), 42);
            let times: Vec<f64> = schedule(&spec, 4).iter().map(|due| due.at_ns as f64 / 1e9).collect();
            let mean_rate = times.len() as f64 / times[times.len() - 1];
            // Five standard deviations of the mean of that many gaps, for the widest of the laws.
            assert!(
                (mean_rate / rate - 1.0).abs() < 5.0 * 2f64.sqrt() / (times.len() as f64).sqrt(),
                "{name} {mean_rate}"
            );
            let gaps = gaps(times);
            // Two gaps of shape ½ make one of shape 1, of twice the mean.
            let gaps = if pairs { gaps.chunks(2).map(|pair| pair.iter().sum::<f64>() / 2.0).collect() } else { gaps };
            assert_follows(gaps, law, name);
        };
        check(Arrival::Poisson { rate }, &exponential, false, "poisson");
        check(Arrival::Gamma { rate, shape: 1.0 }, &exponential, false, "gamma 1");
        check(Arrival::Gamma { rate, shape: 2.0 }, &erlang, false, "gamma 2");
        check(Arrival::Gamma { rate, shape: 0.5 }, &exponential, true, "gamma ½");
    }

    /// At the 1 % level, three of 300 seeds are expected; thirteen come once in 100,000 times.
    #[test]
    fn of_many_seeds_no_more_are_doubtful_than_by_chance() {
        let doubtful = |seed: &u64| {
            let spec = spec(Arrival::Poisson { rate: 10_000.0 }, counted(2000), Warmup::default(), *seed);
            let gaps = gaps(schedule(&spec, 1).iter().map(|due| due.at_ns as f64 / 1e9));
            distance(gaps, |gap| 1.0 - (-10_000.0 * gap).exp()) > 1.63 / 2000f64.sqrt()
        };
        assert!((0..300).filter(doubtful).count() < 13);
    }

    #[test]
    fn arrivals_of_a_ramp_are_poisson_on_its_own_clock() {
        let step = |from, to, duration_s| Step { from, to, duration_s };
        let steps = vec![step(100.0, 100.0, 5.0), step(100.0, 2000.0, 10.0), step(500.0, 500.0, 5.0)];
        let stop = Stop { requests: None, duration_s: Some(20.0) };
        let warmup = Warmup { duration_s: 2.0, requests: 0 };
        let spec = LoadSpec { steps, ..spec(Arrival::Poisson { rate: 1.0 }, stop, warmup, 3) };
        let all = schedule(&spec, 3);
        assert_eq!(all, schedule(&spec, 1));
        let bounds = Bounds::new(&spec, None).expect("an open loop");
        assert_eq!((bounds.window_start_ns, bounds.end_ns), (2_000_000_000, 22_000_000_000));
        // The integral of the rate up to each arrival must be a Poisson process of rate 1.
        let integral = |t: f64| match t {
            t if t < 7.0 => 100.0 * t,
            t if t < 17.0 => 700.0 + 100.0 * (t - 7.0) + 95.0 * (t - 7.0).powi(2),
            t => 700.0 + 10_500.0 + 500.0 * (t - 17.0),
        };
        let unit = all.iter().map(|due| integral(due.at_ns as f64 / 1e9));
        assert_follows(gaps(unit), |gap| 1.0 - (-gap).exp(), "ramp");
        assert!((spec.requested_rate().expect("open") - 675.0).abs() < 1e-9);
    }

    #[test]
    fn a_trace_is_replayed_as_it_was_at_its_speed() {
        let arrivals =
            [0.0, 0.5, 0.5, 2.0].map(|offset_s| Arrived { offset_s, input_tokens: None, output_tokens: None });
        let trace = Trace::of(arrivals.to_vec());
        let arrival = Arrival::Trace { sha256: trace.sha256.clone(), speed: 2.0, requests: 4, rate: 3.0 };
        let spec = spec(arrival, counted(3), Warmup { duration_s: 0.1, requests: 0 }, 1);
        for threads in [1, 3] {
            let times: Vec<u64> = schedule_of(&spec, Some(&trace), threads).iter().map(|due| due.at_ns).collect();
            assert_eq!(times, [0, 250_000_000, 250_000_000, 1_000_000_000]);
        }
        assert_eq!(Bounds::new(&spec, Some(&trace)).expect("an open loop").first_measured, 1);
        assert_eq!(Bounds::new(&spec, None), None);
    }
}
