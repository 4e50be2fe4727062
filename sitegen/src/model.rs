//! What pages show, as the pages see it: campaigns, their executions, points and repetitions. Pure.

pub mod diff;
pub mod metric;
pub mod slug;
pub mod sweep;
pub mod trend;

use std::collections::{BTreeMap, HashMap};

pub use analysis::Standing;
use analysis::bottleneck::Observation;

use crate::load::{Contents, Loaded};
use diff::{Change, Changed, Diff};
use sweep::Sweep;

/// The whole archive, put in order.
pub struct Model<'a> {
    pub contents: &'a Contents,
    /// Last run first.
    pub campaigns: Vec<Campaign<'a>>,
    /// Each execution against the one before it.
    pub diffs: Vec<Diff<'a>>,
    changed: Vec<Changed>,
    /// Campaign and execution of every benchmark.
    places: HashMap<archive::BenchmarkId, (usize, usize)>,
    /// By campaign and candidate, as in [`Diff`].
    diff_places: HashMap<(usize, usize), usize>,
}

/// Everything that was run under one campaign name.
pub struct Campaign<'a> {
    pub name: &'a str,
    pub slug: String,
    /// Newest first; never empty.
    pub executions: Vec<Execution<'a>>,
}

/// One run of a campaign.
pub struct Execution<'a> {
    pub slug: String,
    /// By id; never empty.
    pub benchmarks: Vec<&'a Loaded>,
    pub sweep: Sweep<'a>,
}

impl Loaded {
    /// The benchmark, as far as its bottleneck goes.
    pub fn observation(&self) -> Observation<'_> {
        Observation { run: &self.run, summary: self.summary.as_ref(), resources: &self.resources }
    }

    pub fn standing(&self) -> Standing {
        analysis::standing(&self.run, self.summary.as_ref())
    }

    pub fn is_valid(&self) -> bool {
        self.standing() == Standing::Valid
    }
}

impl<'a> Model<'a> {
    pub fn new(contents: &'a Contents) -> Self {
        let mut by_name: BTreeMap<&str, BTreeMap<&str, Vec<&Loaded>>> = BTreeMap::new();
        for benchmark in &contents.benchmarks {
            let facts = &benchmark.run.campaign;
            by_name.entry(&facts.name).or_default().entry(&facts.execution).or_default().push(benchmark);
        }
        let execution = |(key, benchmarks): (&str, Vec<&'a Loaded>)| Execution {
            slug: slug::slug(key),
            sweep: Sweep::new(&benchmarks),
            benchmarks,
        };
        let mut campaigns: Vec<_> = by_name
            .into_iter()
            .map(|(name, executions)| {
                let mut executions: Vec<_> = executions.into_iter().map(execution).collect();
                executions.sort_by_key(|execution| std::cmp::Reverse(execution.begun()));
                Campaign { name, slug: slug::slug(name), executions }
            })
            .collect();
        campaigns.sort_by_key(|campaign| std::cmp::Reverse(campaign.newest().begun()));
        let diffs = diff::diffs(&campaigns, &contents.benchmarks);
        let mut places = HashMap::new();
        for (campaign, one) in campaigns.iter().enumerate() {
            for (execution, of) in one.executions.iter().enumerate() {
                places.extend(of.benchmarks.iter().map(|benchmark| (benchmark.id, (campaign, execution))));
            }
        }
        let changed = diff::changed(&diffs);
        let of_diff = |(place, diff): (usize, &Diff<'_>)| ((diff.campaign, diff.candidate), place);
        let diff_places = diffs.iter().enumerate().map(of_diff).collect();
        Self { contents, campaigns, diffs, changed, places, diff_places }
    }

    /// The campaign and the execution that a benchmark belongs to.
    pub fn place_of(&self, benchmark: &Loaded) -> Option<(&Campaign<'a>, &Execution<'a>)> {
        let (campaign, execution) = self.places.get(&benchmark.id)?;
        let campaign = &self.campaigns[*campaign];
        Some((campaign, &campaign.executions[*execution]))
    }

    /// An execution against the one before it.
    pub fn diff_of(&self, execution: &Execution<'_>) -> Option<&Diff<'a>> {
        let place = self.places.get(&execution.first().id)?;
        self.diff_places.get(place).map(|place| &self.diffs[*place])
    }

    /// All figures that regressed or improved, in the order of the diffs.
    pub fn changes(&self) -> Vec<Change<'_, 'a>> {
        let of = |change: &Changed| {
            let diff = &self.diffs[change.diff];
            let metric = &diff.comparison.as_ref()?.points[change.point].metrics[change.metric];
            Some(Change { diff, label: &diff.points[change.point].label, metric, state: change.state })
        };
        self.changed.iter().filter_map(of).collect()
    }

    /// The campaigns with each of their executions.
    pub fn executions(&self) -> impl Iterator<Item = (&Campaign<'a>, &Execution<'a>)> {
        self.campaigns.iter().flat_map(|campaign| campaign.executions.iter().map(move |one| (campaign, one)))
    }
}

impl<'a> Campaign<'a> {
    pub fn newest(&self) -> &Execution<'a> {
        &self.executions[0]
    }

    /// The title of its newest execution, else its name.
    pub fn title(&self) -> &'a str {
        self.newest().title()
    }
}

impl<'a> Execution<'a> {
    pub fn first(&self) -> &'a Loaded {
        self.benchmarks[0]
    }

    pub fn key(&self) -> &'a str {
        &self.first().run.campaign.execution
    }

    /// The same with these benchmarks, which are its own read anew, in place of them.
    pub fn with<'b>(&self, benchmarks: &'b [Loaded]) -> Execution<'b> {
        let benchmarks: Vec<&'b Loaded> = benchmarks.iter().collect();
        let sweep = Sweep::new(&benchmarks);
        for (series, known) in sweep.series.iter().zip(&self.sweep.series) {
            series.take_saturation(known);
        }
        Execution { slug: self.slug.clone(), benchmarks, sweep }
    }

    /// What its campaign was called when it ran.
    pub fn title(&self) -> &'a str {
        let facts = &self.first().run.campaign;
        facts.title.as_deref().unwrap_or(&facts.name)
    }

    /// Orders executions by time, and by id where the time is the same.
    fn begun(&self) -> (archive::Timestamp, archive::BenchmarkId) {
        let created = self.benchmarks.iter().map(|benchmark| benchmark.run.created_at).min();
        (created.unwrap_or(self.first().run.created_at), self.first().id)
    }

    pub fn ended(&self) -> archive::Timestamp {
        self.benchmarks.iter().map(|benchmark| benchmark.run.ended_at).max().unwrap_or(self.first().run.ended_at)
    }

    /// Benchmarks that the campaign asked for.
    pub fn planned(&self) -> usize {
        let facts = &self.first().run.campaign;
        facts.points.saturating_mul(facts.repetitions as usize).max(self.benchmarks.len())
    }

    pub fn count_of(&self, word: &str) -> usize {
        self.benchmarks.iter().filter(|benchmark| benchmark.standing().word() == word).count()
    }
}
