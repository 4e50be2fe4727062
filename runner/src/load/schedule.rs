//! The arrival schedule of an open loop: absolute offsets, fixed by seed and rate alone.
//!
//! Arrival `i` belongs to thread `i mod T`. Every thread draws the whole sequence and keeps its own part, so
//! the schedule is the same for every T and no thread needs another. Nothing here looks at a clock.

use super::{Arrival, LoadSpec, draw::Draw};

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

/// Every arrival of an open loop, without end. In closed loop there are none.
#[derive(Clone, Debug)]
struct Arrivals {
    rate: f64,
    gaps: Option<Draw>,
    next: u64,
    time_s: f64,
}

impl Arrivals {
    fn new(spec: &LoadSpec) -> Option<Self> {
        let (rate, gaps) = match spec.arrival {
            Arrival::Closed { .. } => return None,
            Arrival::Constant { rate } => (rate, None),
            Arrival::Poisson { rate } => (rate, Some(Draw::new(&[spec.seed, GAPS]))),
        };
        Some(Self { rate, gaps, next: 0, time_s: 0.0 })
    }

    fn next(&mut self) -> Due {
        let index = self.next;
        self.next += 1;
        let at_s = match &mut self.gaps {
            None => index as f64 / self.rate,
            Some(draw) => {
                self.time_s += draw.exponential(1.0 / self.rate);
                self.time_s
            }
        };
        Due { index, at_ns: (at_s * 1e9).round() as u64 }
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
    /// `None` in closed loop.
    pub fn new(spec: &LoadSpec) -> Option<Self> {
        let mut arrivals = Arrivals::new(spec)?;
        let warmup_ns = (spec.warmup.duration_s * 1e9) as u64;
        let first = std::iter::repeat_with(|| arrivals.next())
            .find(|due| due.index >= spec.warmup.requests && due.at_ns >= warmup_ns)?;
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
    pub fn new(spec: &LoadSpec, bounds: Option<Bounds>, thread: u32, threads: u32) -> Option<Self> {
        Some(Self {
            arrivals: Arrivals::new(spec)?,
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
            let due = self.arrivals.next();
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
    use crate::load::{Stop, Warmup};

    fn spec(arrival: Arrival, stop: Stop, warmup: Warmup, seed: u64) -> LoadSpec {
        LoadSpec { arrival, clients: 1, threads: 1, stop, warmup, stagger_s: 0.0, timeout_s: 1.0, pipeline: 1, seed }
    }

    fn schedule(spec: &LoadSpec, threads: u32) -> Vec<Due> {
        let bounds = Bounds::new(spec);
        let mut all: Vec<Due> = (0..threads)
            .flat_map(|thread| ThreadSchedule::new(spec, bounds, thread, threads).expect("an open loop"))
            .collect();
        all.sort_by_key(|due| due.index);
        all
    }

    proptest! {
        #[test]
        fn does_not_depend_on_threads_and_never_goes_back(
            rate in 1.0..1e6f64, poisson: bool, requests in 1u64..2000, warmup in 0u64..100,
            threads in 1u32..9, seed: u64,
        ) {
            let arrival = if poisson { Arrival::Poisson { rate } } else { Arrival::Constant { rate } };
            let stop = Stop { requests: Some(requests), duration_s: None };
            let spec = spec(arrival, stop, Warmup { duration_s: 0.0, requests: warmup }, seed);
            let one = schedule(&spec, 1);
            prop_assert_eq!(&one, &schedule(&spec, threads));
            prop_assert_eq!(one.len() as u64, requests + warmup);
            prop_assert!(one.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns && pair[0].index + 1 == pair[1].index));
            let bounds = Bounds::new(&spec).expect("an open loop");
            prop_assert_eq!(bounds.first_measured, warmup);
            prop_assert!(one[warmup as usize].at_ns >= bounds.window_start_ns);
        }

        #[test]
        fn a_window_holds_the_arrivals_due_in_it(rate in 100.0..1e4f64, seed: u64, warmup_s in 0.0..1.0f64) {
            let stop = Stop { requests: None, duration_s: Some(1.0) };
            let spec = spec(Arrival::Poisson { rate }, stop, Warmup { duration_s: warmup_s, requests: 0 }, seed);
            let bounds = Bounds::new(&spec).expect("an open loop");
            prop_assert_eq!(bounds.window_start_ns, (warmup_s * 1e9) as u64);
            for due in schedule(&spec, 2) {
                prop_assert!(due.at_ns < bounds.end_ns);
                prop_assert_eq!(due.index >= bounds.first_measured, due.at_ns >= bounds.window_start_ns);
            }
        }
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let stop = Stop { requests: Some(3_000_001), duration_s: None };
        let spec = spec(Arrival::Constant { rate: 3e5 }, stop, Warmup::default(), 1);
        let last = schedule(&spec, 1).pop().expect("not empty");
        assert_eq!((last.index, last.at_ns), (3_000_000, 10_000_000_000));
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        // Kolmogorov-Smirnov distance of the gaps from the exponential law; 1.95/√n is its 0.1 % point. The seed is
        // fixed, so the check cannot flake.
        let (rate, count) = (5000.0, 20_000);
        let stop = Stop { requests: Some(count), duration_s: None };
        let spec = spec(Arrival::Poisson { rate }, stop, Warmup::default(), 42);
        let times: Vec<f64> =
            std::iter::once(0.0).chain(schedule(&spec, 4).iter().map(|due| due.at_ns as f64 / 1e9)).collect();
        let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = gaps.iter().enumerate().fold(0.0f64, |worst, (i, gap)| {
            let law = 1.0 - (-rate * gap).exp();
            worst.max((law - i as f64 / n).abs()).max(((i + 1) as f64 / n - law).abs())
        });
        assert!(distance < 1.95 / n.sqrt(), "distance {distance}");
        let mean_rate = n / times[times.len() - 1];
        // Five standard deviations of the mean of that many exponential gaps.
        assert!((mean_rate / rate - 1.0).abs() < 5.0 / n.sqrt(), "mean rate {mean_rate}");
    }
}
