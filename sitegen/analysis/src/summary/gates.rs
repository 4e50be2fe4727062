//! Every validity gate with its outcome, so that a gate that passed can be told from one that was never asked.

use archive::{CalibrationError, Finding, Gate, GateOutcome, Severity, Summary};

use super::{Arrival, Facts, Generator, findings::NOT_SENT};

/// One entry a gate of `docs/metrics.md`, in its order. `findings` are those of the same summary.
pub fn list(facts: &Facts, summary: &Summary, findings: &[Finding]) -> Vec<Gate> {
    let closed = "closed loop: the answers set the pace";
    let open = matches!(facts.arrival, Arrival::Open { .. });
    let schedule = |value: Option<String>| {
        if findings.iter().any(|finding| finding.code == "saturated") {
            return Err("the service was saturated: it was not the load generator that was late".into());
        }
        if open { Ok(value.unwrap_or_else(|| "nothing was sent".into())) } else { Err(closed.into()) }
    };
    let lag = summary.send_lag_s.as_ref().and_then(|lag| lag.figures.p99);
    let generator = |value: &dyn Fn(&Generator) -> String| {
        facts.generator.as_ref().map(value).ok_or_else(|| "the load generator says nothing of itself".to_owned())
    };
    let calibration = match &summary.calibration {
        Some(error) => {
            let known =
                format!("{:.1} % of what was measured, at {:.0} events/s", error.share * 100.0, error.event_rate);
            let known = match error.judged() < error.share {
                true => known + ", as far as so small an error can be told from none",
                false => known,
            };
            let known = known + &left_out(error);
            // Of a rate at which the calibration itself was saturated, a small error at a lower one says nothing.
            if error.left_out > 0 && !error.within { Err(known) } else { Ok(known) }
        }
        None if facts.calibration.as_ref().is_some_and(|known| known.rungs.iter().all(|rung| rung.saturated)) => {
            Err("at every rate the load generator or the server of the calibration was saturated".to_owned())
        }
        None => Err("the load generator was not calibrated".to_owned()),
    };
    let prompt_cache = match (facts.repeats_prompts, summary.avg_cached_tokens, summary.avg_input_tokens) {
        (_, None, _) | (_, _, None) => Err("the server says nothing of a prompt cache".to_owned()),
        (true, ..) => Err("the recipe makes prompts begin alike".to_owned()),
        (false, Some(cached), Some(input)) => Ok(format!("{cached:.1} of {input:.1} input tokens a request")),
    };
    let saturated = match open {
        true => Ok("the load generator kept the schedule, or was itself what was late".to_owned()),
        false => Err(closed.into()),
    };
    let cold_start = match (facts.timed_clients, summary.warmup_requests) {
        (None, _) => Err("the load did not end by time, or kept a schedule".into()),
        (Some(_), 0) => Ok(format!("no warm-up, {} requests in the window", summary.total_requests)),
        (Some(_), warmup) => Ok(format!("{warmup} warm-up requests")),
    };
    // With a saturated service, what was never sent is no failure of its answers.
    let unsent = match findings.iter().any(|finding| finding.code == "saturated") {
        true => summary.error_summary.get(NOT_SENT).copied().unwrap_or(0),
        false => 0,
    };
    let (broken, sent) =
        (summary.failed_requests.saturating_sub(unsent), summary.total_requests.saturating_sub(unsent));
    let never_sent = if unsent > 0 { format!("; {unsent} more were never sent") } else { String::new() };
    let clocks = match &facts.clocks {
        None => Err("one node drove the load: the times of a request are all by its clock".to_owned()),
        Some(clocks) if clocks.is_empty() => Err("no node could ask for the time of another".to_owned()),
        Some(clocks) => {
            let worst = |of: fn(&super::NodeClock) -> f64| clocks.iter().map(of).map(f64::abs).fold(0.0, f64::max);
            let [offset, error] = [worst(|clock| clock.offset_s), worst(|clock| clock.error_s)];
            Ok(format!("up to {:.3} ms, corrected for and known within {:.3} ms", offset * 1e3, error * 1e3))
        }
    };
    let restarted = match facts.service_restarts {
        Some(_) => Ok("the same sockets listened at its port all the time".to_owned()),
        None => Err("nobody could look at the service's listening sockets".to_owned()),
    };
    let gates: [(&str, Result<String, String>); 13] = [
        ("send_lag", schedule(lag.map(|lag| format!("p99 {} µs", (lag * 1e6).round())))),
        ("rate", schedule(summary.requested_rate.map(|rate| format!("{rate:.1} requests/s asked for")))),
        ("saturated", saturated),
        ("cold_start", cold_start),
        (
            "client_cpu",
            generator(&|generator| {
                let Generator { cpu_s, wait_s, threads, .. } = generator;
                format!("{cpu_s:.2} s of CPU on {threads} threads, which waited {wait_s:.2} s for a core")
            }),
        ),
        ("stall", generator(&|generator| format!("{:.1} ms at most", generator.longest_stall_s * 1e3))),
        ("calibration", calibration),
        ("prompt_cache", prompt_cache),
        ("clock_offset", clocks),
        ("samples", Ok(format!("{} successful requests", summary.latency_s.figures.count))),
        ("restarted", restarted),
        ("incomplete", Ok("the service and the load to their end".into())),
        ("failures", Ok(format!("{broken} of {sent} requests failed{never_sent}"))),
    ];
    let failed = |code: &str| findings.iter().any(|finding| finding.code == code && finding.severity != Severity::Note);
    gates
        .into_iter()
        .map(|(code, value)| {
            let (outcome, detail) = match value {
                _ if failed(code) => {
                    let of = |finding: &&Finding| finding.code == code;
                    (
                        GateOutcome::Failed,
                        findings.iter().find(of).map(|finding| finding.message.clone()).unwrap_or_default(),
                    )
                }
                Ok(value) => (GateOutcome::Passed, value),
                Err(why) => (GateOutcome::NotApplicable, why),
            };
            Gate { code: code.to_owned(), outcome, detail }
        })
        .collect()
}

/// Which rates the errors are not of.
pub(super) fn left_out(error: &CalibrationError) -> String {
    let nearest = if error.within { "" } else { ", of the nearest rate that it could be calibrated at" };
    match error.left_out {
        0 => nearest.to_owned(),
        1 => format!("{nearest}; one rate is left out, at which it or the calibration's server was saturated"),
        rates => {
            format!("{nearest}; {rates} rates are left out, at which it or the calibration's server was saturated")
        }
    }
}
