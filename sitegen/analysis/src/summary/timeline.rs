//! The course of a benchmark in buckets of one second, warm-up included.
//!
//! Records come in order of completion, so only the newest buckets hold values; earlier ones are figures already.

use std::collections::VecDeque;

use archive::{Request, Timeline};

/// Buckets that a timeline has, about, at most: a longer benchmark gets wider ones, of whole seconds.
const MAX_BUCKETS: f64 = 7200.0;

/// Buckets that stay open, for records that are a little out of order.
const OPEN_BUCKETS: usize = 3;

pub struct TimelineBuilder {
    timeline: Timeline,
    has_tokens: bool,
    /// The newest buckets; the index of the first is the length of the timeline's columns.
    open: VecDeque<Bucket>,
}

#[derive(Default)]
struct Bucket {
    completed: u64,
    failed: u64,
    output_tokens: u64,
    latencies_s: Vec<f64>,
}

impl TimelineBuilder {
    /// For a benchmark that ends about `end_s` after its start.
    pub fn new(end_s: f64) -> Self {
        let bucket_s = (end_s / MAX_BUCKETS).ceil().max(1.0);
        let timeline = Timeline { bucket_s, ..Timeline::default() };
        Self { timeline, has_tokens: false, open: VecDeque::new() }
    }

    pub fn add(&mut self, request: &Request) {
        let index = (request.end() / self.timeline.bucket_s) as usize;
        while self.timeline.completed.len() + self.open.len() <= index {
            self.open.push_back(Bucket::default());
            if self.open.len() > OPEN_BUCKETS {
                self.close_first();
            }
        }
        let tokens = request.output_tokens.filter(|_| request.success);
        self.has_tokens |= tokens.is_some();
        if let Some(bucket) = index.checked_sub(self.timeline.completed.len()).map(|place| &mut self.open[place]) {
            bucket.completed += 1;
            bucket.failed += u64::from(!request.success);
            bucket.output_tokens += tokens.unwrap_or(0);
            if request.success {
                bucket.latencies_s.push(request.latency_s);
            }
            return;
        }
        // Far out of order: its bucket's values are gone, and percentiles without this one would be wrong.
        self.timeline.completed[index] += 1;
        self.timeline.failed[index] += u64::from(!request.success);
        self.timeline.output_tokens[index] += tokens.unwrap_or(0);
        if request.success {
            self.timeline.latency_p50_s[index] = None;
            self.timeline.latency_p99_s[index] = None;
        }
    }

    fn close_first(&mut self) {
        let Some(mut bucket) = self.open.pop_front() else { return };
        bucket.latencies_s.sort_unstable_by(f64::total_cmp);
        let percentile = |permille: usize| {
            let last = bucket.latencies_s.len().checked_sub(1)?;
            let (low, high) = (last * permille / 1000, (last * permille).div_ceil(1000));
            let (low, high) = (bucket.latencies_s[low], bucket.latencies_s[high]);
            Some(low + (high - low) * (last * permille % 1000) as f64 / 1000.0)
        };
        let columns = &mut self.timeline;
        columns.start_s.push(columns.completed.len() as f64 * columns.bucket_s);
        columns.completed.push(bucket.completed);
        columns.failed.push(bucket.failed);
        columns.latency_p50_s.push(percentile(500));
        columns.latency_p99_s.push(percentile(990));
        columns.output_tokens.push(bucket.output_tokens);
    }

    pub fn finish(mut self) -> Timeline {
        while !self.open.is_empty() {
            self.close_first();
        }
        if !self.has_tokens {
            self.timeline.output_tokens.clear();
        }
        self.timeline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(end_s: f64, latency_s: f64, success: bool) -> Request {
        Request { start_s: end_s - latency_s, latency_s, success, ..Request::default() }
    }

    #[test]
    fn a_bucket_holds_what_ended_in_it() {
        let mut builder = TimelineBuilder::new(10.0);
        for (end, latency, success) in
            [(0.2, 0.1, true), (0.9, 0.3, true), (0.95, 0.5, false), (2.0, 0.4, true), (1.99, 0.25, true)]
        {
            builder.add(&request(end, latency, success));
        }
        let timeline = builder.finish();
        assert_eq!(timeline.start_s, [0.0, 1.0, 2.0]);
        assert_eq!(timeline.completed, [3, 1, 1]);
        assert_eq!(timeline.failed, [1, 0, 0]);
        assert_eq!(timeline.latency_p50_s, [Some(0.2), Some(0.25), Some(0.4)]);
        assert!(timeline.output_tokens.is_empty());
    }

    #[test]
    fn percentiles_that_miss_a_value_are_not_given() {
        let mut builder = TimelineBuilder::new(10.0);
        for end in [0.5, 1.5, 2.5, 3.5, 4.5, 0.6] {
            builder.add(&request(end, 0.1, true));
        }
        let timeline = builder.finish();
        assert_eq!(timeline.completed, [2, 1, 1, 1, 1]);
        assert_eq!(timeline.latency_p50_s, [None, Some(0.1), Some(0.1), Some(0.1), Some(0.1)]);
    }

    #[test]
    fn long_benchmarks_get_wider_buckets() {
        let mut builder = TimelineBuilder::new(14_401.0);
        builder.add(&request(14_400.5, 0.1, true));
        let timeline = builder.finish();
        assert_eq!((timeline.bucket_s, timeline.completed.len()), (3.0, 4801));
    }
}
