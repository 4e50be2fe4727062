//! The digest of a request sequence: the same for the same requests, whoever sent them and in which order.
//!
//! Every request gives two 64-bit words: `a = mix(content ^ mix(place))` and `b = mix(a ^ content)`, where `place`
//! mixes sequence, index and whether it is warm-up. The words are added up, so that threads can add in any
//! order; the digest is the sha256 of the number of requests and the two sums. It tells sequences apart; it is
//! no defence against someone who forges one.

use super::{Arrival, LoadSpec, Place, Stop, mix, schedule::Bounds};

/// Requests of each client that the digest of a closed loop stopped by time covers.
const CLOSED_PREFIX: u64 = 100;
/// Arrivals that the digest of an open loop stopped by time covers.
const OPEN_PREFIX: u64 = 1000;

/// Which requests the digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Warm-up requests with an index below this, of every sequence.
    warmup: u64,
    /// Measured requests with an index below this, of every sequence.
    measured: u64,
    /// How many these are, over all sequences.
    expected: u64,
}

impl Coverage {
    pub fn new(spec: &LoadSpec, bounds: Option<Bounds>) -> Self {
        // How far a load comes that precision ends is up to the service.
        let stop = match spec.precision {
            Some(_) => &Stop { duration_s: Some(f64::INFINITY), ..spec.stop.clone() },
            None => &spec.stop,
        };
        match (&spec.arrival, bounds, stop) {
            (Arrival::Closed { .. }, _, stop) => {
                // How many warm-up requests fit into a time is up to the service.
                let warmup = if spec.warmup.duration_s > 0.0 { 0 } else { spec.warmup.requests };
                let measured = match stop {
                    Stop { requests: Some(count), duration_s: None } => *count,
                    Stop { requests, .. } => CLOSED_PREFIX.min(requests.unwrap_or(u64::MAX)),
                };
                Self { warmup, measured, expected: u64::from(spec.clients).saturating_mul(warmup + measured) }
            }
            (_, Some(bounds), Stop { requests: Some(_), duration_s: None }) => {
                Self { warmup: u64::MAX, measured: u64::MAX, expected: bounds.end_index }
            }
            (_, bounds, _) => {
                let expected = OPEN_PREFIX.min(bounds.map_or(u64::MAX, |bounds| bounds.end_index));
                Self { warmup: expected, measured: expected, expected }
            }
        }
    }

    #[inline]
    fn holds(&self, place: Place) -> bool {
        place.index < if place.warmup { self.warmup } else { self.measured }
    }
}

/// The sums of one thread, or of all.
#[derive(Clone, Copy, Debug)]
pub struct SequenceDigest {
    coverage: Coverage,
    count: u64,
    sums: [u64; 2],
}

impl SequenceDigest {
    pub fn new(coverage: Coverage) -> Self {
        Self { coverage, count: 0, sums: [0; 2] }
    }

    #[inline]
    pub fn add(&mut self, place: Place, content: u64) {
        if !self.coverage.holds(place) {
            return;
        }
        let place = mix(place.index ^ mix(u64::from(place.sequence) << 1 | u64::from(place.warmup)));
        let a = mix(content ^ mix(place));
        self.count += 1;
        self.sums[0] = self.sums[0].wrapping_add(a);
        self.sums[1] = self.sums[1].wrapping_add(mix(a ^ content));
    }

    pub fn of(spec: &LoadSpec, bounds: Option<Bounds>) -> Self {
        Self::new(Coverage::new(spec, bounds))
    }

    pub fn merge(&mut self, other: &Self) {
        self.add_sums(other.sums());
    }

    /// The number of requests and both sums, of which those of several nodes can be put together.
    pub fn sums(&self) -> [u64; 3] {
        [self.count, self.sums[0], self.sums[1]]
    }

    pub fn add_sums(&mut self, [count, a, b]: [u64; 3]) {
        self.count += count;
        self.sums = [self.sums[0].wrapping_add(a), self.sums[1].wrapping_add(b)];
    }

    /// `sha256` in hex; `None` when a request that it should cover was not sent.
    pub fn finish(&self) -> Option<String> {
        (self.count == self.coverage.expected).then(|| {
            let text = format!("requests 1\n{}\n{:016x}\n{:016x}\n", self.count, self.sums[0], self.sums[1]);
            archive::sha256_hex(text.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::Warmup;

    fn spec(arrival: Arrival, stop: Stop, warmup: Warmup) -> LoadSpec {
        LoadSpec { arrival, clients: 3, stop, warmup, ..crate::services::fixtures::spec(1) }
    }

    fn places(measured: u64, warmup: u64) -> Vec<Place> {
        let of = |count, warmup| {
            (0..3).flat_map(move |sequence| (0..count).map(move |index| Place { sequence, index, warmup }))
        };
        of(warmup, true).chain(of(measured, false)).collect()
    }

    proptest! {
        #[test]
        fn any_order_over_any_threads_is_the_same(
            order in Just(places(20, 5)).prop_shuffle(), threads in 1usize..5,
        ) {
            let stop = Stop { requests: Some(20), duration_s: None };
            let warmup = Warmup { duration_s: 0.0, requests: 5 };
            let coverage = Coverage::new(&spec(Arrival::Closed { think_time_s: 0.0 }, stop, warmup), None);
            let content = |place: Place| mix(place.index * 31 + u64::from(place.sequence));
            let mut straight = SequenceDigest::new(coverage);
            places(20, 5).into_iter().for_each(|place| straight.add(place, content(place)));
            let mut parts = vec![SequenceDigest::new(coverage); threads];
            order.into_iter().enumerate().for_each(|(i, place)| parts[i % threads].add(place, content(place)));
            let mut merged = SequenceDigest::new(coverage);
            parts.iter().for_each(|part| merged.merge(part));
            prop_assert!(straight.finish().is_some());
            prop_assert_eq!(straight.finish(), merged.finish());
        }
    }

    #[test]
    fn a_change_anywhere_shows_and_a_gap_gives_none() {
        let stop = Stop { requests: Some(4), duration_s: None };
        let coverage = Coverage::new(&spec(Arrival::Closed { think_time_s: 0.0 }, stop, Warmup::default()), None);
        let digest = |change: &dyn Fn(Place) -> Option<u64>| {
            let mut digest = SequenceDigest::new(coverage);
            for place in places(4, 0) {
                if let Some(content) = change(place) {
                    digest.add(place, content);
                }
            }
            digest.finish()
        };
        let plain = digest(&|place| Some(place.index));
        assert!(plain.is_some());
        assert_ne!(plain, digest(&|place| Some(if place.sequence == 2 { 9 } else { place.index })));
        assert_ne!(plain, digest(&|place| Some(3 - place.index)));
        assert_eq!(None, digest(&|place| (place != Place { sequence: 1, index: 2, warmup: false }).then_some(1)));
    }

    #[test]
    fn time_stopped_loads_are_covered_by_their_head() {
        let seconds = Stop { requests: None, duration_s: Some(1.0) };
        let warmup = Warmup { duration_s: 0.5, requests: 0 };
        let closed = spec(Arrival::Closed { think_time_s: 0.0 }, seconds.clone(), warmup);
        assert_eq!(Coverage::new(&closed, None), Coverage { warmup: 0, measured: 100, expected: 300 });
        let open = spec(Arrival::Constant { rate: 10.0 }, seconds, Warmup::default());
        let coverage = Coverage::new(&open, Bounds::new(&open, None));
        assert_eq!(coverage, Coverage { warmup: 1000, measured: 1000, expected: 1000 });
    }
}
