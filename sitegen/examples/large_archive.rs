//! Writes an archive of many small campaigns, to measure how long a site takes:
//! `cargo run --release -p sitegen --example large_archive -- DIR CAMPAIGNS SERIES [FIRST]`.
//!
//! Each campaign has one benchmark for each of its series. FIRST is the number of the first campaign, to add to an
//! archive.

#[path = "../tests/synthetic/archive.rs"]
mod synthetic;

use archive::BenchmarkId;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).and_then(|text| text.parse::<u32>().ok());
    let (Some(folder), Some(campaigns), Some(series)) = (arguments.first(), number(1), number(2)) else {
        eprintln!("error: usage: large_archive DIR CAMPAIGNS SERIES [FIRST]");
        return;
    };
    let results = std::path::Path::new(folder);
    let first = number(3).unwrap_or(0);
    let template = synthetic::Made {
        slots: 8.0,
        // Few requests: the site is measured, not the records.
        service_s: 0.4,
        points: series as usize,
        ..synthetic::history().remove(0)
    };
    for campaign in first..first + campaigns {
        for one in 0..series {
            let made = synthetic::Made {
                id: BenchmarkId::new(20_260_400 + campaign / 1000, (campaign % 1000) * series + one + 1),
                point: one as usize,
                repetition: 1,
                other: Some(("client.settings.size", one.into())),
                ..template.clone()
            };
            synthetic::write_benchmark(results, &made, |run, _| {
                // A campaign of four executions each, so that there is something to compare.
                run.campaign.name = format!("campaign-{:04}", campaign / 4);
                run.campaign.execution = format!("2026-04-01T{campaign:04}");
                run.campaign.repetitions = 1;
            });
        }
    }
}
