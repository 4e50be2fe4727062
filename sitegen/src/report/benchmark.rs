//! The report of one benchmark: the page to read first, then what it rests on.

use analysis::{
    Assessment, LimitVerdict, ResourceSeries, assess,
    assessment::SloSource,
    bottleneck::{Attribution, attribute},
};
use archive::{Percentiles, Summary};
use serde_json::{Value, json};

use super::{
    Report, Slo, evidence, figures,
    markdown::{Document, escaped},
};
use crate::{
    load::Loaded,
    model::metric::{limit_in_words, value_in_words},
    pages::{
        benchmarks,
        bottleneck::{self, Limit},
    },
    units,
};

/// What a benchmark comes to, held to `slo` or to its own limits.
pub fn report(benchmark: &Loaded, slo: Option<&Slo>) -> Report {
    let assessment = assess(&benchmark.run, benchmark.summary.as_ref(), slo);
    let service = evidence::service_figures(benchmark);
    let plots = figures::all(benchmark, &assessment, &service);
    let bottleneck = attribute(&benchmark.observation());
    let rests_on = RestsOn { bottleneck: &bottleneck, service: &service };
    Report {
        folder: benchmark.id.to_string(),
        markdown: markdown(benchmark, &assessment, &rests_on, &plots),
        json: json(benchmark, &assessment, &rests_on, &plots),
        violated: assessment.is_bad(),
        plots,
    }
}

/// What was looked at beside the figures of the requests.
struct RestsOn<'a> {
    bottleneck: &'a Attribution,
    service: &'a [ResourceSeries],
}

fn json(benchmark: &Loaded, assessment: &Assessment, rests_on: &RestsOn<'_>, plots: &[super::Plot]) -> Value {
    json!({
        "schema": 1,
        "kind": "benchmark",
        "benchmark_id": benchmark.id,
        "digest": benchmark.digest,
        "tool": super::tool(),
        "summary": benchmark.summary,
        "assessment": assessment,
        "findings": assessment.findings,
        "recommendations": assessment.recommendations,
        "bottleneck": rests_on.bottleneck,
        "logs": benchmark.log_report,
        "service_figures": rests_on.service,
        "plots": super::listed(plots),
        "run_metadata": benchmark.run,
    })
}

fn markdown(benchmark: &Loaded, assessment: &Assessment, rests_on: &RestsOn<'_>, plots: &[super::Plot]) -> String {
    let run = &benchmark.run;
    let mut out = Document::default();
    let title = run.campaign.title.as_deref().unwrap_or(&run.campaign.name);
    out.heading(1, &format!("{}: {}", benchmark.id, escaped(title)));
    out.heading(2, "Summary");
    let limit = bottleneck::limit("", rests_on.bottleneck, "");
    out.table(&[("", false), ("", false)], &one_page(benchmark, assessment, &limit));
    if let Some(summary) = &benchmark.summary {
        performance(&mut out, summary, assessment);
        evidence::service(&mut out, rests_on.service);
        limits(&mut out, assessment);
    }
    out.heading(2, "Findings");
    let findings = assessment
        .findings
        .iter()
        .map(|remark| format!("**{}** ({}): {}", remark.title, remark.kind, escaped(&remark.description)));
    out.list(findings);
    if assessment.findings.is_empty() {
        out.block("Nothing stands out.");
    }
    out.heading(2, "Recommendations");
    out.list(assessment.recommendations.iter().map(|text| escaped(text)));
    if assessment.recommendations.is_empty() {
        out.block("None: the measurement says what it was asked.");
    }
    evidence::limits(&mut out, &[limit]);
    evidence::logs(&mut out, bottleneck::logs(&benchmark.log_report).as_ref());
    super::plots_section(&mut out, plots);
    method(&mut out, benchmark);
    out.finish()
}

/// What was measured, can it be trusted, the answer, the verdict, what limits it, what to do: a row each.
fn one_page(benchmark: &Loaded, assessment: &Assessment, limit: &Limit) -> Vec<Vec<String>> {
    let run = &benchmark.run;
    let version = run.service.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let point = benchmarks::point(benchmark);
    let point = if point.is_empty() { String::new() } else { format!(", {point}") };
    let measured = format!(
        "{}{version} under {} with {}{point}, on {}; repetition {} of {}",
        run.service.kind,
        run.client.kind,
        crate::pages::plural(run.client.num_clients as usize, "client"),
        run.target.name,
        run.campaign.repetition,
        run.campaign.repetitions
    );
    let reservations = assessment.findings.iter().filter(|remark| remark.kind == "warning").count();
    let trust = match (&assessment.standing_reason, reservations) {
        (Some(reason), _) => format!("No, {}: {reason}", assessment.standing),
        (None, 0) => "Yes: every validity gate was passed".to_owned(),
        (None, count) => {
            let first = assessment.findings.iter().find(|remark| remark.kind == "warning");
            let first = first.map(|remark| remark.description.as_str()).unwrap_or_default();
            format!("Yes, with {}: {first}", crate::pages::plural(count, "reservation"))
        }
    };
    let answer = benchmark.summary.as_ref().map_or_else(|| "Nothing was measured".to_owned(), answer);
    let advice = match assessment.recommendations.first() {
        Some(first) => first.clone(),
        None => "Nothing to change in the measurement".to_owned(),
    };
    let row = |name: &str, text: &str| vec![format!("**{name}**"), escaped(text)];
    vec![
        row("What was measured", &measured),
        row("Can you trust it?", &trust),
        row("The answer", &answer),
        vec![
            "**Verdict**".to_owned(),
            format!("**{}**: {}", assessment.verdict.word.in_words(), escaped(&assessment.verdict.reason)),
        ],
        row("What limits it", &format!("{} (confidence {}): {}", limit.class, limit.confidence, limit.summary)),
        row("Recommendation", &advice),
    ]
}

/// The figures in a sentence.
pub fn answer(summary: &Summary) -> String {
    let figures = &summary.latency_s.figures;
    let mut parts = Vec::new();
    if let Some(rate) = summary.throughput() {
        parts.push(format!("{} requests/s", units::number(rate)));
    }
    if let Some(tokens) = summary.tokens_per_second {
        parts.push(format!("{} output tokens/s", units::number(tokens)));
    }
    if let (Some(p50), Some(p99)) = (figures.p50, figures.p99) {
        let unsupported = figures.unsupported.iter().any(|name| name == "p99");
        let mark = if unsupported { " (not supported by the sample)" } else { "" };
        parts.push(format!("latency p50 {}, p99 {}{mark}", units::duration(p50), units::duration(p99)));
    }
    if let Some(rate) = summary.success_rate {
        parts.push(format!(
            "{} % of {} requests succeeded",
            units::percent(rate),
            units::count(summary.total_requests)
        ));
    }
    if parts.is_empty() { "no request was measured".to_owned() } else { parts.join("; ") }
}

fn performance(out: &mut Document, summary: &Summary, assessment: &Assessment) {
    out.heading(2, "Performance");
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let per_second =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{} /s", units::number(value)));
    let mut rows = vec![
        row("Throughput (successful requests)", per_second(summary.throughput())),
        row("Requests in the window", units::count(summary.total_requests)),
        row("Failed", units::count(summary.failed_requests)),
        row(
            "Success rate",
            summary.success_rate.map_or_else(|| "–".to_owned(), |rate| format!("{} %", units::percent(rate))),
        ),
        row("Window", units::duration(summary.test_duration_s)),
        row("Warm-up requests before it", units::count(summary.warmup_requests)),
    ];
    if let Some(rate) = summary.requested_rate {
        rows.push(row("Requested rate", per_second(Some(rate))));
    }
    if let Some(goodput) = &summary.goodput {
        let share = goodput.ratio.map(|ratio| format!(" ({} %)", units::percent(ratio * 100.0))).unwrap_or_default();
        rows.push(row("Goodput", format!("{}{share}", per_second(goodput.requests_per_second))));
    }
    if summary.tokens_per_second.is_some() {
        let average = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::number);
        rows.push(row("Output tokens", per_second(summary.tokens_per_second)));
        rows.push(row("Output tokens of a request", average(summary.avg_output_tokens)));
        rows.push(row("Input tokens of a request", average(summary.avg_input_tokens)));
    }
    if let Some(recall) = &summary.recall {
        rows.push(row(
            "Mean recall",
            format!("{} over {} searches", units::number(recall.avg), units::count(recall.count)),
        ));
    }
    out.table(&[("figure", false), ("value", true)], &rows);

    out.heading(3, "Durations");
    let names: [(&str, &str, Option<&Percentiles>); 7] = [
        ("latency", "latency", Some(&summary.latency_s.figures)),
        ("service_time", "service time", summary.service_time_s.as_ref().map(|sample| &sample.figures)),
        ("send_lag", "send lag", summary.send_lag_s.as_ref().map(|sample| &sample.figures)),
        ("ttft", "TTFT", summary.ttft_s.as_ref().map(|sample| &sample.figures)),
        ("tpot", "TPOT", summary.tpot_s.as_ref().map(|sample| &sample.figures)),
        ("itl", "ITL", summary.itl_s.as_ref().map(|sample| &sample.figures)),
        ("ttfb", "TTFB", summary.ttfb_s.as_ref().map(|sample| &sample.figures)),
    ];
    let cell = |quantity: &str, figure: &str| {
        let known = assessment.percentiles.iter().find(|known| known.quantity == quantity && known.figure == figure);
        let Some(known) = known else { return "–".to_owned() };
        let interval = known.interval.map(|interval| {
            let side = |value: Option<f64>, open: &str| value.map_or_else(|| open.to_owned(), units::duration);
            format!(" \\[{}, {}\\]", side(interval.low, "0"), side(interval.high, "?"))
        });
        let value = units::duration(known.value);
        let value = if known.supported { value } else { format!("*({value})*") };
        format!("{value}{}", interval.unwrap_or_default())
    };
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .filter_map(|(key, name, figures)| Some((key, name, figures.filter(|figures| figures.count > 0)?)))
        .map(|(key, name, figures)| {
            let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::duration);
            let mut row = vec![name.to_owned(), units::count(figures.count), time(figures.avg)];
            row.extend(["p50", "p90", "p95", "p99", "p99.9"].map(|figure| cell(key, figure)));
            row.push(time(figures.max));
            row
        })
        .collect();
    let columns = ["", "n", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
    out.table(&columns.map(|name| (name, !name.is_empty())), &rows);
    out.block(
        "In brackets the 95 % interval between order statistics; `?` where the sample gives no bound. *(In parentheses)*: \
         fewer than ten values lie beyond the percentile.",
    );

    if summary.operations.len() > 1 {
        out.heading(3, "Operations");
        let rows: Vec<Vec<String>> = summary
            .operations
            .iter()
            .map(|(name, operation)| {
                let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::duration);
                let bytes = |value: Option<f64>| {
                    value.map_or_else(|| "–".to_owned(), |value| format!("{}/s", units::bytes(value)))
                };
                let latency = &operation.latency_s;
                vec![
                    escaped(name),
                    units::count(operation.count),
                    units::count(operation.failed),
                    time(operation.driven_s),
                    per_second(operation.throughput),
                    bytes(operation.bytes_sent_per_second),
                    bytes(operation.bytes_received_per_second),
                    per_second(operation.vectors_per_second),
                    time(latency.p50),
                    time(latency.p95),
                    time(latency.p99),
                ]
            })
            .collect();
        let columns = [
            "operation",
            "requests",
            "failed",
            "driven",
            "throughput",
            "sent",
            "received",
            "vectors",
            "p50",
            "p95",
            "p99",
        ];
        out.table(&columns.map(|name| (name, name != "operation")), &rows);
    }
    if !summary.error_summary.is_empty() {
        out.heading(3, "Errors");
        let mut errors: Vec<_> = summary.error_summary.iter().collect();
        errors.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let rows: Vec<Vec<String>> =
            errors.iter().take(20).map(|(text, count)| vec![escaped(text), units::count(**count)]).collect();
        out.table(&[("error", false), ("requests", true)], &rows);
        if errors.len() > 20 {
            out.block(&format!("{} rarer errors are in report.json.", errors.len() - 20));
        }
    }
}

fn limits(out: &mut Document, assessment: &Assessment) {
    out.heading(2, "Limits");
    out.block(source_in_words(assessment.slo_source));
    let rows: Vec<Vec<String>> =
        assessment.slo.iter().map(|check| limit_row(check).map(|cell| escaped(&cell)).into()).collect();
    out.table(&["limit", "measured", "95 % interval", "verdict", "why"].map(|name| (name, false)), &rows);
}

/// Limit, value, interval, verdict and reason, in words.
pub fn limit_row(check: &analysis::LimitCheck) -> [String; 5] {
    let value = |value: Option<f64>| value.map(|value| value_in_words(&check.metric, value));
    let interval = check.interval.map_or_else(
        || "–".to_owned(),
        |interval| {
            let low = value(interval.low).unwrap_or_else(|| "?".to_owned());
            format!("{low} to {}", value(interval.high).unwrap_or_else(|| "?".to_owned()))
        },
    );
    [
        limit_in_words(&check.metric, check.limit),
        value(check.value).unwrap_or_else(|| "not measured".to_owned()),
        interval,
        match check.verdict {
            LimitVerdict::Met => "met",
            LimitVerdict::Violated => "violated",
            LimitVerdict::CannotTell => "cannot tell",
        }
        .to_owned(),
        check.reason.clone(),
    ]
}

pub fn source_in_words(source: SloSource) -> &'static str {
    match source {
        SloSource::Asked => "The limits were asked for when this was made; those of the recipe are in the archive.",
        SloSource::Recipe => "The limits are those of the recipe.",
        SloSource::Default => "The recipe gives no limits: these are the defaults of the service type.",
        SloSource::None => "No limits were given, and the service type has no default.",
    }
}

fn method(out: &mut Document, benchmark: &Loaded) {
    let run = &benchmark.run;
    out.heading(2, "Method");
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.push(vec![name.to_owned(), escaped(&value)]);
        }
    };
    add("Run (UTC)", Some(format!("{} to {}", run.created_at.to_human(), run.ended_at.to_human())));
    add("Target", Some(run.target.name.clone()));
    add("Service", Some(format!("{} ({}), started as {}", run.service.name, run.service.kind, run.service.started_as)));
    add("Version", run.service.version.clone());
    add(
        "Image",
        run.service.image.as_ref().map(|image| match &image.digest {
            Some(digest) => format!("{} ({digest})", image.reference),
            None => image.reference.clone(),
        }),
    );
    add("Load", Some(format!("{} ({})", run.client.name, run.client.kind)));
    for node in &run.nodes {
        let facts = [node.cpu_model.clone(), node.cpus.map(|cpus| format!("{cpus} CPUs")), node.kernel.clone()];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        add("Node", Some(format!("{} ({}): {}", node.hostname, node.roles.join(", "), facts.join(", "))));
    }
    add("Recipe", Some(format!("{}, sha256 {}", run.recipe.file, run.recipe_hash)));
    add("Digest of the benchmark", Some(benchmark.digest.clone()));
    add("Tool", Some(format!("{} {}", run.tool.name, run.tool.version)));
    out.table(&[("", false), ("", false)], &rows);
    out.block("The same recipe with the same requests again:");
    out.block(&format!("    runner rerun {}", benchmark.id));
    out.block(&format!(
        "Definitions: docs/metrics.md; limits and intervals: docs/slo.md. Made by {}; the same archive gives the same report.",
        super::tool()
    ));
}
