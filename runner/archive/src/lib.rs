//! The archive: how a benchmark's result is laid out on disk, read, sealed and committed.
//!
//! The only meeting place of `runner` and `sitegen`. It does no network, knows no command line, and
//! never changes a file that was sealed. The format is described in `docs/archive-format.md`.

mod audit;
mod calibration;
mod commit;
mod history;
mod id;
mod leak;
mod manifest;
mod place;
mod read;
mod replay;
mod request;
mod resource;
mod run;
mod schema;
mod seal;
mod sign;
mod store;
mod summary;
mod time;
mod verify;

pub use audit::{Asked, Audit, AuditError, Audited, OnDisk, audit};
pub use calibration::{Calibration, CalibrationError, CalibrationKind, CalibrationRung, ErrorFigures};
pub use commit::{CommitError, CommitOptions, Committed, Repository, commit, commit_with};
pub use history::commit_of;
pub use id::{BenchmarkId, IdError};
pub use leak::{ALLOWED, Leak};
pub use manifest::{Manifest, ManifestEntry, sha256_hex};
pub use place::{PlaceError, begin_repository, check_out_branch};
pub use read::{Archive, Benchmark, LogLines, ReadError};
pub use replay::{ReplayError, Replayed, replay};
pub use request::{Request, RequestReader, RequestWriter};
pub use resource::{DiskSample, GpuSample, InterfaceSample, ResourceReader, ResourceSample, Role};
pub use run::{
    CampaignFacts, ClientFacts, DataFacts, Event, Failure, GpuFacts, ImageFacts, NodeFacts, RecipeFacts, Run,
    SearchFacts, Seeds, ServiceFacts, Stage, Status, TargetFacts, ToolFacts,
};
pub use schema::schemas;
pub use seal::{SealError, SealOptions, Sealed, files_below, ignore_in_git, seal};
pub use sign::{AllowedSigners, SignError, SigningKey};
pub use store::{Garbage, Moved, RawFile, Stat};
pub use summary::{
    Distribution, Finding, Gate, GateOutcome, Goodput, Histogram, OperationSummary, Percentiles, Recall, Severity,
    SloOutcome, Summary, Timeline,
};
pub use time::Timestamp;
pub use verify::{Damage, DamageKind, SIGNATURE, Verified};

/// The version of the format this build writes, and the newest it reads.
pub const SCHEMA: u32 = 1;
