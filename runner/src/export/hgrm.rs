//! The percentile distribution of a stored histogram, in the text format of HdrHistogram (`.hgrm`), in milliseconds.
//!
//! Format: `outputPercentileDistribution` of the Java library, with five ticks for each half distance to 100 %.

use std::io::Write;

use analysis::compare::metric::Metric;
use anyhow::{Context, Result, bail};
use archive::{Benchmark, Distribution};
use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};

/// Ticks for each half distance.
const TICKS: u32 = 5;

/// `sample`: `latency`, `service_time`, `ttft`, `tpot`, `itl`.
pub fn write(benchmark: &Benchmark, sample: &str, to: &mut dyn Write) -> Result<()> {
    let id = benchmark.id;
    let summary = benchmark.summary()?.with_context(|| format!("{id} has no figures"))?;
    let Some(metric) = Metric::parse(&format!("{sample}_p50")) else {
        bail!("`{sample}` is no sample: expected latency, service_time, ttft, tpot or itl")
    };
    let stored: Option<&Distribution> = metric.sample_of(&summary);
    let Some(histogram) = stored.and_then(|stored| stored.histogram.as_ref()) else {
        bail!("{id} has no histogram of `{sample}`")
    };
    let bytes = BASE64_STANDARD.decode(&histogram.hdr_v2_base64)?;
    let values: Histogram<u64> =
        Deserializer::new().deserialize(&mut &bytes[..]).context("the histogram is damaged")?;
    lines(&values, histogram.unit_s * 1e3, to)
}

/// `scale`: milliseconds in one unit of the values.
fn lines(values: &Histogram<u64>, scale: f64, to: &mut dyn Write) -> Result<()> {
    writeln!(to, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in values.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 * scale, step.quantile_iterated_to());
        match quantile < 1.0 {
            true => writeln!(to, "{value:12.3} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))?,
            false => writeln!(to, "{value:12.3} {quantile:2.12} {total:10}")?,
        }
    }
    let (mean, deviation) = (values.mean() * scale, values.stdev() * scale);
    writeln!(to, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(to, "#[Max     = {:12.3}, Total count    = {:12}]", values.max() as f64 * scale, values.len())?;
    // Three significant digits take 2048 steps in each power of two.
    writeln!(to, "#[Buckets = {:12}, SubBuckets     = {:12}]", values.buckets(), 2048)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_ends_with_every_value_and_the_largest() {
        let mut values = Histogram::<u64>::new(3).expect("three digits");
        (1..=1000_u64).for_each(|value| values.record(value * 1_000_000).expect("in range"));
        let mut out = Vec::new();
        lines(&values, 1e-6, &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().expect("a number")).collect())
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]));
        let last = rows.last().expect("rows");
        assert!((last[0] - 1000.0).abs() < 1.0 && last[1] == 1.0 && last[2] == 1000.0, "{last:?}");
        let median = rows.iter().find(|row| row[1] == 0.5).expect("the median");
        assert!((median[0] - 500.0).abs() < 1.0 && (median[3] - 2.0).abs() < 1e-9, "{median:?}");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
