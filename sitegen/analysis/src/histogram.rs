//! Reading a stored histogram back, as the curve of its percentiles.

use archive::Histogram;
use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::serialization::Deserializer;

/// Points of a curve for each factor of ten beyond.
const STEPS_PER_DECADE: i32 = 24;

/// One point of a percentile curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// 1 / (1 − q): 1 is the minimum, 2 the median, 100 the 99th percentile, 1000 the 99.9th.
    pub one_in: f64,
    pub seconds: f64,
}

/// A stored sample, by rank.
pub struct Ordered {
    /// Values up to and with this bucket, and its lowest and highest value in seconds; ascending.
    buckets: Vec<(u64, f64, f64)>,
}

impl Ordered {
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(until, ..)| *until)
    }

    /// Between which values, in seconds, the value of a rank lies; from 1, the last for ranks beyond.
    pub fn at(&self, rank: u64) -> (f64, f64) {
        let place = self.buckets.partition_point(|(until, ..)| *until < rank).min(self.buckets.len() - 1);
        let (_, low, high) = self.buckets[place];
        (low, high)
    }

    /// The percentile `share` (0–1), from the middle of its bucket; `None` when fewer than ten values lie beyond it.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let beyond = self.count() as f64 * (1.0 - share);
        let (low, high) = self.at((self.count() as f64 * share).ceil().max(1.0) as u64);
        // A count that is short of ten by rounding only is ten.
        (beyond > 9.999_999).then_some((low + high) / 2.0)
    }

    /// Cumulated count, lowest and highest value of every bucket that holds something.
    pub fn buckets(&self) -> &[(u64, f64, f64)] {
        &self.buckets
    }
}

/// Reads a stored sample; `None` when it is no histogram, or holds nothing.
pub fn ordered(histogram: &Histogram) -> Option<Ordered> {
    Some(by_rank(&decode(histogram)?, histogram.unit_s))
}

fn by_rank(values: &hdrhistogram::Histogram<u64>, unit_s: f64) -> Ordered {
    let mut until = 0;
    let buckets = values.iter_recorded().map(|bucket| {
        until += bucket.count_at_value();
        let value = bucket.value_iterated_to();
        let seconds = |value: u64| value as f64 * unit_s;
        (until, seconds(values.lowest_equivalent(value)), seconds(values.highest_equivalent(value)))
    });
    Ordered { buckets: buckets.collect() }
}

/// Stored samples put together, as those of all repetitions of a point; `None` when one cannot be read, when their units
/// differ, or when there is none.
pub fn pooled<'h>(histograms: impl IntoIterator<Item = &'h Histogram>) -> Option<Ordered> {
    let mut histograms = histograms.into_iter();
    let first = histograms.next()?;
    let mut all = decode(first)?;
    // A stored one reaches as far as its own values.
    all.auto(true);
    for other in histograms {
        if other.unit_s != first.unit_s {
            return None;
        }
        all.add(decode(other)?).ok()?;
    }
    Some(by_rank(&all, first.unit_s))
}

fn decode(histogram: &Histogram) -> Option<hdrhistogram::Histogram<u64>> {
    let bytes = BASE64_STANDARD.decode(&histogram.hdr_v2_base64).ok()?;
    let values: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).ok()?;
    (!values.is_empty()).then_some(values)
}

/// The percentiles of a stored sample, evenly spaced on a logarithmic axis of `one_in`, to the last that has ten
/// values beyond it (at least to the median). `None` when it is no histogram, or holds nothing.
pub fn percentile_curve(histogram: &Histogram) -> Option<Vec<CurvePoint>> {
    let values = decode(histogram)?;
    let last = (values.len() as f64 / 10.0).max(2.0);
    let steps = (last.log10() * f64::from(STEPS_PER_DECADE)).floor() as i32;
    let spaced = (0..=steps).map(|step| 10_f64.powf(f64::from(step) / f64::from(STEPS_PER_DECADE)));
    let at = |one_in: f64| CurvePoint {
        one_in,
        seconds: values.value_at_quantile(1.0 - 1.0 / one_in) as f64 * histogram.unit_s,
    };
    Some(spaced.chain([last]).map(at).collect())
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::{Serializer, V2Serializer};

    use super::*;

    fn stored(values: impl Iterator<Item = u64>) -> Histogram {
        let mut histogram = hdrhistogram::Histogram::<u64>::new(3).expect("three digits");
        values.for_each(|value| histogram.record(value).expect("in range"));
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).expect("written");
        Histogram { unit_s: 1e-9, hdr_v2_base64: BASE64_STANDARD.encode(bytes) }
    }

    #[test]
    fn the_curve_ends_where_ten_values_are_left() {
        let curve = percentile_curve(&stored((1..=10_000).map(|ms| ms * 1_000_000))).expect("a curve");
        assert_eq!(curve[0].one_in, 1.0);
        assert_eq!(curve.last().expect("points").one_in, 1000.0);
        for point in &curve {
            let expected = (1.0 - 1.0 / point.one_in) * 10.0;
            assert!((point.seconds - expected).abs() <= 0.002 * expected + 0.002, "{point:?}");
        }
    }

    #[test]
    fn parts_put_together_are_the_whole() {
        let times = |range: std::ops::Range<u64>| stored(range.map(|i| 1_000_000 + i * 7919 % 50_000_000));
        let (parts, whole) = ([times(0..700), times(700..5000), times(5000..10_000)], times(0..10_000));
        let (together, whole) = (pooled(&parts).expect("alike"), ordered(&whole).expect("some"));
        assert_eq!(together.buckets(), whole.buckets());
        assert_eq!((together.percentile(0.999), together.percentile(0.9991)), (whole.percentile(0.999), None));
        assert!(together.percentile(0.999).is_some());
        let in_seconds = Histogram { unit_s: 1.0, ..parts[0].clone() };
        assert!(pooled([&parts[0], &in_seconds]).is_none() && pooled([]).is_none());
    }

    #[test]
    fn what_is_no_histogram_has_no_curve() {
        for text in ["", "not base64!", "AAAA"] {
            assert_eq!(percentile_curve(&Histogram { unit_s: 1e-9, hdr_v2_base64: text.into() }), None, "{text}");
        }
        assert_eq!(percentile_curve(&stored(std::iter::empty())), None);
    }
}
