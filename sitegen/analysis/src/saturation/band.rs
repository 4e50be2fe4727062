//! Intervals around the figures of a sweep's points, as charts draw them.

use super::{Groups, student};

/// Name and version of the method.
pub const BAND_METHOD: &str =
    "Student's t, with the relative spread of repetitions that all points of the series share, version 1";

/// What the interval is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Center {
    Median,
    Mean,
}

/// The 95 % interval of the figure at each place that has several values: place, low, high. `points` are place and value
/// of every repetition. A low end is never below zero, since rates and durations are not.
pub fn intervals(points: &[(f64, f64)], center: Center) -> Vec<(f64, f64, f64)> {
    let groups = Groups::new(points);
    let interval = |(load, values): &(f64, Vec<f64>)| {
        if values.len() < 2 || groups.freedom <= 0.0 {
            return None;
        }
        let (middle, half) = match center {
            Center::Median => (super::median(values.clone())?, groups.half_width(values.len())?),
            // The mean of logarithms, to which relative spreads belong.
            Center::Mean => {
                let logs: Option<f64> = values.iter().map(|value| (*value > 0.0).then(|| value.ln())).sum();
                let middle = (logs? / values.len() as f64).exp();
                (middle, student(groups.freedom) * groups.spread / (values.len() as f64).sqrt())
            }
        };
        Some((*load, (middle * (1.0 - half)).max(0.0), middle * (1.0 + half)))
    };
    groups.loads.iter().filter_map(interval).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        // Normal scatter of 5 % around 100 and 200, three repetitions each.
        let mut state = 7_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as f64 + 0.5) / 2_f64.powi(31)
        };
        let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
        for center in [Center::Median, Center::Mean] {
            let (mut inside, mut all) = (0, 0);
            for _ in 0..2_000 {
                let mut points = Vec::new();
                for (x, truth) in [(1.0, 100.0), (2.0, 200.0)] {
                    points.extend((0..3).map(|_| (x, truth * (1.0 + 0.05 * normal()))));
                }
                for (x, low, high) in intervals(&points, center) {
                    let truth = 100.0 * x;
                    inside += usize::from(low <= truth && truth <= high);
                    all += 1;
                }
            }
            let share = f64::from(inside as u32) / f64::from(all);
            assert!(all == 4_000 && (0.93..0.97).contains(&share), "{center:?}: {share} of {all}");
        }
    }

    #[test]
    fn a_single_value_has_no_interval() {
        assert_eq!(intervals(&[(1.0, 5.0), (2.0, 6.0)], Center::Median), []);
        let some = intervals(&[(1.0, 5.0), (2.0, 6.0), (2.0, 6.2)], Center::Median);
        assert!(matches!(some[..], [(2.0, low, high)] if low < 6.0 && high > 6.2), "{some:?}");
        assert_eq!(intervals(&[(1.0, 0.0), (1.0, 0.0)], Center::Mean), []);
    }
}
