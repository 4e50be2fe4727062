//! Model → pages: one file a page kind, each a context for its template.

pub mod benchmark;
pub mod benchmarks;
pub mod bottleneck;
pub mod campaign;
pub mod campaigns;
pub mod compare;
pub mod dashboard;
pub mod diffs;
pub mod docs;
pub mod monitoring;
pub mod paging;
pub mod regressions;
pub mod reports;
pub mod run;
pub mod services;
pub mod table;
pub mod trends;

use serde::Serialize;
use serde_json::Value;

use crate::{
    charts::{Chart, still},
    model::{Campaign, Execution, slug::slug},
};

/// One page of the site, ready to be rendered.
pub struct Page {
    /// Where it goes, within the version: `benchmarks/BM-…/index.html`.
    pub path: String,
    pub template: &'static str,
    /// Whether the charts' library is needed.
    pub has_charts: bool,
    pub context: Value,
    /// Pictures of its charts, in their order, for readers without scripts.
    pub stills: Vec<Still>,
    /// What belongs to the page beside it: scripts with what is too long to stand in it, drawings. Path within the version,
    /// and text.
    pub scripts: Vec<(String, String)>,
}

/// A chart as a picture.
pub enum Still {
    /// A file of the version.
    At(String),
    /// An SVG that becomes one.
    Drawn(String),
    None,
}

impl Page {
    fn new(path: String, template: &'static str, has_charts: bool, context: impl Serialize) -> Self {
        // Contexts are structs of texts, numbers and lists of them: they always serialise.
        let mut context = serde_json::to_value(context).unwrap_or_default();
        let scripts = paging::divide(&path, &mut context);
        Self { path, template, has_charts, context, stills: Vec::new(), scripts }
    }

    /// A page with charts, which are the field `charts` of its context.
    fn with_charts(path: String, template: &'static str, charts: &[Chart], context: impl Serialize) -> Self {
        let still = |chart: &Chart| match &chart.still {
            Some(path) => Still::At(path.clone()),
            None => still::figure(chart).map_or(Still::None, |figure| Still::Drawn(figure.svg())),
        };
        let stills = charts.iter().map(still).collect();
        Self { stills, ..Self::new(path, template, !charts.is_empty(), context) }
    }

    /// What leads from the page to the folder of its version.
    pub fn to_version(&self) -> String {
        "../".repeat(self.path.matches('/').count())
    }
}

/// A link in running text or in a table.
#[derive(Clone, Serialize)]
pub struct Link {
    pub text: String,
    pub href: String,
}

/// Where the page of a campaign is: that of its newest execution, with a list of all.
pub fn campaign_path(campaign: &Campaign<'_>) -> String {
    format!("campaigns/{}/index.html", campaign.slug)
}

/// Where the page of an execution is, whatever comes after it.
pub fn execution_path(campaign: &Campaign<'_>, execution: &Execution<'_>) -> String {
    format!("campaigns/{}/{}/index.html", campaign.slug, execution.slug)
}

/// The page of the execution that a benchmark belongs to.
pub fn execution_path_of(run: &archive::Run) -> String {
    format!("campaigns/{}/{}/index.html", slug(&run.campaign.name), slug(&run.campaign.execution))
}

/// `1 benchmark`, `2 benchmarks`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", crate::units::count(count as u64), if count == 1 { "" } else { "s" })
}
