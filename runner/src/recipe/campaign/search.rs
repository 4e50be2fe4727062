//! A load that is searched in place of listed: `benchmarks.num_clients: auto`, or with keys.
//!
//! The search is taken out of the sweep and its smallest load left there, so that all else is checked as ever.

use analysis::{Goal, saturation::LOAD_AXES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Overrides, Reader};
use crate::recipe::{
    check::check,
    document::{self, Content, Entry, Node},
    finding::{Span, quoted_list},
    schema,
};

/// The keys of a search, as people write them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SearchKeys {
    /// Smallest and largest load; for clients 1 to 1024 when not given.
    pub range: Vec<f64>,
    /// What is searched: the knee of the throughput, or how far the SLO holds.
    #[schemars(extend("enum" = ["knee", "slo"]))]
    pub goal: String,
    /// Half the width of the 95 % interval over the answer at which the search ends.
    #[schemars(range(min = 0.005, max = 0.5))]
    pub precision: f64,
    /// Benchmarks of each step.
    #[schemars(range(min = 1, max = 100))]
    pub step_repetitions: u32,
    pub budget: Budget,
}

/// What a search may take; it ends at whatever comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Most steps.
    #[schemars(range(min = 1, max = 1000))]
    pub steps: u32,
    /// No further step once so many requests were sent.
    #[schemars(range(min = 1))]
    pub requests: Option<u64>,
    /// No further step after so much time of load.
    #[schemars(range(min = 0.001), extend("format" = "duration"))]
    pub time: Option<f64>,
}

impl Default for SearchKeys {
    fn default() -> Self {
        let goal = "knee".to_owned();
        Self { range: Vec::new(), goal, precision: 0.1, step_repetitions: 1, budget: Budget::default() }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: 40, requests: None, time: None }
    }
}

impl SearchKeys {
    pub fn goal(&self) -> Goal {
        if self.goal == "slo" { Goal::Slo } else { Goal::Knee }
    }
}

/// The axis that is searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Searched {
    pub path: String,
    pub min: f64,
    pub max: f64,
    pub keys: SearchKeys,
    /// Where it stands.
    pub span: Span,
}

impl Searched {
    /// Loads are clients, which come whole.
    pub fn whole(&self) -> bool {
        self.path == LOAD_AXES[0].0
    }
}

/// What a search of the clients covers when nothing else is said.
const CLIENTS: [f64; 2] = [1.0, 1024.0];

/// Different loads that a knee needs.
const LEAST_LOADS: f64 = 8.0;

impl Reader {
    /// Takes the search out of the sweep, and leaves its smallest load there. `None` also where the command line gives
    /// values in its place.
    pub(super) fn searched(&mut self, tree: &mut Node, overrides: &Overrides) -> Option<Searched> {
        let sweep = tree.get("sweep")?.node.clone();
        let is_auto =
            |axis: &&Entry| axis.node.text() == Some("auto") || matches!(axis.node.content, Content::Mapping(_));
        let mut axes = sweep.entries().iter().filter(is_auto);
        let axis = axes.next()?;
        let errors = self.findings.errors();
        for axis in sweep.entries().iter().filter(is_auto) {
            if LOAD_AXES.iter().all(|(load, _)| *load != axis.key) {
                let loads = quoted_list(LOAD_AXES.iter().map(|(load, _)| *load));
                let message = format!("`auto` searches a load, {loads}; this is none: list its values");
                self.findings.error(axis.key_span, document::join("sweep", &axis.key), message);
            }
        }
        if let Some(second) = axes.next() {
            let message = format!("one load is searched at a time: list values here, or for `{}`", axis.key);
            self.findings.error(second.key_span, document::join("sweep", &second.key), message);
        }
        if self.findings.errors() > errors {
            // What is no list of values would be reported once more.
            tree.remove("sweep");
            return None;
        }
        let set = overrides.set.iter().any(|set| set.split('=').next() == Some(&axis.key));
        let listed = set || (axis.key == LOAD_AXES[0].0 && overrides.clients.is_some());
        let searched = self.read_search(tree, axis, overrides, listed);
        let first = Content::Scalar { text: searched.min.to_string(), plain: true };
        let span = axis.node.span;
        if let Content::Mapping(sections) = &mut tree.content
            && let Some(sweep) = sections.iter_mut().find(|section| section.key == "sweep")
            && let Content::Mapping(entries) = &mut sweep.node.content
            && let Some(own) = entries.iter_mut().find(|own| own.key == axis.key)
        {
            own.node = Node { span, content: Content::Sequence(vec![Node { span, content: first }]) };
        }
        (self.findings.errors() == errors && !listed).then_some(searched)
    }

    fn read_search(&mut self, tree: &Node, axis: &Entry, overrides: &Overrides, listed: bool) -> Searched {
        let at = document::join("sweep", &axis.key);
        let schema = schema::search();
        let keys: SearchKeys = match axis.node.text() {
            Some(_) => SearchKeys::default(),
            None => check(&mut self.findings, &schema, &schema, &axis.node, &at)
                .and_then(|value| serde_json::from_value(value).ok())
                .unwrap_or_default(),
        };
        let of_clients = axis.key == LOAD_AXES[0].0;
        let mut wrong = |span: Span, path: &str, message: &str| self.findings.error(span, path, message);
        for (key, cure) in [
            (
                "repetitions",
                "a search decides itself how often a load is repeated: remove it, or give `step_repetitions`",
            ),
            ("order", "a search decides itself in which order loads are measured: remove it"),
        ] {
            if let (Some(entry), false) = (tree.get(key), listed) {
                wrong(entry.key_span, key, cure);
            }
        }
        if overrides.repetitions.is_some() && !listed {
            wrong(
                axis.key_span,
                &at,
                "a search decides itself how often a load is repeated: leave out `--repetitions`",
            );
        }
        if tree.get("combine").is_some_and(|entry| entry.node.text() == Some("zip")) && !listed {
            wrong(axis.key_span, &at, "a search has no values that could be zipped with others: cross the axes");
        }
        let range_at = document::join(&at, "range");
        let span = axis.node.get("range").map_or(axis.key_span, |range| range.node.span);
        let [min, max] = match (keys.range.as_slice(), of_clients) {
            ([min, max], _) => [*min, *max],
            ([], true) => CLIENTS,
            ([], false) => {
                wrong(span, &range_at, "a rate that is searched needs a range: give `{range: [10, 1000]}`");
                CLIENTS
            }
            _ => {
                wrong(span, &range_at, "expected the smallest and the largest load, for example `[1, 512]`");
                CLIENTS
            }
        };
        if !(min > 0.0 && max > min) {
            wrong(
                span,
                &range_at,
                "expected the smallest load, above 0, and then a larger one, for example `[1, 512]`",
            );
        } else if of_clients && (max.fract() != 0.0 || min.fract() != 0.0) {
            wrong(span, &range_at, "these are numbers of clients: give whole numbers");
        } else if max < 4.0 * min || (of_clients && max - min < LEAST_LOADS) {
            wrong(
                span,
                &range_at,
                "the range is too narrow for a search: widen it to a factor of four and eight loads or more, or list its loads",
            );
        }
        // What is wrong is said; the smallest load that stands in its place is to be right for itself.
        let fits = min > 0.0 && max > min && (!of_clients || min.fract() == 0.0);
        let [min, max] = if fits { [min, max] } else { CLIENTS };
        Searched { path: axis.key.clone(), min, max, keys, span: axis.key_span }
    }
}
