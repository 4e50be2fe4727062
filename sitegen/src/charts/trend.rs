//! Figures of configurations over the executions of a campaign, with the levels between their changes.

use analysis::{
    compare::metric::Metric,
    saturation::{Center, intervals},
};

use super::{Chart, Kind, Panel, XAxis, YScale, band, color, dashed, height, line};
use crate::{
    model::{
        diff::metric_in_words,
        trend::{LEAST_FOR_CHANGE, Trend, TrendFigure},
    },
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

const PANEL_PX: u32 = 240;

/// Configurations in one chart; more lines than that hide each other.
const MOST_LINES: usize = 7;

/// One chart for each figure that some configuration has. `names` are those of the campaign's executions, the newest
/// first, as people read them.
pub fn charts(trends: &[Trend<'_>], names: &[String]) -> Vec<Chart> {
    let mut metrics: Vec<Metric> = Vec::new();
    for figure in trends.iter().flat_map(|trend| &trend.figures) {
        if !metrics.contains(&figure.metric) {
            metrics.push(figure.metric);
        }
    }
    metrics.sort_by_key(|metric| metric.more_is_worse());
    metrics.into_iter().filter_map(|metric| chart(trends, metric, names)).collect()
}

/// The level that an execution is on, where there are several.
fn level_at(figure: &TrendFigure, place: usize) -> Option<f64> {
    let levels = &figure.history.as_ref().filter(|history| history.levels.len() > 1)?.levels;
    levels.iter().find(|level| (level.first..=level.last).contains(&place)).map(|level| level.value)
}

/// The 95 % interval of each execution's mean: its place in the trend, from, to.
fn spans(trend: &Trend<'_>, metric: Metric) -> Vec<(f64, f64, f64)> {
    let values = trend.executions.iter().enumerate().flat_map(|(i, execution)| {
        execution.benchmarks.iter().filter_map(move |b| Some((i as f64, metric.of(b.summary.as_ref()?)?)))
    });
    intervals(&values.collect::<Vec<_>>(), Center::Mean)
}

fn chart(trends: &[Trend<'_>], metric: Metric, names: &[String]) -> Option<Chart> {
    let all: Vec<(&Trend<'_>, &TrendFigure)> = trends
        .iter()
        .filter_map(|trend| Some((trend, trend.figures.iter().find(|figure| figure.metric == metric)?)))
        .collect();
    let is_duration = matches!(metric, Metric::Time { .. });
    let largest = all.iter().flat_map(|(_, figure)| &figure.values).copied().reduce(f64::max)?;
    let unit = TimeUnit::for_largest(largest);
    let scaled = |value: f64| if is_duration { unit.of(value) } else { value };
    let oldest = names.len() - 1;
    let x_of = |trend: &Trend<'_>, index: usize| (oldest - trend.executions[index].place) as f64;
    let mut series = Vec::new();
    let mut values = Vec::new();
    for (index, (trend, figure)) in all.iter().take(MOST_LINES).enumerate() {
        let color = color(index);
        let spreads: Vec<_> = spans(trend, metric)
            .into_iter()
            .map(|(i, low, high)| (x_of(trend, i as usize), scaled(low), scaled(high)))
            .collect();
        values.extend(spreads.iter().flat_map(|(_, low, high)| [*low, *high]));
        values.extend(figure.values.iter().map(|value| scaled(*value)));
        series.extend(band(&color, spreads));
        let points = figure.values.iter().enumerate().map(|(i, value)| (x_of(trend, i), Some(scaled(*value))));
        series.push(line(&trend.label, &color, points, true));
        let levels = figure.history.iter().flat_map(|history| &history.levels);
        for level in levels.filter(|_| figure.history.as_ref().is_some_and(|history| history.levels.len() > 1)) {
            let ends = [level.first, level.last].map(|i| (x_of(trend, i), Some(scaled(level.value))));
            let mut drawn = dashed(line("", &color, ends, false));
            drawn["silent"] = true.into();
            drawn["lineStyle"]["width"] = 3.into();
            series.push(drawn);
        }
    }
    let scale = if is_duration { YScale::of_durations(&values, &[]) } else { YScale::Linear };
    let words = metric_in_words(metric);
    let unit_name = match metric {
        _ if is_duration => unit.name,
        Metric::Tokens => "tokens/s",
        _ => "requests/s",
    };
    let x = XAxis {
        name: "execution (UTC)".to_owned(),
        kind: Kind::Category(names.iter().rev().cloned().collect()),
        min: None,
        max: None,
        labels: "@load",
    };
    let columns = vec![
        Column::text("configuration"),
        Column::text("execution (UTC)"),
        Column::number("geometric mean", unit_name),
        Column::number("95 % from", unit_name),
        Column::number("to", unit_name),
        Column::number("n", ""),
        Column::number("level", unit_name),
    ];
    let rows = all.iter().flat_map(|(trend, figure)| {
        let spans = spans(trend, metric);
        trend.executions.iter().zip(&figure.values).enumerate().map(move |(i, (execution, value))| {
            let span = spans.iter().find(|(place, ..)| *place as usize == i);
            vec![
                Cell::text(&trend.label),
                Cell::text(&names[execution.place]),
                Cell::sorted(&units::number(scaled(*value)), *value),
                Cell::optional(span.map(|(_, low, _)| scaled(*low))),
                Cell::optional(span.map(|(.., high)| scaled(*high))),
                Cell::count(execution.benchmarks.len() as u64),
                Cell::optional(level_at(figure, i).map(scaled)),
            ]
        })
    });
    let changes = all.iter().filter_map(|(_, figure)| figure.history.as_ref());
    let changes: usize = changes.map(|history| history.levels.len().saturating_sub(1)).sum();
    let longest = all.iter().map(|(trend, _)| trend.executions.len()).max().unwrap_or(0);
    let told = match (changes, longest < LEAST_FOR_CHANGE) {
        (_, true) => {
            format!("With fewer than {LEAST_FOR_CHANGE} executions (here {longest}) no change of level can be told.")
        }
        (0, _) => "No change of level beyond chance.".to_owned(),
        (1, _) => "One change of level; dashed lines are the levels before and after.".to_owned(),
        (count, _) => format!("{count} changes of level; dashed lines are the levels between them."),
    };
    let left_out = match all.len().saturating_sub(MOST_LINES) {
        0 => String::new(),
        count => format!(" {count} more configurations are in the table."),
    };
    // A percentile keeps its small letter.
    let title = match words.split_at_checked(1) {
        Some((first, rest)) if !rest.starts_with(|c: char| c.is_ascii_digit()) => first.to_uppercase() + rest,
        _ => words.clone(),
    };
    Some(Chart {
        id: metric.name().replace(['_', '.'], "-"),
        title,
        finding: format!("{told} Points are geometric means of repetitions, bands their 95 % intervals.{left_out}"),
        table: Table::new(columns, rows.collect()),
        option: super::plot(
            &x,
            vec![Panel { y_name: format!("{words}, {unit_name}"), scale, series, ..Panel::default() }],
            PANEL_PX,
        ),
        height_px: height(1, PANEL_PX),
        group: Some("executions"),
        still: None,
    })
}
