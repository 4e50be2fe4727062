//! `runner diff A B`: what two benchmarks, or two executions, differ in: recipe and environment. No figures: those are
//! `runner compare`'s.

use std::{fmt::Write, process::ExitCode};

use analysis::compare::facts::{FactDifference, FactDifferences};
use anyhow::{Result, bail};
use archive::{Archive, Run};
use clap::Args;

use super::{Global, compare::sides::Runs};

/// Show what two benchmarks differ in: recipe and environment.
#[derive(Debug, Args)]
pub struct Diff {
    /// An id, ids with commas, a campaign (`NAME`: its newest execution, `NAME~1`: the one before), or an execution.
    #[arg(allow_hyphen_values = true)]
    a: String,
    #[arg(allow_hyphen_values = true)]
    b: String,
}

impl Diff {
    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        let runs = Runs::read(&archive)?;
        let sides = [runs.side(&self.a, true)?, runs.side(&self.b, true)?];
        let of =
            |side: usize| -> Vec<&Run> { sides[side].points.iter().flat_map(|point| &point.runs).copied().collect() };
        let (a, b) = (of(0), of(1));
        if a.is_empty() || b.is_empty() {
            bail!("a side holds no benchmark");
        }
        let differences = FactDifferences::between(&a, &b);
        let hashes = |side: &[&Run]| -> std::collections::BTreeSet<String> {
            side.iter().map(|run| run.recipe_hash.clone()).collect()
        };
        let digests = (hashes(&a), hashes(&b));
        if global.json {
            let value = serde_json::json!({
                "schema": archive::SCHEMA,
                "a": a.iter().map(|run| run.benchmark_id).collect::<Vec<_>>(),
                "b": b.iter().map(|run| run.benchmark_id).collect::<Vec<_>>(),
                "recipe_digest_equal": digests.0 == digests.1,
                "recipe": differences.recipe,
                "environment": differences.environment,
            });
            super::print(&format!("{value:#}\n"))?;
        } else {
            let mut out = String::new();
            // Writing to a String cannot fail.
            _ = writeln!(out, "a  {}\nb  {}", sides[0].label, sides[1].label);
            let equal = if digests.0 == digests.1 { "equal" } else { "different" };
            _ = writeln!(out, "recipe digest  {equal}\n");
            section(&mut out, "recipe", &differences.recipe);
            section(&mut out, "environment", &differences.environment);
            super::show(&out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A heading, and a line for each difference.
pub fn section(out: &mut String, name: &str, differences: &[FactDifference]) {
    if differences.is_empty() {
        _ = writeln!(out, "{name}: no difference known");
        return;
    }
    _ = writeln!(out, "{name}:");
    for FactDifference { what, a, b } in differences {
        _ = writeln!(out, "  {what}: {} → {}", shortened(a), shortened(b));
    }
}

/// Digests and texts as far as they tell something.
fn shortened(text: &str) -> String {
    let is_digest = |word: &str| word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words =
        text.split(", ").map(|word| if is_digest(word) { format!("{}…", &word[..12]) } else { word.to_owned() });
    let text = words.collect::<Vec<_>>().join(", ").replace('\n', "⏎");
    match text.char_indices().nth(120) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
