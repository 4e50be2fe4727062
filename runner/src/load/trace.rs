//! Recorded arrivals: a file of offsets, with prompt lengths where the requests are prompts.
//!
//! Two forms, told apart by the file's name. CSV: a line of column names, then a line a request. JSONL: an object a
//! request. Both have `offset_s` (seconds from the trace's start, never going back) and may have `input_tokens` and
//! `output_tokens`. Pure text → values; every error names its line.

use std::{path::Path, sync::Arc};

use anyhow::{Result, bail};
use serde::Deserialize;

/// Most requests of one trace: they are held in memory.
const MOST: usize = 20_000_000;
const COLUMNS: [&str; 3] = ["offset_s", "input_tokens", "output_tokens"];

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrived {
    pub offset_s: f64,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
}

/// A recorded sequence of arrivals.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The file as it was read.
    pub text: String,
    pub sha256: String,
    pub arrivals: Vec<Arrived>,
    form: Form,
}

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Csv,
    Jsonl,
}

impl Trace {
    /// Reads and checks a file; the error names the line and what is wrong with it.
    pub fn read(path: &Path) -> Result<Arc<Self>> {
        let Some(form) = form_of(path) else {
            bail!("a trace is a file `.csv` or `.jsonl`, not {}", path.display());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|err| anyhow::anyhow!("cannot read the trace {}: {err}", path.display()))?;
        let arrivals = parse(&text, form).map_err(|err| anyhow::anyhow!("{}: {err}", path.display()))?;
        let sha256 = archive::sha256_hex(text.as_bytes());
        Ok(Arc::new(Self { text, sha256, arrivals, form }))
    }

    /// A trace that was never a file.
    #[cfg(test)]
    pub fn of(arrivals: Vec<Arrived>) -> Arc<Self> {
        let text = format!("{arrivals:?}");
        Arc::new(Self { sha256: archive::sha256_hex(text.as_bytes()), text, arrivals, form: Form::Csv })
    }

    /// The ending that a file of this text has.
    pub fn extension(&self) -> &'static str {
        match self.form {
            Form::Csv => "csv",
            Form::Jsonl => "jsonl",
        }
    }

    /// From the first request to the last.
    pub fn length_s(&self) -> f64 {
        self.arrivals.last().map_or(0.0, |last| last.offset_s)
    }

    /// Mean arrivals per second.
    pub fn rate(&self) -> f64 {
        let gaps = self.arrivals.len().saturating_sub(1) as f64;
        if self.length_s() > 0.0 { gaps / self.length_s() } else { gaps }
    }
}

fn form_of(path: &Path) -> Option<Form> {
    match path.extension()?.to_str()? {
        "csv" => Some(Form::Csv),
        "jsonl" => Some(Form::Jsonl),
        _ => None,
    }
}

/// All arrivals of the text.
fn parse(text: &str, form: Form) -> Result<Vec<Arrived>, String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let columns = match form {
        Form::Jsonl => Vec::new(),
        Form::Csv => header(&mut lines)?,
    };
    let mut arrivals: Vec<Arrived> = Vec::new();
    for (number, line) in lines {
        let arrived = match form {
            Form::Jsonl => object(line),
            Form::Csv => row(line, &columns),
        };
        let arrived = arrived.map_err(|reason| format!("line {number}: {reason}"))?;
        if !arrived.offset_s.is_finite() || arrived.offset_s < 0.0 {
            return Err(format!("line {number}: `offset_s` is {}, not a time from 0 on", arrived.offset_s));
        }
        if let Some(last) = arrivals.last()
            && arrived.offset_s < last.offset_s
        {
            return Err(format!(
                "line {number}: `offset_s` goes back from {} to {}: sort the lines by time",
                last.offset_s, arrived.offset_s
            ));
        }
        if arrived.input_tokens == Some(0) || arrived.output_tokens == Some(0) {
            return Err(format!("line {number}: a length of 0 tokens: leave the value out, or give at least 1"));
        }
        if arrivals.len() == MOST {
            return Err(format!("line {number}: more than {MOST} requests"));
        }
        arrivals.push(arrived);
    }
    if arrivals.is_empty() {
        return Err("the trace has no requests".into());
    }
    Ok(arrivals)
}

fn header<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Result<Vec<usize>, String> {
    let (number, line) = lines.next().ok_or("the trace is empty")?;
    let names: Vec<&str> = line.split(',').map(str::trim).collect();
    let column = |name: &&str| {
        COLUMNS.iter().position(|known| known == name).ok_or_else(|| {
            format!(
                "line {number}: unknown column `{name}`: the first line names the columns, of {}",
                COLUMNS.join(", ")
            )
        })
    };
    let columns: Vec<usize> = names.iter().map(column).collect::<Result<_, String>>()?;
    if !columns.contains(&0) {
        return Err(format!("line {number}: no column `offset_s`"));
    }
    Ok(columns)
}

fn row(line: &str, columns: &[usize]) -> Result<Arrived, String> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    if cells.len() != columns.len() {
        return Err(format!("{} values for {} columns", cells.len(), columns.len()));
    }
    let mut arrived = Arrived { offset_s: 0.0, input_tokens: None, output_tokens: None };
    for (&column, cell) in columns.iter().zip(cells) {
        let wrong = |_| format!("`{cell}` is no {}", if column == 0 { "number of seconds" } else { "whole number" });
        let tokens = |cell: &str| cell.parse::<u32>().map(Some).map_err(|err| wrong(err.to_string()));
        match column {
            0 => arrived.offset_s = cell.parse().map_err(|err: std::num::ParseFloatError| wrong(err.to_string()))?,
            _ if cell.is_empty() => {}
            1 => arrived.input_tokens = tokens(cell)?,
            _ => arrived.output_tokens = tokens(cell)?,
        }
    }
    Ok(arrived)
}

fn object(line: &str) -> Result<Arrived, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        offset_s: f64,
        input_tokens: Option<u32>,
        output_tokens: Option<u32>,
    }
    let Line { offset_s, input_tokens, output_tokens } = serde_json::from_str(line).map_err(|err| {
        // The place within the line is of no use: what is wrong is named.
        let text = err.to_string();
        text.split(" at line ").next().unwrap_or(&text).to_owned()
    })?;
    Ok(Arrived { offset_s, input_tokens, output_tokens })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arrived(offset_s: f64, input_tokens: Option<u32>, output_tokens: Option<u32>) -> Arrived {
        Arrived { offset_s, input_tokens, output_tokens }
    }

    #[test]
    fn both_forms_say_the_same() {
        let expect = [arrived(0.0, Some(10), Some(5)), arrived(0.5, Some(20), None), arrived(0.5, None, None)];
        let csv = "# recorded\noffset_s, input_tokens, output_tokens\n0,10,5\n\n0.5,20,\n0.5,,\n";
        let jsonl = "{\"offset_s\": 0, \"input_tokens\": 10, \"output_tokens\": 5}\n\
                     {\"offset_s\": 0.5, \"input_tokens\": 20}\n{\"offset_s\": 0.5}\n";
        assert_eq!(parse(csv, Form::Csv).as_deref(), Ok(&expect[..]));
        assert_eq!(parse(jsonl, Form::Jsonl).as_deref(), Ok(&expect[..]));
    }

    #[test]
    fn errors_name_the_line() {
        for (form, text, expect) in [
            (Form::Csv, "", "empty"),
            (Form::Csv, "offset_s\n", "no requests"),
            (Form::Csv, "time\n1\n", "line 1: unknown column `time`"),
            (Form::Csv, "input_tokens\n1\n", "line 1: no column `offset_s`"),
            (Form::Csv, "offset_s\n1\n0.5\n", "line 3: `offset_s` goes back from 1 to 0.5"),
            (Form::Csv, "offset_s\n-1\n", "line 2: `offset_s` is -1"),
            (Form::Csv, "offset_s\nnan\n", "line 2: `offset_s` is NaN"),
            (Form::Csv, "offset_s\nabc\n", "line 2: `abc` is no number of seconds"),
            (Form::Csv, "offset_s,input_tokens\n1,2.5\n", "line 2: `2.5` is no whole number"),
            (Form::Csv, "offset_s,input_tokens\n1\n", "line 2: 1 values for 2 columns"),
            (Form::Csv, "offset_s,input_tokens\n1,0\n", "line 2: a length of 0 tokens"),
            (Form::Jsonl, "{\"offset_s\": 1}\n{\"offset\": 1}\n", "line 2: unknown field `offset`"),
            (Form::Jsonl, "{\"offset_s\": \"1\"}\n", "line 1: invalid type"),
            (Form::Jsonl, "offset_s\n", "line 1: expected value"),
        ] {
            let err = parse(text, form).expect_err(text);
            assert!(err.contains(expect), "{text:?}: {err}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}(\n\\PC{0,20}){0,3}") {
            let _ = (parse(&text, Form::Csv), parse(&text, Form::Jsonl));
        }
    }
}
