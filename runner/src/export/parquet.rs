//! Request records as a Parquet file: one row a record, one column a field, in row groups of 100,000.
//!
//! Written column by column with the low-level writer, so that no other column library comes along.

use std::{io::Write, sync::Arc};

use anyhow::Result;
use archive::{Benchmark, Request};
use parquet::{
    basic::Compression,
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::requests::{each, names};

const ROWS: usize = 100_000;

/// What a column takes of a record.
enum Take {
    Int(fn(&Request) -> Option<i64>),
    Status(fn(&Request) -> Option<i32>),
    Bool(fn(&Request) -> bool),
    Double(Box<dyn Fn(&Request) -> Option<f64>>),
    Text(fn(&Request) -> Option<&str>),
    /// A list, which may be empty.
    Ints(fn(&Request) -> &[u32]),
}

struct Column {
    name: String,
    take: Take,
}

fn columns(benchmark: &Benchmark) -> Result<Vec<Column>> {
    let column = |name: &str, take: Take| Column { name: name.to_owned(), take };
    let mut columns = vec![
        column("request_id", Take::Int(|r| i64::try_from(r.request_id).ok())),
        column("client", Take::Int(|r| Some(i64::from(r.client)))),
        column("operation", Take::Text(|r| Some(&r.operation))),
        column("warmup", Take::Bool(|r| r.warmup)),
        column("intended_s", Take::Double(Box::new(|r| r.intended_s))),
        column("start_s", Take::Double(Box::new(|r| Some(r.start_s)))),
        column("latency_s", Take::Double(Box::new(|r| Some(r.latency_s)))),
        column("success", Take::Bool(|r| r.success)),
        column("error", Take::Text(|r| r.error.as_deref())),
        column("http_status", Take::Status(|r| r.http_status.map(i32::from))),
        column("bytes_sent", Take::Int(|r| i64::try_from(r.bytes_sent).ok())),
        column("bytes_received", Take::Int(|r| i64::try_from(r.bytes_received).ok())),
        column("ttfb_s", Take::Double(Box::new(|r| r.ttfb_s))),
        column("recall", Take::Double(Box::new(|r| r.recall))),
        column("ttft_s", Take::Double(Box::new(|r| r.ttft_s))),
        column("ttft_first_chunk_s", Take::Double(Box::new(|r| r.ttft_first_chunk_s))),
        column("input_tokens", Take::Int(|r| i64::try_from(r.input_tokens?).ok())),
        column("cached_tokens", Take::Int(|r| i64::try_from(r.cached_tokens?).ok())),
        column("output_tokens", Take::Int(|r| i64::try_from(r.output_tokens?).ok())),
        column("content_chunks", Take::Int(|r| i64::try_from(r.content_chunks?).ok())),
        column("tokens_by_chunk", Take::Bool(|r| r.tokens_by_chunk)),
        column("chunk_gaps_us", Take::Ints(|r| &r.chunk_gaps_us)),
    ];
    let (steps, server) = names(benchmark)?;
    for name in steps {
        let of = name.clone();
        let take = Take::Double(Box::new(move |r| r.steps_s.get(&of).copied()));
        columns.push(Column { name: format!("steps_s.{name}"), take });
    }
    for name in server {
        let of = name.clone();
        let take = Take::Double(Box::new(move |r| r.server_s.get(&of).copied()));
        columns.push(Column { name: format!("server_s.{name}"), take });
    }
    Ok(columns)
}

/// A name as a Parquet schema may write it.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

pub fn write(benchmark: &Benchmark, to: impl Write + Send) -> Result<()> {
    let columns = columns(benchmark)?;
    let fields: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = plain(&column.name);
            let kind = match column.take {
                // A list as the format defines it (LogicalTypes, "Lists").
                Take::Ints(_) => {
                    return format!(
                        "required group {name} (LIST) {{ repeated group list {{ required int64 element; }} }}"
                    );
                }
                Take::Int(_) => "OPTIONAL INT64",
                Take::Status(_) => "OPTIONAL INT32",
                Take::Bool(_) => "REQUIRED BOOLEAN",
                Take::Double(_) => "OPTIONAL DOUBLE",
                Take::Text(_) => "OPTIONAL BYTE_ARRAY",
            };
            let text = if matches!(column.take, Take::Text(_)) { " (UTF8)" } else { "" };
            format!("{kind} {name}{text};")
        })
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message requests {{ {} }}", fields.join(" ")))?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut out = SerializedFileWriter::new(to, schema, properties)?;
    let mut rows: Vec<Request> = Vec::with_capacity(ROWS);
    each(benchmark, |request| {
        rows.push(request);
        if rows.len() == ROWS {
            write_group(&mut out, &columns, &rows)?;
            rows.clear();
        }
        Ok(())
    })?;
    if !rows.is_empty() {
        write_group(&mut out, &columns, &rows)?;
    }
    out.close()?;
    Ok(())
}

fn write_group<W: Write + Send>(out: &mut SerializedFileWriter<W>, columns: &[Column], rows: &[Request]) -> Result<()> {
    let mut group = out.next_row_group()?;
    for column in columns {
        let Some(mut writer) = group.next_column()? else { break };
        /// Values that are there, and for every row whether it has one.
        fn split<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<i16>) {
            let (mut there, mut levels) = (Vec::new(), Vec::new());
            for value in values {
                levels.push(i16::from(value.is_some()));
                there.extend(value);
            }
            (there, levels)
        }
        match &column.take {
            Take::Int(take) => {
                let (values, levels) = split(rows.iter().map(take));
                writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
            }
            Take::Status(take) => {
                let (values, levels) = split(rows.iter().map(take));
                writer.typed::<Int32Type>().write_batch(&values, Some(&levels), None)?;
            }
            Take::Bool(take) => {
                let values: Vec<bool> = rows.iter().map(take).collect();
                writer.typed::<BoolType>().write_batch(&values, None, None)?;
            }
            Take::Double(take) => {
                let (values, levels) = split(rows.iter().map(take));
                writer.typed::<DoubleType>().write_batch(&values, Some(&levels), None)?;
            }
            Take::Ints(take) => {
                let values: Vec<i64> = rows.iter().flat_map(|row| take(row)).map(|value| i64::from(*value)).collect();
                // An empty list has one entry of its own; further values of a list repeat it.
                let of = |row| take(row).len().max(1);
                let defined: Vec<i16> =
                    rows.iter().flat_map(|row| vec![i16::from(!take(row).is_empty()); of(row)]).collect();
                let repeated: Vec<i16> =
                    rows.iter().flat_map(|row| (0..of(row)).map(|place| i16::from(place > 0))).collect();
                writer.typed::<Int64Type>().write_batch(&values, Some(&defined), Some(&repeated))?;
            }
            Take::Text(take) => {
                let (values, levels) = split(rows.iter().map(|row| take(row).map(ByteArray::from)));
                writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
            }
        }
        writer.close()?;
    }
    group.close()?;
    Ok(())
}
