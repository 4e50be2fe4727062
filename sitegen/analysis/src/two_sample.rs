//! Two sets of repeats compared: tests, the size of the shift, and its intervals.
//!
//! Larger is slower; every difference is candidate minus base. Values are finite and in any unit. What a statistic is
//! not defined for is `None`, never a number. Independent values are assumed: requests of one benchmark are not.

mod bootstrap;
mod rank;
mod shift;
mod welch;

use serde::Serialize;

pub use bootstrap::RatioOfMedians;
pub use rank::MannWhitney;
pub use shift::HodgesLehmann;
pub use welch::Welch;

/// Name and version of the methods, to be shown beside every answer.
pub const METHOD: &str = "two-sample statistics, version 1";

/// Two samples, each sorted.
#[derive(Clone, Debug)]
pub struct TwoSamples {
    base: Vec<f64>,
    candidate: Vec<f64>,
}

/// Everything that is told of two samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether a value occurs more than once in both samples together.
    pub ties: bool,
    /// Of base and candidate, as the next two.
    pub mean: [f64; 2],
    pub median: [f64; 2],
    /// n − 1; `None` for one value.
    pub sd: [Option<f64>; 2],
    pub mann_whitney: MannWhitney,
    pub welch: Option<Welch>,
    pub hodges_lehmann: HodgesLehmann,
    /// (pairs where the candidate is larger − pairs where it is smaller) / all pairs (Cliff 1993).
    pub cliffs_delta: f64,
    pub bootstrap_ratio_of_medians: Option<RatioOfMedians>,
}

/// Why two samples cannot be compared.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleError {
    Empty(&'static str),
    NotFinite(&'static str, f64),
}

impl std::fmt::Display for SampleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty(side) => write!(f, "the {side} has no values"),
            Self::NotFinite(side, value) => write!(f, "the {side} has the value {value}, which is no number"),
        }
    }
}

impl std::error::Error for SampleError {}

impl TwoSamples {
    pub fn new(base: &[f64], candidate: &[f64]) -> Result<Self, SampleError> {
        let sorted = |side, values: &[f64]| {
            if values.is_empty() {
                return Err(SampleError::Empty(side));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(SampleError::NotFinite(side, *value));
            }
            // −0 and 0 are one value, also where numbers are ordered by their bits.
            let mut values: Vec<f64> = values.iter().map(|value| value + 0.0).collect();
            values.sort_unstable_by(f64::total_cmp);
            Ok(values)
        };
        Ok(Self { base: sorted("base", base)?, candidate: sorted("candidate", candidate)? })
    }

    pub fn compare(&self) -> Comparison {
        let sides = [&self.base, &self.candidate];
        Comparison {
            ties: self.has_ties(),
            mean: sides.map(|values| mean(values)),
            median: sides.map(|values| median(values)),
            sd: sides.map(|values| variance(values).map(f64::sqrt)),
            mann_whitney: self.mann_whitney(),
            welch: self.welch(),
            hodges_lehmann: self.hodges_lehmann(),
            cliffs_delta: self.cliffs_delta(),
            bootstrap_ratio_of_medians: self.ratio_of_medians(),
        }
    }

    pub fn cliffs_delta(&self) -> f64 {
        let pairs = self.pairs();
        (pairs.greater as f64 - pairs.smaller as f64) / (self.base.len() as f64 * self.candidate.len() as f64)
    }

    fn has_ties(&self) -> bool {
        let mut all = [&self.base[..], &self.candidate[..]].concat();
        all.sort_unstable_by(f64::total_cmp);
        all.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Pairs in which the candidate's value is greater, and smaller, than the base's.
    fn pairs(&self) -> Pairs {
        let (mut below, mut up_to) = (0, 0);
        let mut pairs = Pairs { greater: 0, smaller: 0 };
        for value in &self.candidate {
            below += self.base[below..].iter().take_while(|base| *base < value).count();
            up_to = up_to.max(below);
            up_to += self.base[up_to..].iter().take_while(|base| *base <= value).count();
            pairs.greater += below as u128;
            pairs.smaller += (self.base.len() - up_to) as u128;
        }
        pairs
    }
}

struct Pairs {
    greater: u128,
    smaller: u128,
}

/// The mean, summed around the first value so that a small spread on a large level keeps its digits.
fn mean(values: &[f64]) -> f64 {
    let first = values[0];
    first + values.iter().map(|value| value - first).sum::<f64>() / values.len() as f64
}

/// n − 1; `None` for one value.
fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1)
        .then(|| if values[0] == values[values.len() - 1] { 0.0 } else { squares / (values.len() - 1) as f64 })
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The smallest number for which `reached` holds; `reached` must stay true from there on. Goes by the bits of
/// numbers, so that the answer is exact.
fn least(reached: impl Fn(f64) -> bool) -> f64 {
    let number = |key: u64| f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key });
    let (mut low, mut high) = (!f64::NEG_INFINITY.to_bits(), f64::INFINITY.to_bits() | 1 << 63);
    while low < high {
        let middle = low + (high - low) / 2;
        match reached(number(middle)) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    number(low)
}

#[cfg(test)]
mod tests;
