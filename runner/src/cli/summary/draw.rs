//! Small plots of one benchmark for the terminal: its course, and its percentiles with their intervals.

use std::fmt::Write;

use analysis::{Assessment, assessment::FigureInterval};
use archive::Summary;

use crate::{cli::table, units};

const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// What a terminal is taken to be wide, where stdout is none.
const USUAL_WIDTH: usize = 80;

/// Adds the plots that the summary has data for.
pub fn plots(out: &mut String, summary: &Summary, assessment: &Assessment) {
    let width = table::new_table().width().map_or(USUAL_WIDTH, usize::from).clamp(40, 160);
    course(out, summary, width);
    percentiles(out, assessment, width);
}

/// Successful requests by the second, as bars beside each other.
fn course(out: &mut String, summary: &Summary, width: usize) {
    let timeline = &summary.timeline;
    let loaded_until = summary.window_s[1];
    let whole =
        |i: &usize| timeline.start_s.get(*i).is_some_and(|start| start + timeline.bucket_s <= loaded_until + 1e-6);
    let failed = |i: usize| timeline.failed.get(i).copied().unwrap_or(0);
    let rates: Vec<f64> = (0..timeline.completed.len())
        .filter(whole)
        .map(|i| timeline.completed[i].saturating_sub(failed(i)) as f64 / timeline.bucket_s.max(1e-9))
        .collect();
    if rates.len() < 2 {
        return;
    }
    let most = width.saturating_sub(50).max(10);
    let each = rates.len().div_ceil(most);
    let means: Vec<f64> = rates.chunks(each).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect();
    let (low, high) = extremes(&means);
    let span = timeline.bucket_s * each as f64;
    _ = writeln!(
        out,
        "\nrequests/s  {}  {} to {}, a bar for {}, warm-up included",
        bars(&means),
        units::figure(low),
        units::figure(high),
        units::seconds(span)
    );
}

fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, 0.0), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// One character a value, from zero to the largest.
fn bars(values: &[f64]) -> String {
    let (_, high) = extremes(values);
    let bar = |value: &f64| match high > 0.0 {
        true => STEPS[((value / high * 7.0).round() as usize).min(7)],
        false => STEPS[0],
    };
    values.iter().map(bar).collect()
}

/// Percentiles of latency and TTFT: value, interval, bar.
fn percentiles(out: &mut String, assessment: &Assessment, width: usize) {
    for (quantity, name) in [("latency", "latency"), ("ttft", "TTFT")] {
        let of: Vec<&FigureInterval> =
            assessment.percentiles.iter().filter(|figure| figure.quantity == quantity).collect();
        let Some(largest) = of.iter().map(|figure| figure.value).reduce(f64::max).filter(|value| *value > 0.0) else {
            continue;
        };
        _ = writeln!(out, "\n{name}, with 95 % intervals");
        let room = width.saturating_sub(44).max(8);
        for figure in of {
            let side = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), units::seconds);
            let interval = figure
                .interval
                .map_or_else(String::new, |interval| format!("[{}, {}]", side(interval.low), side(interval.high)));
            // A percentile that rests on fewer than ten requests is bracketed.
            let value = units::seconds(figure.value);
            let value = if figure.supported { value } else { format!("({value})") };
            let bar = bar(figure.value / largest, room);
            _ = writeln!(out, "  {:<5} {value:>10}  {interval:<22} {bar}", figure.figure);
        }
    }
}

/// A bar of `share` of the room, to an eighth of a character.
fn bar(share: f64, room: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * room as f64 * 8.0).round() as usize;
    let mut text: String = std::iter::repeat_n('█', eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8 - 1]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_for_their_values() {
        assert_eq!(bars(&[0.0, 50.0, 100.0]), "▁▅█");
        assert_eq!(bars(&[0.0, 0.0]), "▁▁");
        for (share, text) in [(0.0, ""), (0.5, "██"), (1.0, "████"), (0.28125, "█▏"), (2.0, "████")]
        {
            assert_eq!(bar(share, 4), text, "{share}");
        }
    }
}
