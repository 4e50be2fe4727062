//! How wrong the load generator is, against a server that says when it sent: the sink of a calibration.
//!
//! Clients of a calibration keep a [`Tape`] each, so that the request path takes no lock; the sink gets it when the
//! client goes. Only for a server on the same machine, whose clock is this one's.

use std::{
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Errors in nanoseconds, of all clients of a calibration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Service time: measured − what the server took.
    pub latency: Vec<u64>,
    /// How late the first chunk with content was read.
    pub first: Vec<u64>,
    /// |measured gap − the gap between the server's stamps|.
    pub gap: Vec<u64>,
}

/// The sink.
#[derive(Debug)]
pub struct Truth {
    origin: Instant,
    /// The same moment in nanoseconds since the Unix epoch, which is what servers stamp.
    origin_unix_ns: u64,
    errors: Mutex<Errors>,
}

impl Truth {
    pub fn new() -> Arc<Self> {
        let origin_unix_ns = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
        Arc::new(Self { origin: Instant::now(), origin_unix_ns, errors: Mutex::default() })
    }

    pub fn tape(self: &Arc<Self>) -> Tape {
        Tape { truth: self.clone(), errors: Errors::default(), last_late_ns: None }
    }

    /// Everything that clients which are gone have seen.
    pub fn errors(&self) -> Errors {
        self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

/// One client's errors.
#[derive(Debug)]
pub struct Tape {
    truth: Arc<Truth>,
    errors: Errors,
    /// How late the chunk before was read.
    last_late_ns: Option<u64>,
}

impl Tape {
    /// A new answer begins.
    pub fn begin(&mut self) {
        self.last_late_ns = None;
    }

    /// A chunk with content that left the server at `sent_unix_ns` was read at `at`.
    pub fn chunk(&mut self, at: Instant, sent_unix_ns: u64) {
        let read_ns = self.truth.origin_unix_ns + at.saturating_duration_since(self.truth.origin).as_nanos() as u64;
        let late_ns = read_ns.saturating_sub(sent_unix_ns);
        match self.last_late_ns.replace(late_ns) {
            None => self.errors.first.push(late_ns),
            Some(before) => self.errors.gap.push(late_ns.abs_diff(before)),
        }
    }

    /// A whole answer took `measured_ns`, of which the server had it for `served_ns`.
    pub fn answer(&mut self, measured_ns: u64, served_ns: u64) {
        self.errors.latency.push(measured_ns.saturating_sub(served_ns));
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        let mut all = self.truth.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.latency.append(&mut self.errors.latency);
        all.first.append(&mut self.errors.first);
        all.gap.append(&mut self.errors.gap);
    }
}

/// Nanoseconds since the Unix epoch, now: the stamp of a server.
pub fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn chunks_read_late_show_how_late_and_gaps_how_much_that_varies() {
        let truth = Truth::new();
        let mut tape = truth.tape();
        let at = |us: u64| truth.origin + Duration::from_micros(us);
        let sent = |us: u64| truth.origin_unix_ns + us * 1000;
        for answer in [[(1030, 1000), (2050, 2000)], [(5010, 5000), (6010, 6000)]] {
            tape.begin();
            answer.iter().for_each(|(read, stamp)| tape.chunk(at(*read), sent(*stamp)));
        }
        tape.answer(1_200_000, 1_000_000);
        assert_eq!(truth.errors(), Errors::default());
        drop(tape);
        let expect = Errors { latency: vec![200_000], first: vec![30_000, 10_000], gap: vec![20_000, 0] };
        assert_eq!(truth.errors(), expect);
    }
}
