//! The part of a load that one of several nodes drives, and where the drivers of all parts wait for each other.
//!
//! Event loops are counted over all nodes: loop `t` of part `p` is loop `p + t · parts` of the whole load, and clients
//! and arrivals belong to a loop of the whole load. So the sequence of requests is the same for every number of nodes.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use archive::Timestamp;

use super::{Control, LoadReport, LoadSpec, Trace, digest::SequenceDigest, schedule::Bounds};

/// From the last that came to a place to the moment at which all go on: longer than the way of the news.
const NOTICE: Duration = Duration::from_millis(200);

/// One part of a load.
#[derive(Clone, Debug)]
pub struct Share {
    /// From 0. The first makes the service ready for all.
    pub number: u32,
    /// Parts in all.
    pub of: u32,
    pub meeting: Arc<dyn Meeting>,
    /// What tells this load's data in the service from all other's; the same on every node.
    pub token: String,
}

/// Where the drivers of all parts wait for each other.
pub trait Meeting: Debug + Send + Sync {
    /// Waits until all parts have come to the place of that name; then all go on `notice` later. Errs when another part has
    /// failed, or when `control` is stopped.
    fn meet(&self, place: &str, notice: Duration, control: &Control) -> Result<Moment>;

    /// Tells all others that this part has ended before its time, so that they end theirs.
    fn give_up(&self, reason: &str);
}

/// A moment that is the same for all parts.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By this node's clock that never goes back.
    pub instant: Instant,
    /// In nanoseconds since 1970 by the clock that all parts share.
    pub shared_ns: i64,
}

impl Moment {
    pub fn wall(self) -> Timestamp {
        Timestamp::from_unix_us(self.shared_ns / 1000).unwrap_or_else(Timestamp::now)
    }
}

/// How many clients of a whole load a part has.
pub fn clients_of(spec: &LoadSpec, number: u32, of: u32) -> u32 {
    spec.clients.saturating_sub(number).div_ceil(of)
}

/// Event loops of each part: a loop without a client would never send its part of the schedule.
pub fn loops_of(spec: &LoadSpec, of: u32) -> u32 {
    spec.threads.min(spec.clients / of).max(1)
}

impl Share {
    /// Waits for all parts at the start of the load.
    pub fn start(&self, control: &Control) -> Result<Moment> {
        self.meeting.meet("start", NOTICE, control)
    }

    /// Waits for all parts, who then go on at once.
    pub fn gather(&self, place: &str, control: &Control) -> Result<()> {
        self.meeting.meet(place, Duration::ZERO, control).map(drop)
    }

    /// Opens the measurement window once the clients of all parts have sent their counted warm-up.
    pub fn open_window(&self, start: Moment, earliest_ns: u64, window_start_ns: Arc<AtomicU64>, control: Control) {
        let meeting = self.meeting.clone();
        std::thread::spawn(move || {
            if let Ok(moment) = meeting.meet("window", NOTICE, &control) {
                let offset = u64::try_from(moment.shared_ns - start.shared_ns).unwrap_or_default();
                window_start_ns.store(offset.max(earliest_ns), Ordering::Release);
            }
        });
    }

    /// Lets the clients of this part go on once those of all parts have come to the workload's meeting.
    pub fn meet_all(&self, missing: Arc<AtomicU32>, control: Control) {
        let meeting = self.meeting.clone();
        std::thread::spawn(move || {
            if meeting.meet("phase", Duration::ZERO, &control).is_ok() {
                missing.fetch_sub(1, Ordering::AcqRel);
            }
        });
    }
}

/// What one node had of a load, as it stands in `run.json`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NodePart {
    pub hostname: String,
    pub clients: u32,
    pub threads: u32,
    pub recorded: u64,
    pub cpu_s: f64,
    #[serde(default)]
    pub wait_s: f64,
    pub longest_stall_s: f64,
    /// The clock of the service's node − this node's, before the load; absent when it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_s: Option<f64>,
    /// The offset is right within this: half of the shortest way there and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error_s: Option<f64>,
}

/// The report of a whole load from those of all its parts, which are not none.
pub fn merged(spec: &LoadSpec, trace: Option<&Arc<Trace>>, parts: &[LoadReport]) -> Result<LoadReport> {
    let Some((first, rest)) = parts.split_first() else { anyhow::bail!("a load has at least one part") };
    let mut whole = first.clone();
    if rest.is_empty() {
        return Ok(whole);
    }
    ensure!(
        rest.iter().all(|part| part.started_at == first.started_at),
        "the nodes do not agree on when the load began"
    );
    let spec = &super::schedule::reached_first(spec, trace);
    let mut digest = SequenceDigest::of(spec, Bounds::new(spec, trace));
    for part in rest {
        // By time the window ends for all at once, by count with the last client of all.
        whole.window_s = [whole.window_s[0].max(part.window_s[0]), whole.window_s[1].max(part.window_s[1])];
        whole.recorded += part.recorded;
        whole.interrupted |= part.interrupted;
        whole.threads += part.threads;
        whole.cpu_s += part.cpu_s;
        whole.wait_s += part.wait_s;
        whole.longest_stall_s = whole.longest_stall_s.max(part.longest_stall_s);
        for (all, one) in [
            (&mut whole.interruption, &part.interruption),
            (&mut whole.wrong_data, &part.wrong_data),
            (&mut whole.unchecked_data, &part.unchecked_data),
            (&mut whole.left_behind, &part.left_behind),
        ] {
            *all = all.take().or_else(|| one.clone());
        }
    }
    parts.iter().filter_map(|part| part.digest_sums).for_each(|sums| digest.add_sums(sums));
    whole.sequence_digest = digest.finish();
    whole.digest_sums = None;
    whole.steps = super::profile::bounds(&spec.steps, whole.window_s);
    whole.nodes = parts.iter().flat_map(|part| part.nodes.clone()).collect();
    Ok(whole)
}
