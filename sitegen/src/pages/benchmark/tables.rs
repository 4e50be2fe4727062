//! The tables of a benchmark's figures: durations, operations, clients, limits, errors, gates.

use archive::{Distribution, Summary};

use crate::{
    load::Own,
    model::metric::{limit_in_words, value_in_words},
    pages::table::{Cell, Column, Table},
    units::{self, TimeUnit},
};

/// Every sample with its figures; percentiles without ten values beyond them are marked.
pub fn percentiles(summary: &Summary) -> Option<Table> {
    let samples: [(&str, Option<&Distribution>); 8] = [
        ("latency", Some(&summary.latency_s)),
        ("service time", summary.service_time_s.as_ref()),
        ("send lag", summary.send_lag_s.as_ref()),
        ("first byte", summary.ttfb_s.as_ref()),
        ("TTFT", summary.ttft_s.as_ref()),
        ("TTFT, first chunk of any kind", summary.ttft_first_chunk_s.as_ref()),
        ("TPOT", summary.tpot_s.as_ref()),
        ("ITL", summary.itl_s.as_ref()),
    ];
    let server: Vec<_> = summary.server_s.iter().map(|(name, figures)| (format!("server: {name}"), figures)).collect();
    let samples: Vec<_> = samples
        .into_iter()
        .filter_map(|(name, sample)| Some((name, &sample?.figures)))
        .chain(summary.steps_s.iter().map(|(name, figures)| (name.as_str(), figures)))
        .chain(server.iter().map(|(name, figures)| (name.as_str(), *figures)))
        .filter(|(_, figures)| figures.count > 0)
        .collect();
    let largest = samples.iter().filter_map(|(_, figures)| figures.p99).fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let mut columns = vec![Column::text("quantity")];
    let names = ["min", "mean", "std", "p50", "p90", "p95", "p99", "p99.9", "max"];
    columns.extend(names.map(|name| Column::number(name, unit.name)));
    columns.push(Column::number("count", ""));
    let rows: Vec<Vec<Cell>> = samples
        .iter()
        .map(|(name, f)| {
            let values = [f.min, f.avg, f.std, f.p50, f.p90, f.p95, f.p99, f.p999, f.max];
            let cells = names.iter().zip(values).map(|(name, value)| {
                let cell = match value {
                    Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
                    None => Cell::none(),
                };
                let supported = !f.unsupported.iter().any(|unsupported| unsupported == name);
                if supported { cell } else { cell.with_class("unsupported") }
            });
            std::iter::once(Cell::text(name)).chain(cells).chain([Cell::count(f.count)]).collect()
        })
        .collect();
    (!rows.is_empty()).then(|| Table::new(columns, rows))
}

pub fn unsupported(summary: &Summary) -> Option<String> {
    let first = summary.latency_s.figures.unsupported.first()?;
    Some(format!(
        "Grey: fewer than ten values lie beyond the percentile ({first} and further for latency), so it is not to be relied upon."
    ))
}

pub fn operations(summary: &Summary) -> Option<Table> {
    if summary.operations.is_empty() {
        return None;
    }
    let unit = TimeUnit::for_largest(summary.latency_s.figures.p99.unwrap_or(0.0));
    let mut columns = vec![
        Column::text("operation"),
        Column::number("requests", ""),
        Column::number("failed", ""),
        Column::number("driven", "s"),
        Column::number("throughput", "/s"),
    ];
    let of = |figure: fn(&archive::OperationSummary) -> Option<f64>| {
        summary.operations.values().any(|operation| figure(operation).is_some()).then_some(figure)
    };
    let amounts = [
        (of(|operation| operation.bytes_sent_per_second), "sent", "bytes/s"),
        (of(|operation| operation.bytes_received_per_second), "received", "bytes/s"),
        (of(|operation| operation.vectors_per_second), "vectors", "/s"),
    ];
    let amounts: Vec<_> = amounts.into_iter().filter_map(|(figure, name, unit)| Some((figure?, name, unit))).collect();
    columns.extend(amounts.iter().map(|(_, name, unit)| Column::number(name, unit)));
    columns.extend(["p50", "p95", "p99", "max"].map(|name| Column::number(name, unit.name)));
    let time = |value: Option<f64>| match value {
        Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
        None => Cell::none(),
    };
    let rows = summary.operations.iter().map(|(name, operation)| {
        let latency = &operation.latency_s;
        let mut row = vec![
            Cell::text(name),
            Cell::count(operation.count),
            Cell::count(operation.failed),
            Cell::optional(operation.driven_s),
            Cell::optional(operation.throughput),
        ];
        row.extend(amounts.iter().map(|(figure, ..)| Cell::optional(figure(operation))));
        row.extend([latency.p50, latency.p95, latency.p99, latency.max].map(time));
        row
    });
    Some(Table::new(columns, rows.collect()))
}

/// Clients in the table, at most.
const MOST_CLIENTS: usize = 64;

/// How clients differ: those with the longest tails first. `None` with one client, or without records.
pub fn clients(own: &Own) -> Option<Table> {
    let clients = &own.records.as_ref()?.clients;
    if clients.len() < 2 {
        return None;
    }
    let mut clients: Vec<_> = clients.iter().collect();
    clients.sort_by(|a, b| b.1.p99_s.unwrap_or(0.0).total_cmp(&a.1.p99_s.unwrap_or(0.0)).then(a.0.cmp(b.0)));
    let left_out = clients.len().saturating_sub(MOST_CLIENTS);
    let largest = clients.iter().filter_map(|(_, figures)| figures.p99_s).fold(0.0, f64::max);
    let unit = TimeUnit::for_largest(largest);
    let time = |value: Option<f64>| match value {
        Some(value) => Cell::sorted(&units::number(unit.of(value)), value),
        None => Cell::none(),
    };
    let columns = vec![
        Column::number("client", ""),
        Column::number("requests", ""),
        Column::number("failed", ""),
        Column::number("p50", unit.name),
        Column::number("p99", unit.name),
    ];
    let few = clients.iter().any(|(_, figures)| figures.requests < 1000);
    let rows = clients.iter().take(MOST_CLIENTS).map(|(number, figures)| {
        let p99 = time(figures.p99_s);
        vec![
            Cell::count(u64::from(**number)),
            Cell::count(figures.requests),
            Cell::count(figures.failed),
            time(figures.p50_s),
            // Ten requests must lie beyond it.
            if figures.requests - figures.failed < 1000 { p99.with_class("unsupported") } else { p99 },
        ]
    });
    let mut note = Vec::new();
    if few {
        note.push("Grey: fewer than ten requests of the client lie beyond its p99.".to_owned());
    }
    if left_out > 0 {
        note.push(format!("{} more clients have shorter tails.", units::count(left_out as u64)));
    }
    let table = Table::new(columns, rows.collect());
    Some(table.with_note((!note.is_empty()).then(|| note.join(" "))))
}

pub fn slo(summary: &Summary) -> Option<Table> {
    if summary.slo.is_empty() {
        return None;
    }
    let columns = vec![Column::text("limit"), Column::text("measured"), Column::text("kept")];
    let rows = summary.slo.iter().map(|outcome| {
        let measured = match outcome.value {
            Some(value) => value_in_words(&outcome.metric, value),
            None => "not measured".to_owned(),
        };
        let kept = match outcome.met {
            Some(true) => Cell::text("✓ kept").with_class("good"),
            Some(false) => Cell::text("✗ broken").with_class("bad"),
            None => Cell::text("cannot be told").with_class("muted"),
        };
        vec![Cell::text(&limit_in_words(&outcome.metric, outcome.limit)), Cell::text(&measured), kept]
    });
    Some(Table::new(columns, rows.collect()))
}

pub fn errors(summary: &Summary) -> Option<Table> {
    if summary.error_summary.is_empty() {
        return None;
    }
    let mut errors: Vec<_> = summary.error_summary.iter().collect();
    errors.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let left_out = errors.len().saturating_sub(100);
    let rows = errors.iter().take(100).map(|(text, count)| vec![Cell::text(text), Cell::count(**count)]).collect();
    let table = Table::new(vec![Column::text("error"), Column::number("requests", "")], rows);
    Some(table.with_note((left_out > 0).then(|| format!("{left_out} rarer errors are in summary.json."))))
}

/// Every validity gate, passed or not.
pub fn gates(summary: &Summary) -> Option<Table> {
    let columns = ["gate", "outcome", "detail"].map(Column::text);
    let rows = summary.gates.iter().map(|gate| {
        let outcome = match gate.outcome {
            archive::GateOutcome::Passed => Cell::text("✓ passed").with_class("good"),
            archive::GateOutcome::Failed => Cell::text("✗ failed").with_class("bad"),
            archive::GateOutcome::NotApplicable => Cell::text("does not apply").with_class("muted"),
        };
        vec![Cell::text(&gate.code), outcome, Cell::text(&gate.detail)]
    });
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty()).then(|| Table::new(columns.into(), rows))
}
