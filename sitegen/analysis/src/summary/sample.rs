//! One sample of durations: exact figures in bounded memory, by reading the values more than once.
//!
//! The first reading counts them in an HDR histogram (three digits). That tells in which bucket each wanted
//! order statistic lies; the next reading looks only into those buckets, and finds the value itself. Values
//! are whole nanoseconds.

use std::collections::BTreeMap;

use archive::{Distribution, Histogram, Percentiles};
use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::serialization::{Serializer, V2Serializer};

use super::{RecordError, limits::Figure};

/// Values or cells that one search holds at most: 256 KiB.
const CELLS: u64 = 1 << 15;

/// Values that must lie beyond a percentile for it to be relied upon.
const BEYOND: u64 = 10;

/// Seconds in whole nanoseconds. What rounding made negative is zero.
pub fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn seconds(nanoseconds: f64) -> f64 {
    nanoseconds / 1e9
}

pub struct Sample {
    /// Percentiles to find, in 1/1000.
    permilles: Vec<u32>,
    count: u64,
    mean: f64,
    /// Sum of squared distances from the mean (Welford 1962).
    squares: f64,
    min: u64,
    max: u64,
    /// Made by the first value: most samples of most benchmarks stay empty.
    histogram: Option<hdrhistogram::Histogram<u64>>,
    searches: Vec<Search>,
    /// Rank from 0 → value, for the ranks that the percentiles need.
    found: BTreeMap<u64, u64>,
}

/// A range of values that holds order statistics which are not known yet.
struct Search {
    low: u64,
    high: u64,
    /// Number of values of the sample below `low`, and within the range.
    below: u64,
    within: u64,
    ranks: Vec<u64>,
    seen: Seen,
}

enum Seen {
    /// Few enough to keep each.
    Values(Vec<u64>),
    /// Counts of equal parts of the range, each `width` nanoseconds.
    Counts { width: u64, counts: Vec<u64> },
}

impl Sample {
    pub fn new(permilles: &[u32]) -> Self {
        Self {
            permilles: permilles.to_vec(),
            count: 0,
            mean: 0.0,
            squares: 0.0,
            min: u64::MAX,
            max: 0,
            histogram: None,
            searches: Vec::new(),
            found: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// First reading: counts one value.
    pub fn record(&mut self, value: u64) {
        self.count += 1;
        let distance = value as f64 - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (value as f64 - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let histogram = self.histogram.get_or_insert_with(|| {
            hdrhistogram::Histogram::new(3).expect("three digits are within what the histogram allows")
        });
        histogram.auto(true);
        histogram.record(value).expect("a resizing histogram holds every value");
    }

    /// Ends the first reading: decides where to look for the wanted order statistics.
    pub fn start_search(&mut self) {
        let Some(histogram) = &self.histogram else { return };
        let mut wanted: Vec<u64> = self.permilles.iter().flat_map(|permille| self.ranks_around(*permille)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut wanted = wanted.into_iter().peekable();
        let mut below = 0;
        for bucket in histogram.iter_recorded() {
            let within = bucket.count_at_value();
            let value = bucket.value_iterated_to();
            let mut ranks = Vec::new();
            while let Some(rank) = wanted.next_if(|rank| *rank < below + within) {
                ranks.push(rank);
            }
            if !ranks.is_empty() {
                let (low, high) = (histogram.lowest_equivalent(value), histogram.highest_equivalent(value));
                self.searches.push(Search::new(low, high, below, within, ranks));
            }
            below += within;
        }
    }

    /// Later readings: looks at one value.
    pub fn seek(&mut self, value: u64) {
        let place = self.searches.partition_point(|search| search.high < value);
        if let Some(search) = self.searches.get_mut(place)
            && search.low <= value
        {
            search.see(value);
        }
    }

    /// Ends a later reading: takes what was found, and narrows what was not.
    pub fn narrow(&mut self) -> Result<(), RecordError> {
        let mut narrower = Vec::new();
        for search in std::mem::take(&mut self.searches) {
            search.resolve(&mut self.found, &mut narrower)?;
        }
        self.searches = narrower;
        Ok(())
    }

    pub fn is_searching(&self) -> bool {
        !self.searches.is_empty()
    }

    /// The two order statistics that a percentile lies between, as ranks from 0.
    fn ranks_around(&self, permille: u32) -> [u64; 2] {
        let scaled = u128::from(self.count.saturating_sub(1)) * u128::from(permille);
        [(scaled / 1000) as u64, scaled.div_ceil(1000) as u64]
    }

    fn percentile(&self, permille: u32) -> Option<f64> {
        let [low, high] = self.ranks_around(permille).map(|rank| self.found.get(&rank).copied());
        let (low, high) = (low? as f64, high? as f64);
        let scaled = u128::from(self.count - 1) * u128::from(permille);
        let fraction = (scaled % 1000) as f64 / 1000.0;
        Some(seconds(low + (high - low) * fraction))
    }

    /// One figure in seconds; `None` for an empty sample.
    pub fn figure(&self, figure: Figure) -> Option<f64> {
        if self.is_empty() {
            return None;
        }
        match figure {
            Figure::Average => Some(seconds(self.mean)),
            Figure::Minimum => Some(seconds(self.min as f64)),
            Figure::Maximum => Some(seconds(self.max as f64)),
            Figure::Percentile { permille } => self.percentile(permille),
        }
    }

    pub fn percentiles(&self) -> Percentiles {
        let supported =
            |permille: u32| u128::from(self.count) * u128::from(1000 - permille) >= u128::from(BEYOND) * 1000;
        let names = [("p50", 500), ("p90", 900), ("p95", 950), ("p99", 990), ("p99.9", 999)];
        let unsupported = names.iter().filter(|(_, permille)| self.count > 0 && !supported(*permille));
        Percentiles {
            count: self.count,
            avg: self.figure(Figure::Average),
            min: self.figure(Figure::Minimum),
            max: self.figure(Figure::Maximum),
            std: match self.count {
                0 => None,
                1 => Some(0.0),
                count => Some(seconds((self.squares / (count - 1) as f64).max(0.0).sqrt())),
            },
            p50: self.percentile(500),
            p90: self.percentile(900),
            p95: self.percentile(950),
            p99: self.percentile(990),
            p999: self.percentile(999),
            unsupported: unsupported.map(|(name, _)| (*name).to_owned()).collect(),
        }
    }

    pub fn distribution(&self) -> Distribution {
        let histogram = self.histogram.as_ref().map(|histogram| {
            let mut bytes = Vec::new();
            V2Serializer::new().serialize(histogram, &mut bytes).expect("writing to memory does not fail");
            Histogram { unit_s: 1e-9, hdr_v2_base64: BASE64_STANDARD.encode(bytes) }
        });
        Distribution { figures: self.percentiles(), histogram }
    }

    pub fn distribution_if_any(&self) -> Option<Distribution> {
        (!self.is_empty()).then(|| self.distribution())
    }
}

impl Search {
    fn new(low: u64, high: u64, below: u64, within: u64, ranks: Vec<u64>) -> Self {
        let seen = match within <= CELLS {
            true => Seen::Values(Vec::with_capacity(within as usize)),
            false => {
                let width = (high - low) / CELLS + 1;
                let cells = (high - low) / width + 1;
                Seen::Counts { width, counts: vec![0; cells as usize] }
            }
        };
        Self { low, high, below, within, ranks, seen }
    }

    fn see(&mut self, value: u64) {
        match &mut self.seen {
            Seen::Values(values) => values.push(value),
            Seen::Counts { width, counts } => counts[((value - self.low) / *width) as usize] += 1,
        }
    }

    fn resolve(self, found: &mut BTreeMap<u64, u64>, narrower: &mut Vec<Search>) -> Result<(), RecordError> {
        let seen = match &self.seen {
            Seen::Values(values) => values.len() as u64,
            Seen::Counts { counts, .. } => counts.iter().sum(),
        };
        if seen != self.within {
            return Err(RecordError::Changed);
        }
        match self.seen {
            Seen::Values(mut values) => {
                values.sort_unstable();
                found.extend(self.ranks.iter().map(|rank| (*rank, values[(rank - self.below) as usize])));
            }
            Seen::Counts { width, counts } => {
                let mut ranks = self.ranks.into_iter().peekable();
                let mut below = self.below;
                for (cell, within) in (0..).zip(counts) {
                    let low = self.low + cell * width;
                    let mut inside = Vec::new();
                    while let Some(rank) = ranks.next_if(|rank| *rank < below + within) {
                        inside.push(rank);
                    }
                    if width == 1 {
                        found.extend(inside.into_iter().map(|rank| (rank, low)));
                    } else if !inside.is_empty() {
                        narrower.push(Search::new(low, low + width - 1, below, within, inside));
                    }
                    below += within;
                }
            }
        }
        Ok(())
    }
}
