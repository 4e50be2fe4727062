//! Remarks on a benchmark's validity, each with the number it rests on; `docs/metrics.md` lists the gates.

use archive::{Finding, Severity, Status, Summary};

use super::{Arrival, Facts};

/// What a gate says of a number: nothing, a reservation, or that the figures must not be used.
fn grade(invalid: bool, warning: bool) -> Option<Severity> {
    match (invalid, warning) {
        (true, _) => Some(Severity::Invalid),
        (false, true) => Some(Severity::Warning),
        (false, false) => None,
    }
}

/// Remarks, worst first. `schedule_kept` is the time that sending should have taken over the time it took, `in_flight`
/// the mean number of requests in flight over the window.
pub fn find(facts: &Facts, summary: &Summary, schedule_kept: Option<f64>, in_flight: Option<f64>) -> Vec<Finding> {
    let saturated = saturated(facts, summary, schedule_kept, in_flight);
    let is_saturated = saturated.is_some();
    let gates = [
        ended_early(facts),
        failures(summary, is_saturated),
        saturated,
        send_lag(summary).filter(|_| !is_saturated),
        rate(facts, schedule_kept).filter(|_| !is_saturated),
        cold_start(facts, summary),
        restarted(facts),
        client_cpu(facts, summary),
        stall(facts, summary),
        clock_offset(facts, summary),
        calibration(summary),
        prompt_cache(facts, summary),
        prompt_length(summary),
        samples(summary),
    ];
    let mut findings: Vec<_> = gates.into_iter().flatten().collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn finding(severity: Severity, code: &str, message: String) -> Option<Finding> {
    Some(Finding { severity, code: code.to_owned(), message })
}

fn ended_early(facts: &Facts) -> Option<Finding> {
    let (severity, message) = match facts.status {
        Status::Completed => return None,
        Status::Failed => (Severity::Invalid, "the benchmark failed before its load was complete"),
        Status::Cancelled => (Severity::Warning, "the benchmark was cancelled: these figures cover a part of its load"),
    };
    finding(severity, "incomplete", message.to_owned())
}

/// Somebody began the service anew: its caches were cold again, and its data may be gone.
fn restarted(facts: &Facts) -> Option<Finding> {
    let restarts = facts.service_restarts.filter(|restarts| *restarts > 0)?;
    let message = format!(
        "the service restarted: {restarts} {} during the benchmark other sockets than before listened at its port",
        if restarts == 1 { "time" } else { "times" }
    );
    finding(Severity::Invalid, "restarted", message)
}

/// The parts of a load begin and end by a clock that each node knows only so well.
fn clock_offset(facts: &Facts, summary: &Summary) -> Option<Finding> {
    let clocks = facts.clocks.as_ref()?;
    let worst = clocks.iter().map(|clock| clock.error_s).fold(0.0, f64::max);
    let share = worst / summary.test_duration_s;
    if summary.test_duration_s <= 0.0 || worst <= CLOCK_ERROR_S {
        return None;
    }
    let severity = grade(share > 0.1, share > 0.01)?;
    let message = format!(
        "the clocks of the {} client nodes are known only within {}, which is {} of the window: the parts of the load may \
         have begun and ended so far from each other",
        clocks.len(),
        time(worst),
        percent_of(share * 100.0)
    );
    finding(severity, "clock_offset", message)
}

/// So well a node's clock need not be known better: loads begin and end in milliseconds.
const CLOCK_ERROR_S: f64 = 0.001;

/// What the error of a request says that was due and never sent.
pub(super) const NOT_SENT: &str = "not sent";

/// The share of the requests in flight that must be waiting for the service, for it to be the one that is late.
const ALL_WAIT: f64 = 0.9;

/// Offered more than it can do: the rate was missed because all requests that may be in flight were waiting for the
/// service, while the load generator had time. This is a valid observation of its capacity.
fn saturated(facts: &Facts, summary: &Summary, schedule_kept: Option<f64>, in_flight: Option<f64>) -> Option<Finding> {
    let Arrival::Open { requested_rate } = facts.arrival else { return None };
    let (most, in_flight) = (f64::from(facts.most_in_flight?), in_flight?);
    let late = schedule_kept.is_some_and(|kept| kept < 0.99)
        || summary.error_summary.contains_key(NOT_SENT)
        || send_lag(summary).is_some();
    let generator_was_free =
        facts.generator.is_some() && client_cpu(facts, summary).is_none() && stall(facts, summary).is_none();
    if !late || in_flight < ALL_WAIT * most || !generator_was_free {
        return None;
    }
    let message = format!(
        "saturated: {} of {} requests that may be in flight were waiting for answers on average, so that the service \
         answered {} of the {} per second it was offered; latency holds the wait for a free client and grows with the \
         length of the load; more clients (`num_clients`) tell whether it was the service or their number",
        number(in_flight),
        most,
        summary.answered_per_second.map_or_else(|| "none".to_owned(), number),
        number(requested_rate)
    );
    finding(Severity::Warning, "saturated", message)
}

/// With `saturated`, what was never sent is the mark of a service past its capacity and no failure of its answers.
fn failures(summary: &Summary, saturated: bool) -> Option<Finding> {
    let unsent = if saturated { summary.error_summary.get(NOT_SENT).copied().unwrap_or(0) } else { 0 };
    let (failed, total) = (summary.failed_requests - unsent, summary.total_requests - unsent);
    if total == 0 {
        return finding(Severity::Invalid, "failures", "no request was measured".to_owned());
    }
    if failed == total {
        return finding(Severity::Invalid, "failures", format!("all {total} requests failed"));
    }
    let percent = failed as f64 / total as f64 * 100.0;
    let severity = grade(percent > 50.0, percent > 1.0)?;
    let reasons = summary.error_summary.iter().filter(|(text, _)| !saturated || *text != NOT_SENT);
    let most = reasons.max_by_key(|(_, count)| **count);
    let most = most.map(|(text, count)| format!("; most often ({count}): {}", shortened(text))).unwrap_or_default();
    finding(severity, "failures", format!("{failed} of {total} requests failed ({}){most}", percent_of(percent)))
}

fn send_lag(summary: &Summary) -> Option<Finding> {
    let lag = summary.send_lag_s.as_ref()?.figures.p99?;
    let latency = summary.latency_s.figures.p50?;
    let notable = lag > 0.001;
    let severity = grade(notable && lag > 0.5 * latency, notable && lag > 0.1 * latency)?;
    let message = format!(
        "requests were sent late: the load generator's own delay has a p99 of {}, the response time a median of {}",
        time(lag),
        time(latency)
    );
    finding(severity, "send_lag", message)
}

fn rate(facts: &Facts, schedule_kept: Option<f64>) -> Option<Finding> {
    let Arrival::Open { requested_rate } = facts.arrival else { return None };
    let kept = schedule_kept?;
    let severity = grade(kept < 0.90, kept < 0.99)?;
    let message = format!(
        "requests were sent at {} of the requested {} per second",
        percent_of(kept * 100.0),
        number(requested_rate)
    );
    finding(severity, "rate", message)
}

/// All clients began together at the start of a window that time ends: each has up to one request in it that it
/// had no time for, as every request counts that starts in the window.
fn cold_start(facts: &Facts, summary: &Summary) -> Option<Finding> {
    let clients = u64::from(facts.timed_clients?);
    let total = summary.total_requests;
    if summary.warmup_requests > 0 || clients * 100 <= total {
        return None;
    }
    let message = format!(
        "without a warm-up all {clients} clients began together: up to {} of the {total} counted requests are more \
         than the window had time for; give `benchmarks.warmup`",
        clients.min(total)
    );
    finding(Severity::Warning, "cold_start", message)
}

fn client_cpu(facts: &Facts, summary: &Summary) -> Option<Finding> {
    let generator = facts.generator?;
    let available = f64::from(generator.threads) * summary.test_duration_s;
    let [used, waited] = [generator.cpu_s, generator.wait_s].map(|time| time / available * 100.0);
    if available <= 0.0 || used + waited <= 90.0 {
        return None;
    }
    let message = format!(
        "client-bound: the load generator used {} of its {}{}, so that it may have set the limit and not the service",
        percent_of(used),
        if generator.threads == 1 { "one thread".to_owned() } else { format!("{} threads", generator.threads) },
        if waited >= 1.0 {
            format!(", and waited {} of the time for a core", percent_of(waited))
        } else {
            String::new()
        }
    );
    finding(Severity::Warning, "client_cpu", message)
}

fn stall(facts: &Facts, summary: &Summary) -> Option<Finding> {
    let stall = facts.generator?.longest_stall_s;
    if stall <= 0.1 {
        return None;
    }
    let p99 = summary.latency_s.figures.p99;
    let compared = p99.map(|p99| format!(", beside a p99 of {}", time(p99))).unwrap_or_default();
    let message = format!("an event loop of the load generator stood still for up to {}{compared}", time(stall));
    finding(Severity::Warning, "stall", message)
}

/// Above a tenth of what was measured, the load generator may have set the figures.
fn calibration(summary: &Summary) -> Option<Finding> {
    let error = summary.calibration.as_ref()?;
    let severity = grade(false, error.judged() > 0.1)?;
    let figures = [("latency", error.latency_s), ("TTFT", error.ttft_s), ("ITL", error.itl_s)];
    let figures = figures.iter().filter_map(|(name, figures)| figures.map(|figures| (name, figures)));
    let errors: Vec<String> =
        figures.map(|(name, figures)| format!("{name} p50 {}, p99 {}", time(figures.p50), time(figures.p99))).collect();
    let message = format!(
        "client-bound: calibrated at {} events per second{}, the load generator's own error is up to {} of what was \
         measured ({}{})",
        number(error.event_rate.round()),
        if error.within { "" } else { " (the nearest rate that it could be calibrated at)" },
        percent_of(error.judged() * 100.0),
        errors.join("; "),
        error.loopback_s.map_or(String::new(), |way| format!(
            ", of which p50 {} and p99 {} are the way over loopback",
            time(way.p50),
            time(way.p99)
        ))
    );
    finding(severity, "calibration", message)
}

/// Above a tenth of the input: less is what chat templates begin with, in whole blocks of the cache.
fn prompt_cache(facts: &Facts, summary: &Summary) -> Option<Finding> {
    let (cached, input) = (summary.avg_cached_tokens?, summary.avg_input_tokens?);
    if facts.repeats_prompts || cached <= 0.1 * input {
        return None;
    }
    let message = format!(
        "the server had {} of {} input tokens a request in its prompt cache, though no setting makes prompts begin alike: it may \
         have seen these very prompts before, as in another run with the same seed, and the time to the first token \
         is that of a warm cache",
        number(cached),
        number(input)
    );
    finding(Severity::Warning, "prompt_cache", message)
}

/// A tenth more or less than was meant is another load: what a prompt costs goes by its tokens.
fn prompt_length(summary: &Summary) -> Option<Finding> {
    let [asked, had] = summary.avg_asked_input_tokens?;
    if (had - asked).abs() <= 0.1 * asked {
        return None;
    }
    let message = format!(
        "prompts were meant to have {} tokens on average and have {} by the server's count: without its tokenizer a text can only be \
         about as long, and chat templates add to it; `prompt_as: ids`, where the server takes them, makes it exact",
        number(asked),
        number(had)
    );
    finding(Severity::Warning, "prompt_length", message)
}

fn samples(summary: &Summary) -> Option<Finding> {
    let count = summary.latency_s.figures.count;
    if count == 0 || count >= 1000 {
        return None;
    }
    let severity = if count < 100 { Severity::Warning } else { Severity::Note };
    let message = format!(
        "{count} successful requests do not support {}",
        match summary.latency_s.figures.unsupported.first().map(String::as_str) {
            Some("p50") => "any percentile, not even the median",
            Some("p90") => "percentiles above the median",
            Some("p95") => "percentiles above p90",
            _ => "percentiles above p95",
        }
    );
    finding(severity, "samples", message)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Percent with as many digits as tell it from 0 and from 100.
fn percent_of(percent: f64) -> String {
    let digits = if percent < 10.0 || (99.0..100.0).contains(&percent) { 2 } else { 1 };
    format!("{percent:.digits$} %")
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{}", (value * 100.0).round() / 100.0) }
}

/// A duration in the unit that suits it, three digits.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}
