//! A campaign: how far the service scales, by its newest execution; earlier ones have pages of their own.

use std::collections::BTreeMap;

use analysis::{
    bottleneck::{Bottleneck, attribute},
    saturation::{Archived, load_of},
};
use archive::Severity;
use serde::Serialize;

use super::{
    Link, Page, benchmarks,
    bottleneck::{self, Limit},
    campaign_path, diffs, execution_path, plural,
    table::{Cell, Column, Table},
};
use crate::{
    charts::{self, Chart},
    model::{
        Campaign, Execution, Model, Standing,
        metric::{Metric, Percentile, Timed},
        sweep::in_words,
    },
    report::folder_of,
    units::{self, TimeUnit},
};

#[derive(Serialize)]
struct Context {
    title: String,
    name: String,
    /// One sentence a series, of the first ones.
    says: Vec<String>,
    /// All series with what they say, where there are more.
    series: Option<Table>,
    facts: Vec<(String, String)>,
    left_out: Vec<LeftOut>,
    more_left_out: usize,
    charts: Vec<Chart>,
    /// One a series of a sweep over the load, where there are few.
    limits: Vec<Limit>,
    /// What limits at each load of a sweep.
    along: Option<Table>,
    search: Option<Search>,
    points: Table,
    benchmarks: Table,
    executions: Vec<EarlierExecution>,
    more_executions: usize,
    /// Against the execution before: the page, and what it says.
    diff: Option<Link>,
    trend: Option<String>,
    /// USL and other models that were looked at, in words.
    models: Vec<String>,
    method: &'static str,
    shows_knee: bool,
    /// How to run it again.
    rerun: String,
    report: String,
}

/// How the loads were chosen, where a search did.
#[derive(Serialize)]
struct Search {
    wanted: String,
    steps: Table,
    ended: Option<String>,
    method: String,
}

#[derive(Serialize)]
struct LeftOut {
    benchmark: Link,
    word: &'static str,
    point: String,
    reason: String,
}

#[derive(Serialize)]
struct EarlierExecution {
    link: Link,
    count: String,
    says: Vec<String>,
    shown: bool,
}

/// What an execution says: a sentence for each of its series.
pub fn says(execution: &Execution<'_>) -> Vec<String> {
    let sweep = &execution.sweep;
    let Some(axis) = &sweep.axis else {
        let series = sweep.series.first();
        let median = |metric| series.and_then(|series| series.points.first()?.median(metric));
        let sentence = match (median(Metric::Throughput), median(Metric::Time(Timed::Latency, Percentile::P99))) {
            (Some(rate), Some(p99)) => {
                format!("{} requests/s, p99 latency {}", units::number(rate), units::duration(p99))
            }
            _ => "nothing valid was measured".to_owned(),
        };
        return vec![capitalised(&sentence)];
    };
    let sentence = |series: &crate::model::sweep::Series<'_>| match series.label.is_empty() {
        true => capitalised(&series.in_words(axis)),
        false => format!("{}: {}", series.label, series.in_words(axis)),
    };
    sweep.series.iter().map(sentence).chain(reservations(execution)).collect()
}

/// Series with a sentence and an answer of their own; more of them stand in a table.
const MOST_SERIES: usize = 6;

/// Executions, and benchmarks that are left out, that the page lists.
const MOST_LISTED: usize = 30;

/// The same where there is little room: a sweep of two axes can have a hundred series.
pub fn says_in_short(execution: &Execution<'_>) -> Vec<String> {
    let mut all = says(execution);
    if all.len() > MOST_SERIES + 1 {
        let more = all.len() - MOST_SERIES;
        all.truncate(MOST_SERIES);
        all.push(format!("And {more} more on its page"));
    }
    all
}

/// How many of the valid benchmarks are valid with a reservation, and the most frequent one.
fn reservations(execution: &Execution<'_>) -> Option<String> {
    let mut reserved = 0;
    let mut messages: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for benchmark in execution.benchmarks.iter().filter(|benchmark| benchmark.is_valid()) {
        let findings = benchmark.summary.iter().flat_map(|summary| &summary.findings);
        let warnings: Vec<_> = findings.filter(|finding| finding.severity == Severity::Warning).collect();
        reserved += usize::from(!warnings.is_empty());
        for warning in warnings {
            messages.entry(&warning.code).or_insert((0, &warning.message)).0 += 1;
        }
    }
    let (_, message) = messages.into_values().max_by_key(|(count, _)| *count)?;
    Some(format!(
        "{reserved} of {} have a reservation, most often: {message}",
        plural(execution.benchmarks.len(), "benchmark")
    ))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The page of a campaign: its newest execution, read whole, and all executions.
pub fn page(model: &Model<'_>, campaign: &Campaign<'_>, execution: &Execution<'_>) -> Page {
    let path = campaign_path(campaign);
    let to_version = to_version(&path);
    let all = campaign.executions.iter().map(|other| EarlierExecution {
        link: Link {
            text: format!("{} UTC", benchmarks::minute(other.ended())),
            href: format!("{to_version}{}", execution_path(campaign, other)),
        },
        count: format!("{} valid of {}", other.count_of("valid"), plural(other.benchmarks.len(), "benchmark")),
        says: says_in_short(other),
        shown: other.key() == execution.key(),
    });
    let context = Context {
        executions: all.collect(),
        diff: diff(model, campaign, execution, &to_version),
        trend: (campaign.executions.len() > 1).then(|| format!("{to_version}trends/{}/index.html", campaign.slug)),
        ..context(model, campaign, execution, &to_version)
    };
    Page::with_charts(path, "campaign.html", &context.charts, &context)
}

/// The page of an execution alone: nothing of it changes when the campaign is run again.
pub fn execution_page(model: &Model<'_>, campaign: &Campaign<'_>, execution: &Execution<'_>) -> Page {
    let path = execution_path(campaign, execution);
    let to_version = to_version(&path);
    let whole = EarlierExecution {
        link: Link {
            text: "The campaign, with all its executions".to_owned(),
            href: format!("{to_version}{}", campaign_path(campaign)),
        },
        count: String::new(),
        says: Vec::new(),
        shown: false,
    };
    let context = Context { executions: vec![whole], ..context(model, campaign, execution, &to_version) };
    Page::with_charts(path, "campaign.html", &context.charts, &context)
}

fn to_version(path: &str) -> String {
    "../".repeat(path.matches('/').count())
}

/// What both have; without what depends on other executions.
fn context(model: &Model<'_>, campaign: &Campaign<'_>, execution: &Execution<'_>, to_version: &str) -> Context {
    let charts = charts::sweep::charts(&execution.sweep, to_version);
    let left_out = execution.benchmarks.iter().filter_map(|benchmark| {
        let standing = benchmark.standing();
        let id = benchmark.id.to_string();
        (standing != Standing::Valid).then(|| LeftOut {
            benchmark: Link { href: format!("{to_version}benchmarks/{id}/index.html"), text: id },
            word: standing.word(),
            point: benchmarks::point(benchmark),
            reason: standing.reason().unwrap_or_default().to_owned(),
        })
    });
    let mut left_out: Vec<LeftOut> = left_out.collect();
    let more_left_out = left_out.len().saturating_sub(MOST_LISTED);
    left_out.truncate(MOST_LISTED);
    let many = execution.sweep.series.len() > MOST_SERIES;
    Context {
        title: execution.title().to_owned(),
        name: campaign.name.to_owned(),
        says: says_in_short(execution),
        series: many.then(|| series(execution)),
        facts: facts(execution),
        left_out,
        more_left_out,
        limits: if many { Vec::new() } else { limits(execution, to_version) },
        along: along(execution),
        search: search(execution, to_version),
        diff: None,
        trend: None,
        models: if many { Vec::new() } else { models(execution) },
        points: points(execution, to_version),
        benchmarks: benchmarks::table(model, &execution.benchmarks, to_version),
        executions: Vec::new(),
        more_executions: 0,
        method: analysis::KNEE_METHOD,
        shows_knee: execution.sweep.is_load(),
        rerun: format!("runner rerun {}", execution.key()),
        report: format!("{to_version}reports/{}/index.html", folder_of(campaign.name, execution.key())),
        charts,
    }
}

/// What each of many series says, and what limits it.
fn series(execution: &Execution<'_>) -> Table {
    let columns = ["series", "what it says", "limited by", "confidence"].map(Column::text);
    let axis = execution.sweep.axis.as_ref();
    let rows = execution.sweep.series.iter().map(|series| {
        let limit = (execution.sweep.is_load() && series.points.len() > 1).then(|| series.bottleneck());
        vec![
            Cell::text(&series.label),
            Cell::text(&axis.map_or_else(String::new, |axis| capitalised(&series.in_words(axis)))),
            limit.map_or_else(Cell::none, |limit| Cell::text(limit.class.name())),
            limit.map_or_else(Cell::none, |limit| Cell::text(limit.confidence.name())),
        ]
    });
    Table::new(columns.into(), rows.collect())
}

/// What limits each series of a sweep over the load.
pub fn limits(execution: &Execution<'_>, to_version: &str) -> Vec<Limit> {
    if !execution.sweep.is_load() {
        return Vec::new();
    }
    let series = execution.sweep.series.iter().filter(|series| series.points.len() > 1);
    series.map(|series| bottleneck::limit(&series.label, series.bottleneck(), to_version)).collect()
}

/// What limits at each point, over its repetitions: the loads below the knee need not be limited by what limits above.
fn along(execution: &Execution<'_>) -> Option<Table> {
    let axis = execution.sweep.axis.as_ref().filter(|axis| axis.is_load)?;
    let several = execution.sweep.series.len() > 1;
    let mut columns = vec![
        Column::number(&axis.name, ""),
        Column::text("limited by"),
        Column::text("confidence"),
        Column::text("why"),
    ];
    if several {
        columns.insert(0, Column::text("series"));
    }
    let mut rows = Vec::new();
    for series in &execution.sweep.series {
        for point in &series.points {
            let answers: Vec<_> =
                point.repetitions.iter().map(|benchmark| attribute(&benchmark.observation())).collect();
            let of = |class: Bottleneck| answers.iter().filter(|answer| answer.class == class).count();
            let Some(answer) = answers.iter().rev().max_by_key(|answer| of(answer.class)) else { continue };
            let count = match answers.len() {
                1 => "n = 1".to_owned(),
                all => format!("{} of {all} repetitions", of(answer.class)),
            };
            let mut row = vec![
                Cell::sorted(&point.label, point.x),
                Cell::text(&format!("{} ({count})", answer.class.name())),
                Cell::text(answer.confidence.name()),
                Cell::text(&answer.summary),
            ];
            if several {
                row.insert(0, Cell::text(&series.label));
            }
            rows.push(row);
        }
    }
    (rows.len() > 1).then(|| Table::new(columns, rows))
}

/// The steps of a search, each with its reason, and how it ended.
fn search(execution: &Execution<'_>, to_version: &str) -> Option<Search> {
    let mut steps: Vec<_> = execution
        .benchmarks
        .iter()
        .filter_map(|benchmark| Some((benchmark, benchmark.run.campaign.search.as_ref()?)))
        .collect();
    steps.sort_by_key(|(benchmark, facts)| (facts.step, benchmark.run.campaign.repetition, benchmark.id));
    let (_, first) = steps.first()?;
    let wanted = first.wanted.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), in_words(value)));
    let wanted = wanted.collect::<Vec<_>>().join(" · ");
    let columns = vec![
        Column::number("step", ""),
        Column::number(first.path.rsplit('.').next().unwrap_or(&first.path), ""),
        Column::text("why this load"),
        Column::number("throughput", "/s"),
        Column::text("p99 latency"),
        Column::text("standing"),
        Column::text("benchmark"),
    ];
    let rows = steps.iter().map(|(benchmark, facts)| {
        let figure = |metric: Metric| metric.of(benchmark.summary.as_ref()?);
        let id = benchmark.id.to_string();
        let (load, _) = load_of(&benchmark.run);
        vec![
            Cell::count(facts.step as u64),
            Cell::sorted(&units::load(load), load),
            Cell::text(&facts.reason),
            Cell::optional(figure(Metric::Throughput)),
            match figure(Metric::Time(Timed::Latency, Percentile::P99)) {
                Some(p99) => Cell::sorted(&units::duration(p99), p99),
                None => Cell::none(),
            },
            benchmarks::standing(&benchmark.standing()),
            Cell::link(&id, format!("{to_version}benchmarks/{id}/index.html")),
        ]
    });
    let archived: Vec<Archived<'_>> = execution
        .benchmarks
        .iter()
        .map(|benchmark| Archived {
            load: load_of(&benchmark.run).0,
            run: &benchmark.run,
            summary: benchmark.summary.as_ref(),
        })
        .collect();
    let ended = match analysis::searched(&archived) {
        Some((_, analysis::Step::End { reason, .. })) => Some(format!("It ended: {reason}.")),
        Some((_, analysis::Step::Measure { load, reason })) => {
            Some(format!("It has not ended: next would be {}, {reason}.", units::load(load)))
        }
        None => None,
    };
    let rows = rows.collect();
    Some(Search { wanted, steps: Table::new(columns, rows), ended, method: first.method.clone() })
}

/// The page against the execution before, and what it says in short.
fn diff(model: &Model<'_>, campaign: &Campaign<'_>, execution: &Execution<'_>, to_version: &str) -> Option<Link> {
    let diff = model.diff_of(execution)?;
    Some(Link { text: diffs::says(diff).join(" "), href: format!("{to_version}{}", diffs::path(campaign, execution)) })
}

/// What the models of the sweep come to, each with its method, also where the data do not carry them.
fn models(execution: &Execution<'_>) -> Vec<String> {
    let Some(axis) = execution.sweep.axis.as_ref().filter(|axis| axis.is_load) else { return Vec::new() };
    let mut says = Vec::new();
    for series in &execution.sweep.series {
        let saturation = series.saturation();
        let name = if series.label.is_empty() { String::new() } else { format!("{}: ", series.label) };
        if let Some(usl) = &saturation.usl {
            let peak = match (usl.supported, usl.n_max, usl.n_max_se) {
                (true, Some(peak), Some(error)) => {
                    format!(
                        ", most throughput at {} ± {} {} (one standard error)",
                        units::number(peak),
                        units::number(error),
                        axis.name
                    )
                }
                _ => String::new(),
            };
            let figures = format!(
                "λ {}, σ {}, κ {}",
                units::number(usl.lambda),
                units::number(usl.sigma),
                units::number(usl.kappa)
            );
            let word = if usl.supported { "USL" } else { "USL, not carried by the data" };
            says.push(format!("{name}{word}: {figures}{peak}; {} ({}).", usl.reason, usl.method));
        }
        let advice = &saturation.recommendation;
        says.push(match advice.load {
            Some(load) => format!("{name}Run at {} {}: {}.", units::number(load), axis.name, advice.reason),
            None => format!("{name}No load can be recommended: {}.", advice.reason),
        });
    }
    says
}

/// What all benchmarks of the execution share.
pub fn facts(execution: &Execution<'_>) -> Vec<(String, String)> {
    let run = &execution.first().run;
    let mut facts = vec![
        ("Service".to_owned(), with_version(&run.service.kind, run.service.version.as_deref())),
        ("Load".to_owned(), run.client.kind.clone()),
        ("Target".to_owned(), run.target.name.clone()),
    ];
    let nodes: std::collections::BTreeSet<String> = execution
        .benchmarks
        .iter()
        .flat_map(|benchmark| &benchmark.run.nodes)
        .map(|node| match (&node.cpu_model, node.cpus) {
            (Some(model), Some(cpus)) => format!("{} ({cpus} CPUs, {model})", node.hostname),
            (None, Some(cpus)) => format!("{} ({cpus} CPUs)", node.hostname),
            _ => node.hostname.clone(),
        })
        .collect();
    if !nodes.is_empty() {
        facts.push(("Nodes".to_owned(), nodes.into_iter().collect::<Vec<_>>().join("; ")));
    }
    let campaign = &run.campaign;
    facts.push((
        "Sweep".to_owned(),
        format!(
            "{} × {}, {} here",
            plural(campaign.points, "point"),
            plural(campaign.repetitions as usize, "repetition"),
            plural(execution.benchmarks.len(), "benchmark")
        ),
    ));
    let (first, last) = (run.created_at, execution.ended());
    facts.push((
        "Run".to_owned(),
        format!(
            "{} to {} UTC, {}",
            benchmarks::minute(first),
            benchmarks::minute(last),
            units::duration(last.seconds_since(first).max(0.0))
        ),
    ));
    facts
}

fn with_version(kind: &str, version: Option<&str>) -> String {
    version.map_or_else(|| kind.to_owned(), |version| format!("{kind} {version}"))
}

/// One row a point: medians over its valid repetitions, and links to all of them.
fn points(execution: &Execution<'_>, to_version: &str) -> Table {
    let sweep = &execution.sweep;
    let several = sweep.series.len() > 1;
    let time = |timed, percentile| Metric::Time(timed, percentile);
    let all = || sweep.series.iter().flat_map(|series| &series.points);
    let largest = all().filter_map(|point| point.median(time(Timed::Latency, Percentile::P99))).fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let has = |metric| all().any(|point| point.median(metric).is_some());

    let mut figures: Vec<(Column, Metric)> = vec![(Column::number("throughput", "/s"), Metric::Throughput)];
    for percentile in Percentile::ALL {
        figures.push((
            Column::number(&format!("{} latency", percentile.name()), unit.name),
            time(Timed::Latency, percentile),
        ));
    }
    if has(time(Timed::Ttft, Percentile::P50)) {
        figures.push((Column::number("p50 TTFT", unit.name), time(Timed::Ttft, Percentile::P50)));
        figures.push((Column::number("p99 TTFT", unit.name), time(Timed::Ttft, Percentile::P99)));
    }
    if has(Metric::TokensPerSecond) {
        figures.push((Column::number("output tokens", "/s"), Metric::TokensPerSecond));
    }

    let axis = sweep.axis.as_ref().map_or("point", |axis| axis.name.as_str());
    let mut columns = vec![Column::number(axis, "")];
    if several {
        columns.insert(0, Column::text("series"));
    }
    let mut repetition_counts: Vec<usize> = all().map(|point| point.repetitions.len()).collect();
    repetition_counts.sort_unstable();
    let repetitions = repetition_counts.last().copied().unwrap_or(0);
    columns.extend(figures.iter().map(|(column, _)| column.clone()));
    columns.extend((1..=repetitions).map(|number| Column::text(&format!("rep. {number}"))));
    let mut rows = Vec::new();
    for series in &sweep.series {
        for point in &series.points {
            let mut row = vec![Cell::sorted(&point.label, point.x)];
            if several {
                row.insert(0, Cell::text(&series.label));
            }
            row.extend(figures.iter().map(|(_, metric)| match (point.median(*metric), metric) {
                (Some(value), Metric::Time(..)) => Cell::sorted(&units::number(unit.of(value)), value),
                (value, _) => Cell::optional(value),
            }));
            row.extend((0..repetitions).map(|place| match point.repetitions.get(place) {
                Some(benchmark) => {
                    let id = benchmark.id.to_string();
                    let class = if benchmark.is_valid() { "" } else { "struck" };
                    Cell::link(&id, format!("{to_version}benchmarks/{id}/index.html")).with_class(class)
                }
                None => Cell::none(),
            }));
            rows.push(row);
        }
    }
    Table::new(columns, rows)
}
