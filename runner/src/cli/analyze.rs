//! `runner analyze KIND FILE`: the statistics of the product on anybody's data.
//!
//! The file holds cases, each with an id and its data; `docs/analyze.md` names the fields. What is computed, and how,
//! is the `analysis` crate's; here is only reading and naming.

mod requests;

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use analysis::{Answer, Quantity, Share, TwoSamples};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub struct Analyze {
    #[arg(value_enum)]
    kind: Kind,
    /// JSON with `{"cases": [{"id": …, …}]}`; `-` reads stdin.
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The knee of a sweep: x, y, kind (latency or throughput).
    Knee,
    /// The Universal Scalability Law: x, y.
    Usl,
    /// Two sets of repeats: base, candidate.
    Compare,
    /// Two success rates: base_ok, base_n, candidate_ok, candidate_n.
    Proportions,
    /// Changes of level in a history: y.
    ChangePoints,
    /// Figures of a request set: file.
    Aggregate,
}

impl Analyze {
    pub fn execute(self) -> Result<ExitCode> {
        let document = self.read()?;
        let cases = document.get("cases").and_then(Value::as_array);
        let Some(cases) = cases else { bail!("{}: expected {{\"cases\": [{{\"id\": …}}]}}", self.file.display()) };
        let beside = self.file.parent().unwrap_or(Path::new(""));
        let call = Cases { kind: self.kind, beside, document: &document };
        let mut failed = false;
        let answers: Vec<Value> = cases
            .iter()
            .map(|case| {
                let id = case.get("id").cloned().unwrap_or(Value::Null);
                match call.answer(case) {
                    Ok(answer) => json!({"id": id, "answer": answer}),
                    Err(err) => {
                        failed = true;
                        json!({"id": id, "error": format!("{err:#}")})
                    }
                }
            })
            .collect();
        super::print(&format!("{:#}\n", json!({"cases": answers})))?;
        Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }

    fn read(&self) -> Result<Value> {
        let name = self.file.display();
        let text = match self.file.as_os_str() == "-" {
            true => {
                let mut text = Vec::new();
                std::io::stdin().read_to_end(&mut text).map(|_| text).context("cannot read stdin")?
            }
            false => std::fs::read(&self.file).with_context(|| format!("cannot read {name}"))?,
        };
        serde_json::from_slice(&text).with_context(|| format!("{name} is no JSON"))
    }
}

/// What all cases of a call have in common.
struct Cases<'a> {
    kind: Kind,
    /// The folder that names of files are relative to.
    beside: &'a Path,
    document: &'a Value,
}

impl Cases<'_> {
    fn answer(&self, case: &Value) -> Result<Value> {
        match self.kind {
            Kind::Knee => knee(case),
            Kind::Usl => usl(case),
            Kind::Compare => compare(case),
            Kind::Proportions => proportions(case),
            Kind::ChangePoints => change_points(case),
            Kind::Aggregate => self.aggregate(case),
        }
    }

    fn aggregate(&self, case: &Value) -> Result<Value> {
        let file: PathBuf = field(case, "file")?;
        let edges: Vec<f64> = match self.document.get("le_edges_ms") {
            Some(_) => field(self.document, "le_edges_ms")?,
            None => analysis::LE_EDGES_MS.to_vec(),
        };
        let figures = requests::aggregate(&self.beside.join(file))?.finish(&edges);
        let mut answer = object(&figures)?;
        answer.insert("le_edges_ms".to_owned(), json!(edges));
        Ok(Value::Object(answer))
    }
}

fn knee(case: &Value) -> Result<Value> {
    let quantity = match field::<String>(case, "kind")?.as_str() {
        "latency" => Quantity::Latency,
        "throughput" => Quantity::Throughput,
        other => bail!("kind is `{other}`: expected latency or throughput"),
    };
    let found = analysis::knee(&points(case)?, quantity);
    let (verdict, interval) = match found.answer {
        Answer::At { low, high, .. } => ("at", Some([low, high])),
        Answer::NotInRange => ("not_in_range", None),
        Answer::CannotTell => ("cannot_tell", None),
    };
    Ok(json!({
        "knee": found.answer.load(),
        "interval": interval,
        "verdict": verdict,
        "reason": found.reason,
        "method": analysis::KNEE_METHOD,
    }))
}

fn usl(case: &Value) -> Result<Value> {
    let fitted = analysis::usl(&points(case)?)?;
    let mut answer = object(&fitted.free)?;
    answer.extend([
        ("fit".to_owned(), json!("free")),
        ("support".to_owned(), json!(fitted.support)),
        ("reason".to_owned(), json!(fitted.reason)),
        ("fit_free".to_owned(), json!(fitted.free)),
        ("fit_bounded".to_owned(), json!(fitted.bounded)),
        ("method".to_owned(), json!(analysis::USL_METHOD)),
    ]);
    Ok(Value::Object(answer))
}

fn compare(case: &Value) -> Result<Value> {
    let samples = TwoSamples::new(&numbers(case, "base")?, &numbers(case, "candidate")?)?;
    let mut answer = object(&samples.compare())?;
    answer.insert("method".to_owned(), json!(analysis::TWO_SAMPLE_METHOD));
    Ok(Value::Object(answer))
}

fn proportions(case: &Value) -> Result<Value> {
    let base = Share { ok: field(case, "base_ok")?, n: field(case, "base_n")? };
    let candidate = Share { ok: field(case, "candidate_ok")?, n: field(case, "candidate_n")? };
    Ok(Value::Object(object(&analysis::proportions(base, candidate)?)?))
}

fn change_points(case: &Value) -> Result<Value> {
    let changes = analysis::change_points(&numbers(case, "y")?).context("y has a value that is no number")?;
    let index: Vec<usize> = changes.iter().map(|change| change.index).collect();
    Ok(json!({
        "index": index,
        "changes": changes,
        "alpha": analysis::CHANGE_POINT_ALPHA,
        "method": analysis::CHANGE_POINT_METHOD,
    }))
}

fn points(case: &Value) -> Result<Vec<(f64, f64)>> {
    let (x, y) = (numbers(case, "x")?, numbers(case, "y")?);
    if x.len() != y.len() {
        bail!("x has {} values and y has {}", x.len(), y.len());
    }
    Ok(x.into_iter().zip(y).collect())
}

fn numbers(case: &Value, name: &str) -> Result<Vec<f64>> {
    field(case, name).with_context(|| format!("{name} must be a list of numbers"))
}

fn field<T: DeserializeOwned>(case: &Value, name: &str) -> Result<T> {
    let value = case.get(name).with_context(|| format!("the field `{name}` is missing"))?;
    T::deserialize(value).with_context(|| format!("the field `{name}` is not as expected"))
}

fn object(value: &impl serde::Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(value)? {
        Value::Object(fields) => Ok(fields),
        other => bail!("{other} has no fields"),
    }
}
