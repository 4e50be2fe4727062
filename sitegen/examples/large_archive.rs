//! Writes a large archive, to measure how long a site takes:
//! `cargo run --release -p sitegen --example large_archive -- DIR SHAPE BENCHMARKS [FIRST]`.
//!
//! Two shapes. `history`: one campaign of 16 configurations, run again and again. `campaigns`: campaigns of 25
//! configurations, each run four times. FIRST is the number of the first benchmark, to add to an archive: benchmark n of
//! a shape is always the same.

#[path = "../tests/synthetic/archive.rs"]
mod synthetic;

use archive::{BenchmarkId, Run};

/// Benchmarks of a day, at most: ids have the day.
const A_DAY: u32 = 900;

/// Where a benchmark stands.
struct Place {
    campaign: u32,
    execution: u32,
    configuration: u32,
    configurations: u32,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).and_then(|text| text.parse::<u32>().ok());
    let shape = arguments.get(1).map(String::as_str).unwrap_or_default();
    let (Some(folder), Some(count), "history" | "campaigns") = (arguments.first(), number(2), shape) else {
        eprintln!("error: usage: large_archive DIR history|campaigns BENCHMARKS [FIRST]");
        return;
    };
    let results = std::path::Path::new(folder);
    let first = number(3).unwrap_or(0);
    let template = synthetic::Made {
        slots: 8.0,
        // Few requests: the site is measured, not the records. Tokens give about a hundred figures.
        service_s: 0.4,
        tokens: true,
        repetition: 1,
        ..synthetic::history().remove(0)
    };
    for n in first..first + count {
        let place = match shape {
            "history" => Place { campaign: 0, execution: n / 16, configuration: n % 16, configurations: 16 },
            _ => Place { campaign: n / 100, execution: n / 25 % 4, configuration: n % 25, configurations: 25 },
        };
        let made = synthetic::Made {
            id: id(n),
            point: place.configuration as usize,
            points: place.configurations as usize,
            other: Some(("client.settings.size", place.configuration.into())),
            ..template.clone()
        };
        synthetic::write_benchmark(results, &made, |run, _| {
            run.campaign.name = format!("campaign-{:04}", place.campaign);
            run.campaign.execution = format!("{:04}-{:04}", place.campaign, place.execution);
            run.campaign.repetitions = 1;
            later(run, f64::from(n) * 20.0);
        });
    }
}

fn id(n: u32) -> BenchmarkId {
    // Months of 28 days, so that every date exists.
    let (year, day) = (2026 + n / A_DAY / 336, n / A_DAY % 336);
    BenchmarkId::new(year * 10_000 + (1 + day / 28) * 100 + 1 + day % 28, n % A_DAY + 1)
}

/// Moves the benchmark to a time that follows from its number alone.
fn later(run: &mut Run, seconds: f64) {
    let begin: archive::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let by = begin.plus_seconds(seconds).seconds_since(run.created_at);
    run.created_at = run.created_at.plus_seconds(by);
    run.started_at = run.started_at.map(|time| time.plus_seconds(by));
    run.ended_at = run.ended_at.plus_seconds(by);
    run.events.iter_mut().for_each(|event| event.time = event.time.plus_seconds(by));
}
