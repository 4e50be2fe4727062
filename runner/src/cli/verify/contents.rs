//! What the files of a benchmark say, and whether its figures are what its records come to.

use archive::{Archive, BenchmarkId, Damage, DamageKind, RequestReader, Run};

use crate::plan;

/// Reads everything that the format defines, and computes the summary anew.
pub fn of_contents(archive: &Archive, id: BenchmarkId) -> Vec<Damage> {
    let mut damages = Vec::new();
    let mut damage = |file: &str, kind, detail: String| {
        damages.push(Damage { benchmark_id: id, file: Some(file.to_owned()), kind, detail });
    };
    let benchmark = match archive.open(id) {
        Ok(benchmark) => benchmark,
        Err(err) => {
            damage("manifest.json", DamageKind::Format, format!("{err:#}"));
            return damages;
        }
    };
    let run = benchmark.run().map_err(|err| damage("run.json", DamageKind::Format, format!("{err:#}"))).ok();
    if let Some(run) = run.as_ref() {
        if run.benchmark_id != id {
            damage("run.json", DamageKind::Format, format!("says that it is {}", run.benchmark_id));
        }
        if let Some(why) = of_recipe(run) {
            damage("run.json", DamageKind::Format, why);
        }
    }
    let summary = benchmark.summary().map_err(|err| damage("summary.json", DamageKind::Format, format!("{err:#}")));
    if let Err(err) =
        benchmark.resources().and_then(|samples| samples.into_iter().flatten().try_for_each(|one| one.map(drop)))
    {
        damage("resources.jsonl.zst", DamageKind::Format, format!("{err:#}"));
    }
    for name in benchmark.logs() {
        let read = benchmark.log_lines(name).and_then(|lines| {
            let Some(mut lines) = lines else { return Ok(()) };
            while lines.next_line()?.is_some() {}
            Ok(())
        });
        if let Err(err) = read {
            damage(&format!("logs/{name}"), DamageKind::Format, format!("{err:#}"));
        }
    }
    let requests = benchmark.path_of("requests.jsonl.zst");
    if let (Some(run), Ok(Some(stored)), Some(requests)) = (run, summary, requests) {
        let facts = analysis::Facts::of_archived(&run, &stored);
        match analysis::summarise(&facts, || RequestReader::open(&requests)) {
            Ok(computed) => {
                for difference in analysis::differences(&stored, &computed) {
                    damage("summary.json", DamageKind::Summary, difference);
                }
            }
            Err(err) => damage("requests.jsonl.zst", DamageKind::Format, format!("{err:#}")),
        }
    }
    damages
}

/// The digest of a recipe is that of the recipe beside it. What was imported from another system brought one of its own.
fn of_recipe(run: &Run) -> Option<String> {
    if run.other.get("imported").is_some_and(|imported| imported["from"] == "results folder") {
        return None;
    }
    let found = archive::sha256_hex(plan::canonical(&run.recipe.resolved).as_bytes());
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    (found != run.recipe_hash).then(|| {
        format!("names the recipe digest {}…, its resolved recipe has {}…", short(&run.recipe_hash), short(&found))
    })
}
