//! Plain facts of a sweep: its peak, and how far a limit holds. Repetitions of a load count by their median.

use std::collections::BTreeMap;

/// The largest median of a sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    pub load: f64,
    pub value: f64,
}

/// How far a limit holds, from the smallest load on without a gap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compliance {
    /// At no load: already the smallest breaks the limit.
    Never { first: f64 },
    /// Up to `load`, interpolated between the largest load that keeps the limit and the next, `broken_at`.
    UpTo { load: f64, broken_at: f64 },
    /// At every load swept; the largest is `last`.
    Throughout { last: f64 },
}

/// The load with the largest median; the smallest of those loads when several have it.
pub fn peak(points: &[(f64, f64)]) -> Option<Peak> {
    let defined: Vec<_> = points.iter().map(|(load, value)| (*load, Some(*value))).collect();
    let medians = medians(&defined).into_iter().filter_map(|(load, value)| Some(Peak { load, value: value? }));
    medians.reduce(|best, peak| if peak.value > best.value { peak } else { best })
}

/// How far `value ≤ limit` holds (`at_most`), or `value ≥ limit`. A value of `None` breaks the limit: nothing was
/// measured there because the service failed.
pub fn compliance(points: &[(f64, Option<f64>)], limit: f64, at_most: bool) -> Option<Compliance> {
    let keeps = |value: f64| if at_most { value <= limit } else { value >= limit };
    let mut kept: Option<(f64, f64)> = None;
    for (load, value) in medians(points) {
        if let Some(value) = value.filter(|value| keeps(*value)) {
            kept = Some((load, value));
            continue;
        }
        let Some((last_load, last_value)) = kept else { return Some(Compliance::Never { first: load }) };
        let share = value.map_or(0.0, |value| (limit - last_value) / (value - last_value));
        return Some(Compliance::UpTo { load: last_load + share * (load - last_load), broken_at: load });
    }
    kept.map(|(last, _)| Compliance::Throughout { last })
}

/// Load → median of its values, ascending; `None` where a repetition has no value and half or more have none.
fn medians(points: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    let mut groups: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
    for (load, value) in points.iter().filter(|(load, _)| load.is_finite() && *load >= 0.0) {
        // Bits of numbers that are not negative are ordered as the numbers are.
        let (_, values) = groups.entry((load + 0.0).to_bits()).or_insert((*load, Vec::new()));
        values.push(value.filter(|value| !value.is_nan()).unwrap_or(f64::NAN));
    }
    let group_median = |mut values: Vec<f64>| {
        let all = values.len();
        values.retain(|value| !value.is_nan());
        (values.len() * 2 > all).then(|| median(values)).flatten()
    };
    groups.into_values().map(|(load, values)| (load, group_median(values))).collect()
}

/// The middle value, or the mean of the two middle values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => Some(values[middle]),
        _ => middle.checked_sub(1).map(|before| (values[before] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_a_median_and_not_a_lucky_repetition() {
        let points = [(1.0, 10.0), (2.0, 20.0), (2.0, 21.0), (2.0, 22.0), (4.0, 60.0), (4.0, 15.0), (4.0, 16.0)];
        assert_eq!(peak(&points), Some(Peak { load: 2.0, value: 21.0 }));
        assert_eq!(peak(&[(8.0, 5.0), (4.0, 5.0)]), Some(Peak { load: 4.0, value: 5.0 }));
        assert_eq!(peak(&[]), None);
    }

    #[test]
    fn a_limit_holds_without_a_gap() {
        let points = |values: &[(f64, f64)]| values.iter().map(|(x, y)| (*x, Some(*y))).collect::<Vec<_>>();
        let rising = points(&[(1.0, 0.1), (2.0, 0.2), (4.0, 0.4), (8.0, 0.2)]);
        for (limit, expected) in [
            (0.05, Compliance::Never { first: 1.0 }),
            (0.2, Compliance::UpTo { load: 2.0, broken_at: 4.0 }),
            (0.3, Compliance::UpTo { load: 3.0, broken_at: 4.0 }),
            (0.4, Compliance::Throughout { last: 8.0 }),
        ] {
            let Some(found) = compliance(&rising, limit, true) else { panic!("defined") };
            let near = match (found, expected) {
                (Compliance::UpTo { load: a, .. }, Compliance::UpTo { load: b, .. }) => (a - b).abs() < 1e-12,
                (a, b) => a == b,
            };
            assert!(near, "{limit}: {found:?}");
        }
        let success = points(&[(1.0, 100.0), (2.0, 99.0), (4.0, 90.0)]);
        let expected = Compliance::UpTo { load: 2.0, broken_at: 4.0 };
        assert_eq!(compliance(&success, 99.0, false), Some(expected));
        let dead = [(1.0, Some(0.1)), (2.0, None), (4.0, Some(0.1))];
        assert_eq!(compliance(&dead, 0.5, true), Some(Compliance::UpTo { load: 1.0, broken_at: 2.0 }));
        assert_eq!(compliance(&[], 0.5, true), None);
    }

    #[test]
    fn medians() {
        for (values, expected) in [(vec![], None), (vec![3.0], Some(3.0)), (vec![4.0, 1.0, 2.0, 3.0], Some(2.5))] {
            assert_eq!(median(values), expected);
        }
    }
}
