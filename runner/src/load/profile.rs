//! A level over time: steps and ramps of a request rate (open loop) or of a number of clients (closed loop).
//!
//! Pure. Arrivals of a varying rate come from those of rate 1 by a change of time: the arrival at `v` of the unit
//! process is due at the `t` where the rate's integral up to `t` is `v` (Çinlar: Introduction to Stochastic
//! Processes, 1975, ch. 4.7), so constant, Poisson and gamma arrivals all follow any profile.

use serde::{Deserialize, Serialize};

/// A stretch of time in which the level goes evenly from one value to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub from: f64,
    pub to: f64,
    pub duration_s: f64,
}

/// When a step was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepBounds {
    pub from: f64,
    pub to: f64,
    /// Half open, in seconds from offset 0.
    pub start_s: f64,
    pub end_s: f64,
}

/// Sum of the steps' lengths; `None` without steps.
pub fn total_s(steps: &[Step]) -> Option<f64> {
    (!steps.is_empty()).then(|| steps.iter().map(|step| step.duration_s).sum())
}

/// Mean level over all steps; `None` without steps.
pub fn mean_level(steps: &[Step]) -> Option<f64> {
    let area: f64 = steps.iter().map(|step| (step.from + step.to) / 2.0 * step.duration_s).sum();
    Some(area / total_s(steps)?)
}

/// The steps that began before `window_s` ended, each cut off at its end.
pub fn bounds(steps: &[Step], window_s: [f64; 2]) -> Vec<StepBounds> {
    let mut start_s = window_s[0];
    let mut bounds = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        // The sum of the lengths may miss the end by a rounding error.
        let end_s = if number + 1 == steps.len() { window_s[1] } else { (start_s + step.duration_s).min(window_s[1]) };
        if end_s > start_s {
            bounds.push(StepBounds { from: step.from, to: step.to, start_s, end_s });
        }
        start_s += step.duration_s;
    }
    bounds
}

/// From the arrivals of a process of rate 1 to those of the profile; asked in ascending order.
#[derive(Clone, Debug)]
pub struct Rescaling {
    steps: Vec<Step>,
    current: usize,
    /// Start of the current step, and the integral up to there.
    start_s: f64,
    area: f64,
}

impl Rescaling {
    /// `warmup_s` at the first step's first level, and then the steps. At least one step.
    pub fn new(warmup_s: f64, steps: &[Step]) -> Self {
        let level = steps.first().map_or(0.0, |step| step.from);
        let mut all = vec![Step { from: level, to: level, duration_s: warmup_s }];
        all.extend_from_slice(steps);
        Self { steps: all, current: 0, start_s: 0.0, area: 0.0 }
    }

    /// The time at which the integral reaches `v`; `None` when it never does.
    pub fn time_of(&mut self, v: f64) -> Option<f64> {
        loop {
            let step = self.steps.get(self.current)?;
            let area = (step.from + step.to) / 2.0 * step.duration_s;
            let left = v - self.area;
            if left < area {
                // a·s + (b − a)·s²/(2·d) = left, solved without cancellation.
                let slope = (step.to - step.from) / step.duration_s;
                let root = (step.from * step.from + 2.0 * slope * left).max(0.0).sqrt();
                let within = if left > 0.0 { 2.0 * left / (step.from + root) } else { 0.0 };
                return Some(self.start_s + within.clamp(0.0, step.duration_s));
            }
            self.area += area;
            self.start_s += step.duration_s;
            self.current += 1;
        }
    }
}

/// When client `number` of a closed loop is at work: spans in seconds from the start of the window. At every moment
/// the number of clients at work is the level, rounded.
pub fn spans(steps: &[Step], number: u32) -> Vec<[f64; 2]> {
    let threshold = f64::from(number) + 0.5;
    let mut spans: Vec<[f64; 2]> = Vec::new();
    let mut start = 0.0;
    for step in steps {
        let end = start + step.duration_s;
        // Where the level crosses the client's threshold, if it does within the step.
        let crossing = start + (threshold - step.from) / (step.to - step.from) * step.duration_s;
        let span = match (step.from >= threshold, step.to >= threshold) {
            (true, true) => Some([start, end]),
            (true, false) => Some([start, crossing.min(end)]),
            (false, true) => Some([crossing.max(start), end]),
            (false, false) => None,
        };
        match (spans.last_mut(), span) {
            (Some(last), Some([from, to])) if last[1] == from => last[1] = to,
            (_, Some(span)) => spans.push(span),
            (_, None) => {}
        }
        start = end;
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(from: f64, to: f64, duration_s: f64) -> Step {
        Step { from, to, duration_s }
    }

    #[test]
    fn clients_work_while_the_level_holds_them() {
        let steps = [step(1.0, 1.0, 10.0), step(1.0, 3.0, 20.0), step(2.0, 2.0, 10.0)];
        for (number, expect) in [(0, vec![[0.0, 40.0]]), (1, vec![[15.0, 40.0]]), (2, vec![[25.0, 30.0]]), (3, vec![])]
        {
            assert_eq!(spans(&steps, number), expect, "client {number}");
        }
    }

    #[test]
    fn bounds_follow_the_window_and_are_cut_with_it() {
        let steps = [step(1.0, 1.0, 1.0), step(2.0, 2.0, 1.0), step(3.0, 3.0, 1.0)];
        let ends = |window| bounds(&steps, window).iter().map(|step| (step.start_s, step.end_s)).collect::<Vec<_>>();
        assert_eq!(ends([0.5, 3.5]), [(0.5, 1.5), (1.5, 2.5), (2.5, 3.5)]);
        assert_eq!(ends([0.5, 1.75]), [(0.5, 1.5), (1.5, 1.75)]);
        assert_eq!(mean_level(&steps), Some(2.0));
    }

    proptest! {
        #[test]
        fn the_integral_up_to_the_time_is_what_was_asked(
            levels in proptest::collection::vec((0.0..1e4f64, 0.0..1e4f64, 0.01..100.0f64), 1..6), warmup in 0.0..5.0f64,
            share in 0.0..0.999f64,
        ) {
            let steps: Vec<Step> = levels.into_iter().map(|(from, to, duration)| step(from, to, duration)).collect();
            let first = steps[0].from;
            let area = first * warmup + steps.iter().map(|step| (step.from + step.to) / 2.0 * step.duration_s).sum::<f64>();
            prop_assume!(area > 1.0);
            let v = area * share;
            let t = Rescaling::new(warmup, &steps).time_of(v).expect("within");
            // Simpson's rule is exact for straight lines.
            let mut integral = first * t.min(warmup);
            let mut start = warmup;
            for step in &steps {
                let s = (t - start).clamp(0.0, step.duration_s);
                let level = step.from + (step.to - step.from) * s / step.duration_s;
                integral += (step.from + level) / 2.0 * s;
                start += step.duration_s;
            }
            prop_assert!((integral - v).abs() <= 1e-6 * area, "{integral} {v}");
            prop_assert_eq!(Rescaling::new(warmup, &steps).time_of(area * 1.001 + 1.0), None);
        }

        #[test]
        fn clients_at_work_are_the_level_rounded(
            levels in proptest::collection::vec((0.0..20.0f64, 0.0..20.0f64, 0.1..10.0f64), 1..5), share in 0.001..0.999f64,
        ) {
            let steps: Vec<Step> = levels.into_iter().map(|(from, to, duration)| step(from, to, duration)).collect();
            let t = total_s(&steps).expect("steps") * share;
            let mut start = 0.0;
            let mut level = 0.0;
            for step in &steps {
                if t >= start && t < start + step.duration_s {
                    level = step.from + (step.to - step.from) * (t - start) / step.duration_s;
                }
                start += step.duration_s;
            }
            prop_assume!((level.fract() - 0.5).abs() > 1e-6);
            let working = (0..25).filter(|number| spans(&steps, *number).iter().any(|span| span[0] <= t && t < span[1])).count();
            prop_assert_eq!(working as f64, level.round());
        }
    }
}
