//! A comparison as a table for people.

use std::fmt::Write;

use analysis::compare::{JointComparison, MetricComparison, Verdict, differences::Difference, metric::Metric};

use super::{Answer, PointHistory};
use crate::{cli::table, console, units};

/// One difference in a line.
pub fn difference(difference: &Difference) -> String {
    format!("{}: {} → {}", difference.what, difference.base, difference.candidate)
}

pub(super) fn text(answer: &Answer<'_>) -> String {
    let comparison = answer.comparison;
    // Writing to a String cannot fail.
    let mut out = String::new();
    _ = writeln!(out, "base       {}", answer.base);
    _ = writeln!(out, "candidate  {}", answer.candidate);
    for (index, line) in answer.differences.iter().enumerate() {
        let word = if index == 0 { "differs    " } else { "           " };
        _ = writeln!(out, "{word}{}", difference(line));
    }
    for remark in answer.remarks {
        _ = writeln!(out, "note: {remark}");
    }
    out.push('\n');

    let several = comparison.points.len() > 1;
    let mut rows = table::new_table();
    let mut header =
        vec!["figure", "base", "candidate", "change", "95 % interval", "threshold", "rule", "noise", "p", "verdict"];
    if several {
        header.insert(0, "point");
    }
    rows.set_header(header);
    for (point, swept) in comparison.points.iter().zip(&answer.swept) {
        for (index, metric) in point.metrics.iter().enumerate() {
            let mut cells = row(metric);
            if several {
                cells.insert(0, if index == 0 { console::label(swept) } else { String::new() });
            }
            rows.add_row(cells);
        }
    }
    let first = usize::from(several) + 1;
    table::align_right(&mut rows, first..first + 4);
    table::align_right(&mut rows, [first + 6, first + 7]);
    _ = writeln!(out, "{}\n", table::fitted(rows));

    for (point, swept) in comparison.points.iter().zip(&answer.swept) {
        let place = if several { format!("{}: ", console::label(swept)) } else { String::new() };
        if let Some(joint) = point.joint.as_ref().filter(|joint| joint.verdict.is_change()) {
            _ = writeln!(out, "{place}{}", together(joint));
        }
        for metric in point.metrics.iter().filter(|metric| metric.verdict == Verdict::CannotTell) {
            let advice = match metric.repetitions_needed {
                Some(repetitions) => format!("; {repetitions} repetitions a side probably tell"),
                None => String::new(),
            };
            _ = writeln!(out, "{place}{} cannot be told: {}{advice}", short(metric.metric), metric.reason);
        }
    }
    for (point, swept) in comparison.points.iter().zip(&answer.swept) {
        let place = if several { format!("{}: ", console::label(swept)) } else { String::new() };
        for figure in &point.one_sided {
            _ = writeln!(out, "{place}{} cannot be told: only the {} has it", short(figure.metric), figure.only);
        }
    }
    let earlier = comparison.points.iter().map(|point| point.earlier_executions).min().unwrap_or_default();
    if earlier < 2 {
        let word = if earlier == 0 { "no earlier execution".to_owned() } else { "one earlier execution".to_owned() };
        _ = writeln!(
            out,
            "note: {word} of this configuration in the archive: how much executions differ by themselves is not known"
        );
    }
    let rule = if comparison.within_thresholds { "PASS" } else { "FAIL" };
    let gate = match answer.gate {
        super::Gate::Evidence => {
            "a regression beyond chance fails; where nothing tells how much a figure varies, one beyond its threshold"
        }
        super::Gate::Threshold => "a figure beyond its threshold fails",
        super::Gate::Strict => "a regression beyond chance, or not being able to tell, fails",
    };
    _ = writeln!(out, "by threshold: {rule}; by evidence: {}", comparison.verdict);
    // What could not be told has not passed anything.
    let word = match (answer.passed, answer.gate, comparison.verdict) {
        (false, ..) => "FAIL",
        (true, super::Gate::Evidence, Verdict::CannotTell) => "UNDECIDED",
        _ => "PASS",
    };
    _ = writeln!(out, "{word} ({gate})");
    _ = writeln!(out, "method: {}, version {}", comparison.method, comparison.version);
    out
}

/// The levels of every figure, a row each.
pub(super) fn histories(histories: &[PointHistory<'_>], remarks: &[String]) -> String {
    let mut rows = table::new_table();
    rows.set_header(["point", "figure", "executions", "from", "to", "level", "change", "p", "verdict"]);
    for PointHistory { swept, executions, history } in histories {
        for (index, level) in history.levels.iter().enumerate() {
            let first = index == 0;
            rows.add_row([
                if first { console::label(swept) } else { String::new() },
                if first { short(history.metric) } else { String::new() },
                (level.last - level.first + 1).to_string(),
                executions[level.first].clone(),
                executions[level.last].clone(),
                value(history.metric, level.value),
                level.change.map_or_else(|| "–".to_owned(), |change| format!("{} %", signed(change))),
                level.p_value.map_or_else(|| "–".to_owned(), p_value),
                level.verdict.map_or_else(|| "–".to_owned(), |verdict| verdict.to_string()),
            ]);
        }
    }
    table::align_right(&mut rows, [2, 5, 6, 7]);
    let method = histories.first().map_or("", |one| one.history.method);
    let few = match histories.iter().map(|one| one.history.executions).min() {
        Some(executions) if executions < 6 => "note: with fewer than six executions no change of level can be told\n",
        _ => "",
    };
    let remarks: String = remarks.iter().map(|remark| format!("note: {remark}\n")).collect();
    format!("{rows}\n\n{remarks}{few}method: {method}\n")
}

/// What the figures of a point say as a whole.
fn together(joint: &JointComparison) -> String {
    let names: Vec<String> = joint.metrics.iter().map(|metric| short(*metric)).collect();
    let [low, high] = joint.interval;
    format!(
        "{} together: {} ({} thresholds worse on average, 95 % {} to {}, p {})",
        names.join(", "),
        joint.verdict,
        signed(joint.change),
        signed(low),
        signed(high),
        p_value(joint.p_corrected.unwrap_or(1.0)),
    )
}

fn row(metric: &MetricComparison) -> Vec<String> {
    let unit = match metric.metric {
        Metric::SuccessRate => " pt",
        Metric::Failures => "",
        _ => " %",
    };
    let change = |value: f64| format!("{}{unit}", signed(value));
    let interval = match metric.interval {
        Some([low, high]) => format!("{} to {}", signed(low), change(high)),
        None => "–".to_owned(),
    };
    let sign = if metric.metric.more_is_worse() { "+" } else { "−" };
    // A percentile that rests on too few requests is bracketed.
    let shown = |text: String| if metric.unsupported { format!("({text})") } else { text };
    vec![
        short(metric.metric),
        shown(value(metric.metric, metric.base)),
        shown(value(metric.metric, metric.candidate)),
        change(metric.change),
        interval,
        format!("{sign}{}{unit}", metric.threshold),
        if metric.within_threshold { "PASS" } else { "FAIL" }.to_owned(),
        metric.noise.map_or_else(|| "–".to_owned(), |noise| format!("{noise:.1} %")),
        metric.p_corrected.map_or_else(|| "–".to_owned(), p_value),
        metric.verdict.to_string(),
    ]
}

pub fn value(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Time { .. } => units::seconds(value),
        Metric::SuccessRate => format!("{value:.2} %"),
        _ => units::figure(value),
    }
}

fn p_value(value: f64) -> String {
    if value < 0.0001 { "<0.0001".to_owned() } else { format!("{value:.4}") }
}

/// As much as two digits after the point tell, with its sign.
pub fn signed(value: f64) -> String {
    let digits = if value.abs() < 9.995 { 2 } else { 1 };
    let text = format!("{:.digits$}", value.abs());
    let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match (zero, value < 0.0) {
        (true, _) => text,
        (false, true) => format!("−{text}"),
        (false, false) => format!("+{text}"),
    }
}

/// `p99`, `ttft_p95`, `throughput`, `success`, `errors`.
pub fn short(metric: Metric) -> String {
    match metric {
        Metric::Throughput => "throughput".to_owned(),
        Metric::Failures => "errors".to_owned(),
        other => {
            let name = other.name();
            let name = name.strip_suffix("_s").unwrap_or(&name);
            name.strip_prefix("latency_").unwrap_or(name).to_owned()
        }
    }
}
