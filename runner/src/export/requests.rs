//! Request records as CSV (RFC 4180) and as JSON lines.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write},
};

use anyhow::{Context, Result, bail};
use archive::{Benchmark, Request};

/// The records as they are archived, a JSON object a line.
pub fn write_json_lines(benchmark: &Benchmark, to: &mut dyn Write) -> Result<()> {
    let Some(path) = benchmark.path_of("requests.jsonl.zst") else { bail!(absent(benchmark)) };
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    io::copy(&mut zstd::Decoder::new(file)?, to)?;
    Ok(())
}

/// Why there are no records.
pub fn absent(benchmark: &Benchmark) -> String {
    match benchmark.manifest.files.contains_key("requests.jsonl.zst") {
        true => format!(
            "the request records of {} are kept outside git and not on this machine: `runner archive fetch` brings them",
            benchmark.id
        ),
        false => format!("{} has no request records", benchmark.id),
    }
}

/// Every record, in order.
pub fn each(benchmark: &Benchmark, mut take: impl FnMut(Request) -> Result<()>) -> Result<()> {
    let Some(requests) = benchmark.requests()? else { bail!(absent(benchmark)) };
    for request in requests {
        take(request?)?;
    }
    Ok(())
}

/// Names of the steps and server times that some record has.
pub fn names(benchmark: &Benchmark) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut steps, mut server) = (BTreeSet::new(), BTreeSet::new());
    each(benchmark, |request| {
        let add = |known: &mut BTreeSet<String>, name: String| {
            if !known.contains(&name) {
                known.insert(name);
            }
        };
        request.steps_s.into_keys().for_each(|name| add(&mut steps, name));
        request.server_s.into_keys().for_each(|name| add(&mut server, name));
        Ok(())
    })?;
    Ok((steps, server))
}

const COLUMNS: &str = "request_id,client,operation,warmup,intended_s,start_s,latency_s,success,error,http_status,bytes_sent,\
                       bytes_received,ttfb_s,recall,ttft_s,ttft_first_chunk_s,input_tokens,cached_tokens,output_tokens,\
                       content_chunks,tokens_by_chunk,chunk_gaps_us";

/// One line a record under a line of names. What a record does not have is empty; gaps between chunks are separated by
/// spaces; steps and server times have a column for each of their names.
pub fn write_csv(benchmark: &Benchmark, to: &mut dyn Write) -> Result<()> {
    let (steps, server) = names(benchmark)?;
    write!(to, "{COLUMNS}")?;
    for name in &steps {
        write!(to, ",{}", cell(&format!("steps_s.{name}")))?;
    }
    for name in &server {
        write!(to, ",{}", cell(&format!("server_s.{name}")))?;
    }
    to.write_all(b"\r\n")?;
    each(benchmark, |request| {
        let Request { request_id, client, warmup, start_s, latency_s, success, bytes_sent, bytes_received, .. } =
            request;
        let operation = cell(&request.operation);
        let (intended, error) = (option(request.intended_s), cell(request.error.as_deref().unwrap_or_default()));
        let status = option(request.http_status);
        write!(
            to,
            "{request_id},{client},{operation},{warmup},{intended},{start_s},{latency_s},{success},{error},{status}"
        )?;
        write!(to, ",{bytes_sent},{bytes_received},{},{}", option(request.ttfb_s), option(request.recall))?;
        write!(to, ",{},{}", option(request.ttft_s), option(request.ttft_first_chunk_s))?;
        write!(to, ",{},{}", option(request.input_tokens), option(request.cached_tokens))?;
        write!(to, ",{},{}", option(request.output_tokens), option(request.content_chunks))?;
        let gaps: Vec<String> = request.chunk_gaps_us.iter().map(ToString::to_string).collect();
        write!(to, ",{},{}", request.tokens_by_chunk, gaps.join(" "))?;
        for name in &steps {
            write!(to, ",{}", option(request.steps_s.get(name)))?;
        }
        for name in &server {
            write!(to, ",{}", option(request.server_s.get(name)))?;
        }
        to.write_all(b"\r\n")?;
        Ok(())
    })
}

fn option(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Quoted where it must be.
fn cell(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (text, expected) in [("GET", "GET"), ("a,b", "\"a,b\""), ("say \"no\"\n", "\"say \"\"no\"\"\n\""), ("", "")]
        {
            assert_eq!(cell(text), expected);
        }
    }
}
