//! How often the comparison errs and how much it sees, in full: `cargo run --release -p analysis --example
//! regression_power [CAMPAIGNS [DIR]]` prints the tables of `docs/methodology.md` as they stand there, and draws the
//! curves into DIR (`docs` unless given). CAMPAIGNS a cell are 2,000 unless given.

#[path = "../tests/regression/count.rs"]
mod count;
#[path = "regression_power/curves.rs"]
mod curves;
#[path = "../tests/regression/world.rs"]
mod world;

use std::path::PathBuf;

use count::{percent, tally};
use curves::{Curve, Panel};
use world::{Shape, World};

const SHAPES: [(&str, Shape); 3] =
    [("normal", Shape::Normal), ("skewed", Shape::Skewed), ("heavy tails", Shape::HeavyTails)];

/// Noise of every point, or between which it is drawn for each.
const NOISES: [(&str, [f64; 2]); 5] = [
    ("1 %", [0.01, 0.01]),
    ("2 %", [0.02, 0.02]),
    ("5 %", [0.05, 0.05]),
    ("10 %", [0.1, 0.1]),
    ("1–10 %", [0.01, 0.1]),
];

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let campaigns: u64 = args.next().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "docs".to_owned()));

    println!("#### Nothing changed: campaigns with a wrong verdict, in percent / intervals that hold the truth\n");
    println!("| points | earlier executions | noise is | {} |", NOISES.map(|(name, _)| name).join(" | "));
    println!("|---|---|---|{}", "---|".repeat(NOISES.len()));
    for (points, history) in [(1, 0), (3, 0), (5, 0), (10, 0), (1, 3), (5, 3)] {
        for (shape_name, shape) in SHAPES {
            let cells = NOISES.map(|(_, noise)| {
                let counted = tally(World { points, history, shape, noise, ..World::default() }, campaigns, 1);
                format!(
                    "{:.2} / {:.1}",
                    percent(counted.changed, counted.campaigns),
                    percent(counted.covered, counted.intervals)
                )
            });
            println!("| {points} | {history} | {shape_name} | {} |", cells.join(" | "));
        }
    }

    println!("\n#### Nothing changed, 10 % noise of p99: campaigns with a wrong verdict, in percent\n");
    println!("| noise of throughput over that of p99 | correlation | 1 point | 3 points |\n|---|---|---|---|");
    for unequal in [0.2, 0.5, 1.0, 2.0, 5.0] {
        for together in [0.0, 0.5, 0.9] {
            let cells = [1, 3].map(|points| {
                let world = World { points, noise: [0.1; 2], unequal, together, ..World::default() };
                let counted = tally(world, campaigns, 5);
                format!("{:.2}", percent(counted.changed, counted.campaigns))
            });
            println!("| {unequal} | {together} | {} |", cells.join(" | "));
        }
    }

    println!(
        "\n#### Nothing changed, in harder worlds: wrong verdict / beyond a threshold of 10 %, percent of campaigns\n"
    );
    println!("| world | by evidence | by threshold |\n|---|---|---|");
    let fewer = campaigns.div_ceil(4);
    let requests = World { requests: 500, correlation: 0.8, ..World::default() };
    let failing = World { failing: 0.02, bursts: 0.7, ..World::default() };
    let drifting = World { drift: 0.02, ..World::default() };
    for (name, world, campaigns) in [
        ("2 % noise", World::default(), campaigns),
        ("5 % noise", World { noise: [0.05; 2], ..World::default() }, campaigns),
        ("10 % noise", World { noise: [0.1; 2], ..World::default() }, campaigns),
        ("500 requests a repetition, neighbours correlated by 0.8", requests, fewer),
        ("2 % of the requests fail, in bursts", failing, fewer),
        ("executions drift by 2 %, no history", drifting, campaigns),
        ("executions drift by 2 %, 3 earlier ones", World { history: 3, ..drifting }, campaigns),
        ("executions drift by 2 %, 10 earlier ones", World { history: 10, ..drifting }, campaigns),
    ] {
        let counted = tally(world, campaigns, 2);
        println!(
            "| {name} | {:.2} | {:.1} |",
            percent(counted.changed, counted.campaigns),
            percent(counted.beyond_threshold, counted.campaigns)
        );
    }

    println!("\n#### 10 % slower at 2 % noise: campaigns that fail / figures called regressed, in percent\n");
    println!(
        "| points | earlier executions | repetitions | normal | skewed | heavy tails |\n|---|---|---|---|---|---|"
    );
    for (points, history, repetitions) in
        [(1, 0, 3), (1, 0, 4), (1, 0, 5), (1, 3, 3), (3, 0, 3), (5, 0, 3), (10, 0, 3), (5, 3, 3)]
    {
        let cells = SHAPES.map(|(_, shape)| {
            let world = World { points, history, repetitions, shape, factor: 1.1, ..World::default() };
            let counted = tally(world, campaigns, 3);
            format!(
                "{:.1} / {:.1}",
                percent(counted.regressed, counted.campaigns),
                percent(counted.regressions, counted.verdicts)
            )
        });
        println!("| {points} | {history} | {repetitions} | {} |", cells.join(" | "));
    }
    draw(campaigns, &folder)
}

/// Share of figures called regressed, for a slowdown of all five points of a campaign.
fn draw(campaigns: u64, folder: &std::path::Path) -> std::io::Result<()> {
    let few = campaigns.div_ceil(10);
    let power = |slower: f64, noise: f64, repetitions: usize| {
        let world = World { noise: [noise; 2], repetitions, factor: 1.0 + slower / 100.0, ..World::default() };
        let counted = tally(world, few, 4);
        percent(counted.regressions, counted.verdicts)
    };
    let slower: Vec<f64> = (0..=30).map(f64::from).collect();
    let curve = |name: String, noise: f64, repetitions: usize| Curve {
        name,
        points: slower.iter().map(|slower| (*slower, power(*slower, noise, repetitions))).collect(),
    };
    let by_noise = [0.01, 0.02, 0.05, 0.1].map(|noise| curve(format!("{:.0} %", noise * 100.0), noise, 3));
    let by_repetitions =
        [2, 3, 5, 10].map(|repetitions| curve(format!("{repetitions} + {repetitions}"), 0.05, repetitions));
    let panels = [
        Panel { title: "3 + 3 repetitions, by noise".to_owned(), curves: by_noise.to_vec() },
        Panel { title: "5 % noise, by repetitions".to_owned(), curves: by_repetitions.to_vec() },
    ];
    std::fs::write(folder.join("regression-power.svg"), curves::svg(&panels))
}
