//! The nodes of a client job, each with its part of every load. What they measured is put together by the first.

use std::{
    env, fs,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use archive::{BenchmarkId, Calibration, CalibrationRung, ErrorFigures};
use serde::{Deserialize, Serialize};

use super::{
    JobArgs, Layout, PointPlan,
    deployment::{read_json, write_json},
    rendezvous::{Line, LoadMeeting},
};
use crate::{
    load::{self, LoadReport, Meeting, NodePart, Share, Trace},
    node,
    services::token,
};

/// How long the first node looks for what the others wrote: a shared file system may show it late.
const VISIBLE: Duration = Duration::from_secs(60);

/// This node among those of its job.
pub struct Crew {
    number: u32,
    of: u32,
    /// On a cluster.
    line: Option<Arc<Line>>,
}

/// Why a load was ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Cancelled,
    Failed(String),
}

/// What became of one node's part of a load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartEnd {
    pub report: Option<LoadReport>,
    pub error: Option<String>,
    pub why_stopped: Option<Why>,
    pub calibration: Option<Calibration>,
    pub calibration_error: Option<String>,
}

impl Crew {
    /// Which node of the job this is; Slurm says it of every task of a step.
    pub fn of_job(job: &JobArgs) -> Result<Self> {
        let of = job.nodes.max(1);
        let number = match of {
            1 => 0,
            _ => {
                let number = env::var("SLURM_PROCID").context("a client job of several nodes is a step of Slurm's")?;
                number.parse().with_context(|| format!("SLURM_PROCID is no number: {number:?}"))?
            }
        };
        ensure!(number < of, "task {number} of {of} nodes");
        Ok(Self { number, of, line: None })
    }

    pub fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Whether there are other nodes, or a service on one.
    pub fn is_called(&self) -> bool {
        self.line.is_some()
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Calls the service's agent. One node alone can do without.
    pub fn call(&mut self, layout: &Layout) -> Result<()> {
        match Line::call(layout, self.number, &node::hostname()) {
            Ok(line) => self.line = Some(Arc::new(line)),
            Err(err) if self.of > 1 => return Err(err),
            Err(err) => tracing::info!("the nodes' clocks are not compared: {err:#}"),
        }
        Ok(())
    }

    /// Where this node's part of a load is recorded.
    pub fn folder(&self, layout: &Layout, id: BenchmarkId) -> PathBuf {
        let folder = layout.point(id);
        if self.of > 1 { load::spool::part_folder(&folder, self.number) } else { folder }
    }

    /// Why the others want this load to end.
    pub fn stopped(&self, id: BenchmarkId) -> Option<String> {
        self.line.as_ref().filter(|_| self.of > 1)?.stopped(&id.to_string())
    }

    /// This node's part of a load that it is about to begin, and what is known of the node.
    pub fn begin(&self, point: &PointPlan) -> Result<(Option<Share>, NodePart)> {
        let clock = self.line.as_ref().map(|line| line.ask_clock()).transpose();
        let clock = match clock {
            Err(err) if self.of > 1 => return Err(err),
            Err(err) => {
                tracing::info!("the nodes' clocks are not compared: {err:#}");
                None
            }
            Ok(clock) => clock,
        };
        let part = NodePart {
            hostname: node::hostname(),
            clients: load::clients_of(&point.load, self.number, self.of),
            clock_offset_s: clock.map(|clock| clock.offset_s),
            clock_error_s: clock.map(|clock| clock.error_s),
            ..NodePart::default()
        };
        let share = self.line.as_ref().filter(|_| self.of > 1).map(|line| {
            let meeting = LoadMeeting { line: line.clone(), load: point.benchmark_id.to_string() };
            let token = meeting.token(token::LENGTH);
            Share { number: self.number, of: self.of, meeting: Arc::new(meeting), token }
        });
        Ok((share, part))
    }

    /// The point as far as it is this node's, for its calibration.
    pub fn own(&self, point: &PointPlan) -> PointPlan {
        let mut own = point.clone();
        if self.of > 1 {
            own.load.threads = load::loops_of(&point.load, self.of);
            own.load.clients = load::clients_of(&point.load, self.number, self.of).max(1);
            own.load.arrival = point.load.arrival.scaled(1.0 / f64::from(self.of));
        }
        own
    }

    /// Leaves what this node came to where the first finds it; the first gets all nodes' ends, and what hinders those that
    /// are not there.
    pub fn put_together(&self, layout: &Layout, id: BenchmarkId, end: PartEnd) -> Result<Option<Vec<PartEnd>>> {
        let Some(line) = self.line.as_ref().filter(|_| self.of > 1) else { return Ok(Some(vec![end])) };
        if let Some(error) = &end.error {
            // They may wait for this one to begin.
            LoadMeeting { line: line.clone(), load: id.to_string() }.give_up(error);
        }
        write_json(&self.folder(layout, id).join(END), &end)?;
        let gathered = line.gather(&format!("{id} measured"));
        if !self.is_first() {
            return gathered.map(|()| None);
        }
        let mut ends = vec![end];
        for number in 1..self.of {
            let folder = load::spool::part_folder(&layout.point(id), number);
            let deadline = Instant::now() + if gathered.is_ok() { VISIBLE } else { Duration::ZERO };
            let other = loop {
                match read_json(&folder.join(END)) {
                    Ok(other) => break other,
                    Err(err) if Instant::now() > deadline => {
                        let reason =
                            gathered.as_ref().err().map_or_else(|| format!("{err:#}"), |err| format!("{err:#}"));
                        break PartEnd::lost(reason);
                    }
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            };
            ends.push(other);
        }
        Ok(Some(ends))
    }

    /// The requests of all parts as one file; errs while some that a node recorded cannot be seen here.
    pub fn merge_requests(&self, layout: &Layout, id: BenchmarkId, report: &LoadReport) -> Result<()> {
        let folder = layout.point(id);
        let deadline = Instant::now() + VISIBLE;
        loop {
            let spooled = load::spool::to_requests(&folder, &folder.join("requests.jsonl.zst"))?;
            if self.of == 1 || spooled.recorded == report.recorded {
                return load::spool::remove(&folder);
            }
            if Instant::now() > deadline {
                bail!("{} of {} requests can be seen on the first client node", spooled.recorded, report.recorded);
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    pub fn leave(&self) {
        if let Some(line) = &self.line {
            line.leave();
        }
    }
}

const END: &str = "end.json";

impl PartEnd {
    fn lost(reason: String) -> Self {
        Self { report: None, error: Some(reason), why_stopped: None, calibration: None, calibration_error: None }
    }
}

/// The ends of all parts as that of the whole load.
pub fn whole(point: &PointPlan, trace: Option<&Arc<Trace>>, ends: Vec<PartEnd>) -> PartEnd {
    let reports: Vec<LoadReport> = ends.iter().filter_map(|end| end.report.clone()).collect();
    let first = |of: fn(&PartEnd) -> &Option<String>| ends.iter().find_map(|end| of(end).clone());
    let mut error = first(|end| &end.error);
    let report = match &error {
        None => load::merged(&point.load, trace, &reports).map_err(|err| error = Some(format!("{err:#}"))).ok(),
        Some(_) => None,
    };
    let whys = || ends.iter().filter_map(|end| end.why_stopped.clone());
    PartEnd {
        report,
        error,
        why_stopped: whys().find(|why| matches!(why, Why::Failed(_))).or_else(|| whys().next()),
        calibration: match ends.iter().all(|end| end.calibration.is_some()) {
            true => {
                ends.iter().filter_map(|end| end.calibration.clone()).max_by(|a, b| error_of(a).total_cmp(&error_of(b)))
            }
            false => None,
        },
        calibration_error: first(|end| &end.calibration_error),
    }
}

/// The largest error of a calibration: of several nodes, the worst one counts.
fn error_of(calibration: &Calibration) -> f64 {
    let of = |rung: &CalibrationRung| [rung.latency_s, rung.ttft_s, rung.itl_s];
    let errors = calibration.rungs.iter().flat_map(of).flatten();
    errors.map(|figures: ErrorFigures| figures.p99.abs()).fold(0.0, f64::max)
}

/// Makes the folder of this node's part of a load.
pub fn make_folder(crew: &Crew, layout: &Layout, id: BenchmarkId) -> Result<PathBuf> {
    let folder = crew.folder(layout, id);
    fs::create_dir_all(folder.join("logs")).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
