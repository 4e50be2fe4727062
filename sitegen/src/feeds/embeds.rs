//! Of each configuration of a campaign what others embed: a badge with its newest verdict, a sparkline, and its charts.

use analysis::compare::Verdict;

use super::{drawn_badge, drawn_sparkline};
use crate::{
    charts::{self, still},
    model::{
        Campaign, Model,
        diff::Diff,
        slug::slug,
        trend::{Trend, TrendFigure},
    },
};

/// Figures whose course can be embedded: one of each kind.
const CHARTS: [&str; 2] = ["requests-per-second", "latency-p99-s"];

/// What can be embedded of one configuration: paths within the version.
pub struct Embeds {
    pub badge: String,
    pub sparkline: Option<String>,
    /// Name of the figure, and path.
    pub charts: Vec<(String, String)>,
}

/// The files of the configurations of a campaign, path and text, and where they are, in the order of `trends`. `names` are
/// those of its executions, the newest first.
pub fn embeds(
    model: &Model<'_>,
    campaign: &Campaign<'_>,
    trends: &[Trend<'_>],
    names: &[String],
) -> (Vec<Embeds>, Vec<(String, String)>) {
    let newest =
        model.diffs.iter().find(|diff| model.campaigns[diff.campaign].name == campaign.name && diff.candidate == 0);
    let mut files = Vec::new();
    let mut all = Vec::new();
    for trend in trends {
        let folder = format!("badges/{}/{}", campaign.slug, slug(&trend.label));
        let mut put = |end: &str, text: String| {
            let path = format!("{folder}{end}.svg");
            files.push((path.clone(), text));
            path
        };
        let name = format!("{} · {}", campaign.name, trend.label);
        let badge = put("", drawn_badge(&name, newest.and_then(|diff| verdict(diff, &trend.label))));
        let sparkline = throughput(trend).and_then(|figure| {
            let what = format!("{name}: throughput");
            Some(put("-sparkline", drawn_sparkline(&what, &figure.values)?))
        });
        let mut embedded = Vec::new();
        for chart in charts::trend::charts(std::slice::from_ref(trend), names) {
            if CHARTS.contains(&chart.id.as_str())
                && let Some(figure) = still::figure(&chart)
            {
                embedded.push((chart.title.clone(), put(&format!("-{}", chart.id), figure.svg())));
            }
        }
        all.push(Embeds { badge, sparkline, charts: embedded });
    }
    (all, files)
}

fn throughput<'t>(trend: &'t Trend<'_>) -> Option<&'t TrendFigure> {
    trend.figures.iter().find(|figure| figure.metric == analysis::compare::metric::Metric::Throughput)
}

/// The verdict at one point of a comparison: a class of the style sheet.
fn verdict(diff: &Diff<'_>, label: &str) -> Option<&'static str> {
    let comparison = diff.comparison.as_ref()?;
    let (_, point) = diff.points.iter().zip(&comparison.points).find(|(point, _)| point.label == label)?;
    let has = |verdict: Verdict| point.metrics.iter().any(|metric| metric.verdict == verdict);
    Some(match () {
        () if has(Verdict::Regressed) => "regressed",
        () if has(Verdict::Improved) => "improved",
        () if has(Verdict::CannotTell) => "untold",
        () => "same",
    })
}
