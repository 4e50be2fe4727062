//! How often the comparison is right, over many campaigns of a made-up world.

use std::thread;

use analysis::compare::{Comparison, Verdict, compare, metric::Thresholds};

use crate::world::World;

/// What came of a number of campaigns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub campaigns: u64,
    /// With at least one verdict of a change.
    pub changed: u64,
    /// With at least one regression.
    pub regressed: u64,
    /// All verdicts, and those by kind.
    pub verdicts: u64,
    pub regressions: u64,
    pub improvements: u64,
    pub same: u64,
    /// Figures with an interval, and those whose interval holds the true change.
    pub intervals: u64,
    pub covered: u64,
    /// Campaigns with a figure beyond its threshold: what the reference system calls a regression.
    pub beyond_threshold: u64,
}

impl Tally {
    fn add(&mut self, comparison: &Comparison, world: &World) {
        self.campaigns += 1;
        self.beyond_threshold += u64::from(!comparison.within_thresholds);
        let all: Vec<_> = comparison.points.iter().flat_map(|point| &point.metrics).collect();
        let together: Vec<_> = comparison.points.iter().filter_map(|point| point.joint.as_ref()).collect();
        let any =
            |verdict| all.iter().any(|row| row.verdict == verdict) || together.iter().any(|row| row.verdict == verdict);
        self.changed += u64::from(any(Verdict::Regressed) || any(Verdict::Improved));
        self.regressed += u64::from(any(Verdict::Regressed));
        let rows: Vec<_> = all.into_iter().filter(|row| !row.metric.is_proportion()).collect();
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count() as u64;
        let (regressions, improvements) = (count(Verdict::Regressed), count(Verdict::Improved));
        self.regressions += regressions;
        self.improvements += improvements;
        self.same += count(Verdict::Same);
        self.verdicts += rows.len() as u64;
        for row in rows {
            let truth = if row.metric.more_is_worse() { world.factor } else { 1.0 / world.factor };
            let truth = (truth - 1.0) * 100.0;
            if let Some([low, high]) = row.interval {
                self.intervals += 1;
                self.covered += u64::from(low <= truth && truth <= high);
            }
        }
    }

    pub fn merged(self, other: Self) -> Self {
        Self {
            campaigns: self.campaigns + other.campaigns,
            changed: self.changed + other.changed,
            regressed: self.regressed + other.regressed,
            verdicts: self.verdicts + other.verdicts,
            regressions: self.regressions + other.regressions,
            improvements: self.improvements + other.improvements,
            same: self.same + other.same,
            intervals: self.intervals + other.intervals,
            covered: self.covered + other.covered,
            beyond_threshold: self.beyond_threshold + other.beyond_threshold,
        }
    }
}

/// Share in percent.
pub fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// Compares `campaigns` campaigns, on all cores; the result does not depend on their number.
pub fn tally(world: World, campaigns: u64, seed: u64) -> Tally {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let count = |thread: u64| {
        let mut tally = Tally::default();
        for index in (thread..campaigns).step_by(threads as usize) {
            let pairs = world.campaign(seed.wrapping_mul(1_000_003).wrapping_add(index));
            tally.add(&compare(&pairs, &[], &Thresholds::default()), &world);
        }
        tally
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || count(thread))).collect();
        running.into_iter().map(|one| one.join().expect("no panic")).fold(Tally::default(), Tally::merged)
    })
}
