//! Statistics over archived data: what the figures of a benchmark are, and what a sweep says.
//!
//! Pure: no I/O, no network, no command line, no clock, no randomness but from fixed seeds, so that the same
//! records give the same figures everywhere. The definitions stand in `docs/metrics.md`.

mod adaptive;
mod aggregate;
pub mod assessment;
pub mod bottleneck;
mod change_points;
pub mod compare;
mod duration;
mod histogram;
mod interval;
mod knee;
pub mod logs;
mod method;
pub mod precision;
mod proportions;
mod random;
mod resources;
pub mod saturation;
pub mod series;
pub mod slo;
mod standing;
mod summary;
mod sweep;
mod two_sample;
mod usl;

pub use adaptive::{
    ADAPTIVE_METHOD, End as SearchEnd, Estimate, Goal, Measured, Says, Search, Step, estimate, measured, next_step,
    searched,
};
pub use aggregate::{Aggregate, Aggregator, ClientPart, LE_EDGES_MS, LatencyFigures, LineError, Part};
pub use assessment::{Assessment, assess};
pub use change_points::{ALPHA as CHANGE_POINT_ALPHA, ChangePoint, METHOD as CHANGE_POINT_METHOD, change_points};
pub use duration::parse_duration;
pub use histogram::{CurvePoint, Ordered, ordered, percentile_curve, pooled};
pub use interval::{CONFIDENCE, Interval, mean_interval, percentile_interval, proportion_interval};
pub use knee::{Answer, Knee, METHOD as KNEE_METHOD, Quantity, knee};
pub use proportions::{Proportions, Share, ShareError, proportions};
pub use resources::{Accounting, ResourceSeries, SeriesUnit, accounting, resource_series};
pub use slo::{LimitCheck, Verdict as LimitVerdict};
pub use standing::{Standing, standing};
pub use summary::{
    Arrival, Facts, Generator, NodeClock, RecordError, differences, limits::Limit, repeats_prompts, summarise,
};
pub use sweep::{Compliance, Peak, compliance, median, peak};
pub use two_sample::{
    Comparison, HodgesLehmann, METHOD as TWO_SAMPLE_METHOD, MannWhitney, RatioOfMedians, SampleError, TwoSamples, Welch,
};
pub use usl::{Fit as UslFit, METHOD as USL_METHOD, Support as UslSupport, Usl, UslError, usl};
