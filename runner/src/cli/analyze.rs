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
        let strict = serde_json::from_slice(&text);
        // Several writers of JSON have words for what is no number, which JSON has not.
        let read = strict.or_else(|err| serde_json::from_slice(&without_words(&text)).map_err(|_| err));
        read.with_context(|| format!("{name} is no JSON"))
    }
}

/// `NaN`, `Infinity` and `-Infinity` outside of strings as `null`.
fn without_words(text: &[u8]) -> Vec<u8> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut out = Vec::with_capacity(text.len());
    let (mut place, mut in_string) = (0, false);
    while let Some(byte) = text.get(place) {
        let word = WORDS.into_iter().find(|word| !in_string && text[place..].starts_with(word));
        match (word, byte) {
            (Some(word), _) => {
                out.extend_from_slice(b"null");
                place += word.len();
                continue;
            }
            (None, b'\\') if in_string => {
                out.extend(text[place..].iter().take(2));
                place += 2;
                continue;
            }
            (None, b'"') => in_string = !in_string,
            _ => {}
        }
        out.push(*byte);
        place += 1;
    }
    out
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
    let (points, left_out) = points(case)?;
    let found = analysis::knee(&points, quantity);
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
        "left_out": left_out,
        "method": analysis::KNEE_METHOD,
    }))
}

fn usl(case: &Value) -> Result<Value> {
    let (points, left_out) = points(case)?;
    let fitted = analysis::usl(&points)?;
    let mut answer = object(&fitted.free)?;
    answer.extend([
        ("fit".to_owned(), json!("free")),
        ("support".to_owned(), json!(fitted.support)),
        ("reason".to_owned(), json!(fitted.reason)),
        ("fit_free".to_owned(), json!(fitted.free)),
        ("fit_bounded".to_owned(), json!(fitted.bounded)),
        ("left_out".to_owned(), json!(left_out)),
        ("method".to_owned(), json!(analysis::USL_METHOD)),
    ]);
    Ok(Value::Object(answer))
}

fn compare(case: &Value) -> Result<Value> {
    let [base, candidate] = ["base", "candidate"].map(|name| numbers(case, name));
    let (base, candidate) = (base?, candidate?);
    let known = |values: &[Option<f64>]| values.iter().copied().flatten().collect::<Vec<_>>();
    let left_out = base.iter().chain(&candidate).filter(|value| value.is_none()).count();
    let samples = TwoSamples::new(&known(&base), &known(&candidate))?;
    let mut answer = object(&samples.compare())?;
    answer.insert("left_out".to_owned(), json!(left_out));
    answer.insert("method".to_owned(), json!(analysis::TWO_SAMPLE_METHOD));
    Ok(Value::Object(answer))
}

fn proportions(case: &Value) -> Result<Value> {
    let base = Share { ok: field(case, "base_ok")?, n: field(case, "base_n")? };
    let candidate = Share { ok: field(case, "candidate_ok")?, n: field(case, "candidate_n")? };
    Ok(Value::Object(object(&analysis::proportions(base, candidate)?)?))
}

fn change_points(case: &Value) -> Result<Value> {
    let values = numbers(case, "y")?;
    let (places, known): (Vec<usize>, Vec<f64>) =
        values.iter().enumerate().filter_map(|(place, value)| Some((place, (*value)?))).unzip();
    let mut changes = analysis::change_points(&known).context("y has a value that is no number")?;
    // Places are those of all values, also where some are missing.
    changes.iter_mut().for_each(|change| change.index = places[change.index]);
    let index: Vec<usize> = changes.iter().map(|change| change.index).collect();
    Ok(json!({
        "index": index,
        "changes": changes,
        "alpha": analysis::CHANGE_POINT_ALPHA,
        "left_out": values.len() - known.len(),
        "method": analysis::CHANGE_POINT_METHOD,
    }))
}

/// Points of which both values are known, and the number of the others.
fn points(case: &Value) -> Result<(Vec<(f64, f64)>, usize)> {
    let (x, y) = (numbers(case, "x")?, numbers(case, "y")?);
    if x.len() != y.len() {
        bail!("x has {} values and y has {}", x.len(), y.len());
    }
    let known: Vec<(f64, f64)> = x.iter().zip(&y).filter_map(|(x, y)| Some(((*x)?, (*y)?))).collect();
    let left_out = x.len() - known.len();
    Ok((known, left_out))
}

/// Numbers; `null` is a value that is missing.
fn numbers(case: &Value, name: &str) -> Result<Vec<Option<f64>>> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(kind: Kind, case: &Value) -> Result<Value> {
        let document = Value::Null;
        Cases { kind, beside: Path::new(""), document: &document }.answer(case)
    }

    #[test]
    fn missing_values_are_left_out_and_places_stay() {
        let history: Vec<Value> = (0..30)
            .map(|place| match place {
                4 | 12 => Value::Null,
                place => json!(if place < 16 { 100 } else { 120 } + place * 7 % 3),
            })
            .collect();
        let found = answer(Kind::ChangePoints, &json!({ "y": history })).expect("answered");
        assert_eq!((&found["index"], &found["left_out"]), (&json!([16]), &json!(2)));
        let sweep = json!({"kind": "throughput", "x": [1, 2, 4, 8, 16, 32, 64, 128],
            "y": [10, 20, 40, 80, 120, null, 120, 120]});
        let found = answer(Kind::Knee, &sweep).expect("answered");
        assert!(found["knee"].as_f64().is_some_and(|knee| (knee - 12.0).abs() < 0.5), "{found}");
        assert_eq!(found["left_out"], 1);
        let found = answer(Kind::Compare, &json!({"base": [1, null, 3], "candidate": [4]})).expect("answered");
        assert_eq!((&found["left_out"], &found["hodges_lehmann"]["shift"]), (&json!(1), &json!(2.0)));
        assert!(answer(Kind::Compare, &json!({"base": [null], "candidate": [4]})).is_err());
    }

    #[test]
    fn words_for_no_number_are_missing_values_and_strings_stay() {
        let text = br#"{"id": "NaN \" -Infinity", "y": [NaN, -Infinity, Infinity, 1]}"#;
        let read: Value = serde_json::from_slice(&without_words(text)).expect("JSON");
        assert_eq!(read, json!({"id": "NaN \" -Infinity", "y": [null, null, null, 1]}));
    }

    /// Values of every size, ties, zeros and gaps.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            4 => (-3..40_i32).prop_map(|value| json!(value)),
            3 => (1e-3..1e3_f64).prop_map(|value| json!(value)),
            1 => prop_oneof![Just(0.0), Just(5e-324), Just(1e-300), Just(1e300), Just(-1e300), Just(f64::MAX)]
                .prop_map(|value| json!(value)),
            1 => Just(Value::Null),
        ]
    }

    fn values() -> impl Strategy<Value = Vec<Value>> {
        proptest::collection::vec(value(), 0..24)
    }

    /// Every number of an answer is one: what is not defined is null, and never silently so for a whole answer.
    fn sound(kind: Kind, case: &Value) -> Result<(), TestCaseError> {
        match answer(kind, case) {
            Ok(answer) => {
                prop_assert!(answer.as_object().is_some_and(|fields| !fields.is_empty()), "{case}");
                let interval = answer["interval"].as_array().cloned().unwrap_or_default();
                let ends: Vec<f64> = interval.iter().filter_map(Value::as_f64).collect();
                if let (Some(knee), [low, high]) = (answer["knee"].as_f64(), &ends[..]) {
                    prop_assert!(*low <= knee && knee <= *high, "{case}: {answer}");
                }
            }
            Err(err) => {
                let said = format!("{err:#}");
                prop_assert!(!said.is_empty());
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn any_data_are_answered_or_refused(x in values(), y in values(), latency in any::<bool>(), n in any::<[u32; 4]>()) {
            let shorter = x.len().min(y.len());
            let kind = if latency { "latency" } else { "throughput" };
            sound(Kind::Knee, &json!({"x": x[..shorter], "y": y[..shorter], "kind": kind}))?;
            sound(Kind::Usl, &json!({"x": x[..shorter], "y": y[..shorter]}))?;
            sound(Kind::Compare, &json!({"base": x, "candidate": y}))?;
            sound(Kind::ChangePoints, &json!({"y": y}))?;
            sound(
                Kind::Proportions,
                &json!({"base_ok": n[0] % 500, "base_n": n[1] % 500, "candidate_ok": n[2] % 500, "candidate_n": n[3] % 500}),
            )?;
        }
    }
}
