//! The course of a benchmark: what was answered in each second, and what the machines did, on one time axis.

use std::collections::BTreeMap;

use archive::{ResourceSample, Role, Summary};

use super::{Chart, Kind, Marks, Panel, XAxis, color, dashed, height, line, plot};
use crate::{
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

pub(super) const PANEL_PX: u32 = 130;

/// A line with so few points shows each of them: a single one would not be seen else.
pub(super) const FEW_POINTS: usize = 20;

/// Rows of a table twin: those of more than an hour show every n-th second.
pub(super) const MOST_ROWS: usize = 4_000;

const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn time_axis(summary: &Summary) -> XAxis {
    let timeline = &summary.timeline;
    let end = timeline.start_s.last().map_or(0.0, |start| start + timeline.bucket_s);
    XAxis {
        name: "seconds from the start of the load".to_owned(),
        kind: Kind::Linear,
        min: Some(0.0),
        max: Some(end.max(summary.window_s[1]).ceil().max(1.0)),
        labels: "@number",
    }
}

/// What lies outside the measurement window.
pub(super) fn outside(summary: &Summary, x: &XAxis, labelled: bool) -> Marks {
    let label = |text: &str| if labelled { text.to_owned() } else { String::new() };
    let [start, end] = summary.window_s;
    let mut marks = Marks::default();
    if start > 0.0 {
        marks.ranges.push((0.0, start, label("warm-up"), "$shade".to_owned()));
    }
    if let Some(last) = x.max.filter(|last| end + 0.05 < *last) {
        marks.ranges.push((end, last, label("drain"), "$shade".to_owned()));
    }
    marks
}

/// Throughput, failures and latency by the second.
pub fn requests(summary: &Summary) -> Option<Chart> {
    let timeline = &summary.timeline;
    if timeline.completed.is_empty() {
        return None;
    }
    let width = timeline.bucket_s.max(1e-9);
    let largest = timeline.latency_p99_s.iter().flatten().copied().fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let middle = |i: usize| timeline.start_s.get(i).map_or(0.0, |start| start + width / 2.0);
    // A second in which the load ended was not loaded throughout: it has a count, but no rate.
    let loaded_until = if summary.window_s[1] > summary.window_s[0] { summary.window_s[1] } else { f64::INFINITY };
    let per_second = |i: usize, count: u64| {
        let whole = timeline.start_s.get(i).is_some_and(|start| start + width <= loaded_until + 1e-6);
        whole.then(|| count as f64 / width)
    };
    let failed = |i: usize| per_second(i, timeline.failed.get(i).copied().unwrap_or(0));
    let rate =
        |i: usize| per_second(i, timeline.completed[i].saturating_sub(timeline.failed.get(i).copied().unwrap_or(0)));
    let buckets = 0..timeline.completed.len();
    let failures = timeline.failed.iter().any(|failed| *failed > 0);
    let x = time_axis(summary);
    let markers = buckets.len() <= FEW_POINTS;

    let mut rates = vec![line("successful", &color(0), buckets.clone().map(|i| (middle(i), rate(i))), markers)];
    if failures {
        rates.push(line("failed", "$bad", buckets.clone().map(|i| (middle(i), failed(i))), markers));
    }
    let latency = |name: &str, index: usize, values: &[Option<f64>]| {
        let points = values.iter().enumerate().map(|(i, value)| (middle(i), value.map(|value| unit.of(value))));
        line(name, &color(index), points.collect::<Vec<_>>(), markers)
    };
    let panels = vec![
        Panel { y_name: "requests/s".into(), series: rates, marks: outside(summary, &x, true), ..Panel::default() },
        Panel {
            y_name: format!("latency, {}", unit.name),
            series: vec![
                latency("p50 latency", 1, &timeline.latency_p50_s),
                latency("p99 latency", 2, &timeline.latency_p99_s),
            ],
            marks: outside(summary, &x, false),
            ..Panel::default()
        },
    ];

    let [start, end] = summary.window_s;
    let inside: Vec<f64> = buckets
        .clone()
        .filter(|i| timeline.start_s[*i] >= start && timeline.start_s[*i] + width <= end)
        .filter_map(rate)
        .collect();
    let finding = match (inside.iter().copied().reduce(f64::min), inside.iter().copied().reduce(f64::max)) {
        (Some(low), Some(_)) if inside.len() == 1 => format!(
            "Within the measurement window, {} to {} s, lies one whole second; {} requests succeeded in it.",
            units::number(start),
            units::number(end),
            units::number(low)
        ),
        (Some(low), Some(high)) => format!(
            "Within the measurement window, {} to {} s, between {} and {} requests succeeded in a second.",
            units::number(start),
            units::number(end),
            units::number(low),
            units::number(high)
        ),
        _ => "No whole second lies within the measurement window.".to_owned(),
    };
    let columns = vec![
        Column::number("second", "s"),
        Column::number("successful", "/s"),
        Column::number("failed", "/s"),
        Column::number("p50 latency", unit.name),
        Column::number("p99 latency", unit.name),
    ];
    let step = timeline.completed.len().div_ceil(MOST_ROWS).max(1);
    let time = |value: Option<Option<f64>>| match value.flatten() {
        Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
        None => Cell::none(),
    };
    let rows = buckets.step_by(step).map(|i| {
        vec![
            Cell::number(timeline.start_s[i]),
            rate(i).map_or_else(Cell::none, Cell::number),
            failed(i).map_or_else(Cell::none, Cell::number),
            time(timeline.latency_p50_s.get(i).copied()),
            time(timeline.latency_p99_s.get(i).copied()),
        ]
    });
    Some(Chart {
        id: "course".to_owned(),
        title: "Course".to_owned(),
        finding,
        table: Table::new(columns, rows.collect()).with_note(step_note(step)),
        option: plot(&x, panels, PANEL_PX),
        height_px: height(2, PANEL_PX),
        group: Some("time"),
        still: None,
    })
}

pub(super) fn step_note(step: usize) -> Option<String> {
    (step > 1).then(|| format!("Every {step}th row; `summary.json` and `resources.jsonl.zst` of the archive have all."))
}

/// CPU and memory of the service, the load generator and their nodes.
pub fn resources(summary: &Summary, samples: &[ResourceSample]) -> Option<Chart> {
    let mut sources: BTreeMap<((u8, &str), String), Vec<&ResourceSample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.offset_s.is_some()) {
        // The service first, wherever it ran.
        let role = match sample.role {
            Role::Service => (0, "service"),
            Role::Client => (1, "load generator"),
        };
        sources.entry((role, sample.node.clone())).or_default().push(sample);
    }
    if sources.is_empty() {
        return None;
    }
    let nodes = sources.keys().map(|(_, node)| node).collect::<std::collections::BTreeSet<_>>().len();
    let x = time_axis(summary);
    // Samples from before the load would stretch nothing: the axis is that of the requests.
    let shown = |sample: &&&ResourceSample| {
        sample.offset_s.is_some_and(|offset| offset >= 0.0 && x.max.is_none_or(|last| offset <= last))
    };
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    let mut node_drawn = std::collections::BTreeSet::new();
    for (index, (((_, role), node), samples)) in sources.iter().enumerate() {
        let name = |what: &str| if nodes > 1 { format!("{what} ({node})") } else { what.to_owned() };
        let series = |of: &dyn Fn(&ResourceSample) -> Option<f64>| -> Vec<(f64, Option<f64>)> {
            samples.iter().filter(shown).map(|sample| (sample.offset_s.unwrap_or_default(), of(sample))).collect()
        };
        let markers = samples.len() <= FEW_POINTS;
        cpu.push(line(&name(role), &color(index), series(&|sample| sample.process_cpu_percent), markers));
        let rss = |sample: &ResourceSample| sample.process_rss_bytes.map(|bytes| bytes as f64 / MIB);
        memory.push(line(&name(role), &color(index), series(&rss), markers));
        if node_drawn.insert(node) {
            let busiest =
                line(&name("busiest core"), "$muted", series(&|sample| sample.node_cpu_max_core_percent), false);
            cpu.push(dashed(busiest));
        }
    }
    let panels = vec![
        Panel { y_name: "CPU, % of a core".into(), series: cpu, marks: outside(summary, &x, true), ..Panel::default() },
        Panel { y_name: "memory, MiB".into(), series: memory, marks: outside(summary, &x, false), ..Panel::default() },
    ];

    let [start, end] = summary.window_s;
    let mean = |samples: &[&ResourceSample]| {
        let values: Vec<f64> = samples
            .iter()
            .filter(|sample| sample.offset_s.is_some_and(|offset| offset > start && offset <= end))
            .filter_map(|sample| sample.process_cpu_percent)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let means: Vec<String> = sources
        .iter()
        .filter_map(|(((_, role), _), samples)| Some(format!("the {role} {} %", units::number(mean(samples)?))))
        .collect();
    let finding = match means.is_empty() {
        true => "No sample lies within the measurement window.".to_owned(),
        false => format!("Within the measurement window, {} of one core on average.", means.join(" and ")),
    };
    let columns = vec![
        Column::number("second", "s"),
        Column::text("node"),
        Column::text("process"),
        Column::number("CPU", "% of a core"),
        Column::number("busiest core", "%"),
        Column::number("memory", "MiB"),
    ];
    let step = samples.len().div_ceil(MOST_ROWS).max(1);
    let optional = |value: Option<f64>| value.map_or_else(Cell::none, Cell::number);
    let rows = sources.iter().flat_map(|(((_, role), node), samples)| {
        samples.iter().filter(shown).step_by(step).map(move |sample| {
            vec![
                Cell::number(sample.offset_s.unwrap_or_default()),
                Cell::text(node),
                Cell::text(role),
                optional(sample.process_cpu_percent),
                optional(sample.node_cpu_max_core_percent),
                optional(sample.process_rss_bytes.map(|bytes| bytes as f64 / MIB)),
            ]
        })
    });
    Some(Chart {
        id: "resources".to_owned(),
        title: "Resources".to_owned(),
        finding,
        table: Table::new(columns, rows.collect()).with_note(step_note(step)),
        option: plot(&x, panels, PANEL_PX),
        height_px: height(2, PANEL_PX),
        group: Some("time"),
        still: None,
    })
}
