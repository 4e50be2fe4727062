//! Request records → what only they tell: how latencies lie over time, and how clients differ. One pass, small results.

use std::collections::BTreeMap;

use anyhow::Result;
use archive::{Benchmark, Summary};

/// Records larger than that, compressed, are not read for a page: a build must not take as long as the benchmarks.
pub const MOST_BYTES: u64 = 4 << 20;

/// Columns of the heat map over the time of the load.
const COLUMNS: usize = 48;

/// Rows of the heat map for each doubling of the latency.
const ROWS_PER_OCTAVE: f64 = 2.0;

/// What the records tell.
#[derive(Debug, Default)]
pub struct Records {
    pub heat: Heat,
    /// By number of the client; requests of the measurement window.
    pub clients: BTreeMap<u32, ClientFigures>,
}

/// Successful requests by the time that they ended at and by latency.
#[derive(Debug, Default)]
pub struct Heat {
    /// Seconds of a column.
    pub width_s: f64,
    /// Column and row → requests.
    pub cells: BTreeMap<(usize, i32), u64>,
}

impl Heat {
    /// From which latency to which a row goes, in seconds.
    pub fn range_s(row: i32) -> (f64, f64) {
        let edge = |row: i32| 1e-6 * 2_f64.powf(f64::from(row) / ROWS_PER_OCTAVE);
        (edge(row), edge(row + 1))
    }
}

#[derive(Debug, Default)]
pub struct ClientFigures {
    pub requests: u64,
    pub failed: u64,
    pub p50_s: Option<f64>,
    pub p99_s: Option<f64>,
}

/// `None` without records, or with more than a page is worth.
pub fn read(benchmark: &Benchmark, summary: &Summary) -> Result<Option<Records>> {
    let entry = benchmark.manifest.files.get("requests.jsonl.zst");
    if entry.is_none_or(|entry| entry.external || entry.size_bytes > MOST_BYTES) {
        return Ok(None);
    }
    let Some(requests) = benchmark.requests()? else { return Ok(None) };
    let end = summary.timeline.start_s.last().map_or(summary.window_s[1], |start| start + summary.timeline.bucket_s);
    let mut records =
        Records { heat: Heat { width_s: (end / COLUMNS as f64).max(1e-3), ..Heat::default() }, ..Records::default() };
    let mut latencies: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for request in requests {
        let request = request?;
        // As everywhere: the response time, from when the request was meant to be sent.
        let latency_s = request.end() - request.intended();
        if request.success && latency_s > 0.0 {
            let column = (request.end() / records.heat.width_s).max(0.0) as usize;
            let row = (ROWS_PER_OCTAVE * (latency_s / 1e-6).log2()).floor() as i32;
            if column < COLUMNS {
                *records.heat.cells.entry((column, row)).or_insert(0) += 1;
            }
        }
        if !request.warmup {
            let client = records.clients.entry(request.client).or_default();
            client.requests += 1;
            client.failed += u64::from(!request.success);
            if request.success {
                latencies.entry(request.client).or_default().push(latency_s);
            }
        }
    }
    for (client, mut values) in latencies {
        values.sort_unstable_by(f64::total_cmp);
        if let Some(figures) = records.clients.get_mut(&client) {
            figures.p50_s = percentile(&values, 0.5);
            figures.p99_s = percentile(&values, 0.99);
        }
    }
    Ok(Some(records))
}

/// Linear interpolation between order statistics at rank (n − 1)·q, as in the summary.
fn percentile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (sorted.len().checked_sub(1)?) as f64 * q;
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    Some(low + (high - low) * rank.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_summary_and_rows_meet() {
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.5));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
        for row in [0, 7, 50] {
            assert_eq!(Heat::range_s(row).1, Heat::range_s(row + 1).0);
        }
    }
}
