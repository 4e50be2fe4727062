//! Value → place on an axis, and where its ticks stand. Pure.

use crate::units;

/// An axis: its name with the unit, and how values lie on it.
#[derive(Clone, Debug)]
pub struct Axis {
    pub name: String,
    pub scale: Scale,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    Linear {
        min: f64,
        max: f64,
    },
    /// Both ends above zero. Ticks stand at `ticks` where it holds any, else at 1, 2 and 5 times powers of ten.
    Log {
        min: f64,
        max: f64,
        ticks: Vec<f64>,
    },
    /// Values are places in this list, from 0.
    Category(Vec<String>),
}

impl Scale {
    /// From zero to a round number that holds all values, and a little room above them.
    pub fn from_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let largest = finite(values).fold(0.0, f64::max);
        if largest <= 0.0 {
            return Self::Linear { min: 0.0, max: 1.0 };
        }
        let step = step_of(largest * 1.04 / 5.0);
        Self::Linear { min: 0.0, max: (largest * 1.04 / step).ceil() * step }
    }

    /// Logarithmic where the values span more than a factor of 20, else from zero.
    pub fn for_durations(values: impl IntoIterator<Item = f64> + Clone) -> Self {
        let (low, high) = finite(values.clone()).fold((f64::MAX, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
        match low > 0.0 && high > 20.0 * low {
            true => Self::Log {
                min: round_number(low / 1.02, false),
                max: round_number(high * 1.02, true),
                ticks: Vec::new(),
            },
            false => Self::from_zero(values),
        }
    }

    /// 0 at the beginning of the axis, 1 at its end; what lies beyond is put at the end.
    pub fn place(&self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { min, max } => (value - min) / (max - min).max(f64::MIN_POSITIVE),
            Self::Log { min, max, .. } => {
                let span = (max / min).ln();
                if span <= 0.0 { 0.5 } else { (value.max(f64::MIN_POSITIVE) / min).ln() / span }
            }
            Self::Category(names) => (value + 0.5) / names.len().max(1) as f64,
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Value and label of every tick; labels may still collide.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { min, max } => {
                let step = step_of((max - min) / 5.0);
                let first = (min / step).ceil() as i64;
                let last = (max / step * (1.0 + 1e-9)).floor() as i64;
                let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
                (first..=last).map(|i| (i as f64 * step, tick_label(i as f64 * step, decimals))).collect()
            }
            Self::Log { ticks, .. } if !ticks.is_empty() => {
                ticks.iter().map(|value| (*value, units::load(*value))).collect()
            }
            Self::Log { min, max, .. } => {
                let decades = (max / min).log10();
                let steps: &[f64] = if decades > 3.5 {
                    &[1.0]
                } else if decades > 1.6 {
                    &[1.0, 3.0]
                } else {
                    &[1.0, 2.0, 5.0]
                };
                let powers = min.log10().floor() as i32..=max.log10().ceil() as i32;
                let values = powers.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
                values
                    .filter(|value| *value >= min * 0.999 && *value <= max * 1.001)
                    .map(|value| (value, tick_label(value, (-value.log10().floor()).clamp(0.0, 9.0) as usize)))
                    .collect()
            }
            Self::Category(names) => names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect(),
        }
    }
}

fn finite(values: impl IntoIterator<Item = f64>) -> impl Iterator<Item = f64> {
    values.into_iter().filter(|value| value.is_finite())
}

fn tick_label(value: f64, decimals: usize) -> String {
    match value {
        value if value.abs() >= 1e9 => format!("{}G", units::load(value / 1e9)),
        value if value.abs() >= 1e6 => format!("{}M", units::load(value / 1e6)),
        value if value.abs() >= 1e3 => units::load(value.round()),
        value => format!("{value:.decimals$}"),
    }
}

/// The next of 1, 2, 2.5, 5 times a power of ten that is not below `raw`.
fn step_of(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= raw * 0.999_999).unwrap_or(raw)
}

/// The next of 1, 2, 5 times a power of ten, up or down.
fn round_number(value: f64, up: bool) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let found = if up {
        steps.iter().find(|step| **step >= value * 0.999_999)
    } else {
        steps.iter().rev().find(|step| **step <= value * 1.000_001)
    };
    found.copied().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_their_values_and_have_ticks() {
        for values in [vec![0.0], vec![1e-9], vec![0.3, 7.0, 128.4], vec![5e6, 1.0], vec![f64::NAN, 3.0], vec![]] {
            for scale in [Scale::from_zero(values.clone()), Scale::for_durations(values.clone())] {
                let ticks = scale.ticks();
                assert!((2..=12).contains(&ticks.len()), "{values:?}: {ticks:?}");
                for value in values.iter().filter(|value| value.is_finite()) {
                    assert!((0.0..=1.0).contains(&scale.place(*value)), "{values:?}");
                }
            }
        }
        assert_eq!(Scale::from_zero([118.0]), Scale::Linear { min: 0.0, max: 150.0 });
        assert_eq!(Scale::for_durations([12.0, 400.0]), Scale::Log { min: 10.0, max: 500.0, ticks: vec![] });
    }

    #[test]
    fn labels_are_as_exact_as_the_step() {
        let labels = |scale: Scale| scale.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(Scale::Linear { min: 0.0, max: 1.0 }), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::Linear { min: 0.0, max: 20_000.0 })[1..3], ["5,000", "10,000"]);
        assert_eq!(labels(Scale::Log { min: 0.1, max: 1.0, ticks: vec![] }), ["0.1", "0.2", "0.5", "1"]);
    }
}
