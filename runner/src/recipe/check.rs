//! A located tree against a schema → a typed JSON value, and everything that is wrong with the tree.
//!
//! Knows the keywords that `schema.rs` uses, and no service. A value that is wrong is reported and left out, and the
//! rest is checked all the same.

use analysis::{
    compare::metric::{Metric, Thresholds},
    slo,
};
use regex_lite::Regex;
use serde_json::{Map, Number, Value};

use super::{
    document::{Content, Entry, Node, join},
    finding::{Finding, Findings, Severity, did_you_mean, quoted_list},
    formats, schema,
};

/// As many keys are listed when a key is unknown and resembles none.
const LISTED_KEYS: usize = 12;

/// Checks `node`, which stands at `path`. `whole` is the schema of the file, for hints at misplaced keys.
pub fn check(findings: &mut Findings, whole: &Value, schema: &Value, node: &Node, path: &str) -> Option<Value> {
    Check { findings, whole }.value(schema, node, path)
}

struct Check<'a> {
    findings: &'a mut Findings,
    whole: &'a Value,
}

impl Check<'_> {
    fn value(&mut self, schema: &Value, node: &Node, path: &str) -> Option<Value> {
        if schema["format"] == "slo" {
            return self.slo(node, path);
        }
        if schema["format"] == "thresholds" {
            return self.thresholds(node, path);
        }
        match schema["type"].as_str() {
            Some("object") => self.section(schema, node, path),
            Some("array") => self.list(schema, node, path),
            Some("integer" | "number" | "string" | "boolean") => self.scalar(schema, node, path),
            _ => Some(untyped(node)),
        }
    }

    fn section(&mut self, schema: &Value, node: &Node, path: &str) -> Option<Value> {
        let Content::Mapping(entries) = &node.content else { return self.wrong(schema, node, path) };
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let others = &schema["additionalProperties"];
        let names = schema["propertyNames"]["pattern"].as_str();
        let mut out = Map::new();
        for entry in entries {
            let below = join(path, &entry.key);
            let child = match properties.get(&entry.key) {
                Some(child) => child,
                None if others == &Value::Bool(false) => {
                    self.unknown_key(schema, properties, entry, path);
                    continue;
                }
                None => others,
            };
            if let Some(pattern) = names
                && !matches(pattern, &entry.key)
            {
                let message =
                    format!("`{}` is not a name: expected letters, digits and `_`, no digit first", entry.key);
                self.findings.error(entry.key_span, &below, message);
                continue;
            }
            if entry.node.is_null() {
                self.empty(child, entry, &below);
            } else if let Some(value) = self.value(child, &entry.node, &below) {
                out.insert(entry.key.clone(), value);
            }
        }
        Some(Value::Object(out))
    }

    fn empty(&mut self, schema: &Value, entry: &Entry, path: &str) {
        let message = match schema["type"].as_str() {
            Some("object") => "the section is empty: leave it out, or fill it".to_owned(),
            _ => format!("the key has no value: leave it out, or give {}", expected(schema)),
        };
        self.findings.error(entry.key_span, path, message);
    }

    fn unknown_key(&mut self, schema: &Value, properties: &Map<String, Value>, entry: &Entry, section: &str) {
        let path = join(section, &entry.key);
        let known = properties.keys().map(String::as_str);
        let near = did_you_mean(&entry.key, known.clone());
        let home = home_of(self.whole, &entry.key, "");
        let owners = section.strip_suffix(".settings").map(|section| schema::types_with_setting(section, &entry.key));
        let is_next_door = home.as_deref().is_some_and(|home| section.strip_suffix(".settings") == Some(home));
        let owners = owners.filter(|owners| !owners.is_empty() && !is_next_door);
        let place = if section.is_empty() { "the file".to_owned() } else { format!("`{section}`") };
        let cure = if let Some(instead) = schema[schema::INSTEAD][&entry.key].as_str() {
            instead.to_owned()
        } else if let Some(owners) = &owners {
            format!("it is a setting of {}", quoted_list(owners.iter().copied()))
        } else if let Some(home) = &home {
            format!("it belongs in `{home}`")
        } else if let Some(near) = near {
            format!("did you mean `{near}`?")
        } else if properties.is_empty() {
            format!("{place} takes no keys")
        } else if properties.len() <= LISTED_KEYS {
            format!("{place} takes {}", quoted_list(known))
        } else {
            format!("`runner schema` and docs/recipes.md list the keys of {place}")
        };
        self.findings.add(Finding {
            span: entry.key_span,
            severity: Severity::Error,
            path,
            message: format!("unknown key; {cure}"),
            suggestion: match (owners, home) {
                (Some(_), _) => None,
                (None, Some(home)) => Some(join(&home, &entry.key)),
                (None, None) => near.map(str::to_owned),
            },
        });
    }

    fn list(&mut self, schema: &Value, node: &Node, path: &str) -> Option<Value> {
        let Content::Sequence(items) = &node.content else { return self.wrong(schema, node, path) };
        if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
            self.findings.error(node.span, path, "the list is empty: leave it out, or fill it");
            return None;
        }
        let values: Vec<Value> = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| self.value(&schema["items"], item, &format!("{path}[{index}]")))
            .collect();
        Some(Value::Array(values))
    }

    fn scalar(&mut self, schema: &Value, node: &Node, path: &str) -> Option<Value> {
        let Content::Scalar { text, plain } = &node.content else { return self.wrong(schema, node, path) };
        if node.is_null() {
            return self.wrong(schema, node, path);
        }
        match schema["type"].as_str() {
            Some("boolean") => match (text.as_str(), plain) {
                ("true", true) => Some(Value::Bool(true)),
                ("false", true) => Some(Value::Bool(false)),
                _ => {
                    let cure = match text.to_ascii_lowercase().as_str() {
                        "true" | "yes" | "on" | "y" => "; write `true`",
                        "false" | "no" | "off" | "n" => "; write `false`",
                        _ => "",
                    };
                    self.wrong_with(schema, node, path, cure)
                }
            },
            Some("string") => self.text(schema, node, text, *plain, path),
            Some(_) if schema["format"] == "duration" => match formats::parse_duration(text) {
                Ok(seconds) => self.within(schema, node, path, seconds, number(seconds)),
                Err(_) => self.wrong_with(schema, node, path, number_cure(text, *plain)),
            },
            kind => {
                let read = if *plain { read_number(text) } else { None };
                match (read, kind) {
                    (Some(Read::Integer(value)), Some("integer")) => {
                        self.within(schema, node, path, value as f64, integer(value))
                    }
                    (Some(Read::Integer(value)), _) => {
                        self.within(schema, node, path, value as f64, number(value as f64))
                    }
                    (Some(Read::Real(value)), Some("number")) => self.within(schema, node, path, value, number(value)),
                    (Some(Read::Real(value)), _) if value.fract() == 0.0 && value.abs() < 1e15 => {
                        self.wrong_with(schema, node, path, &format!("; write `{value:.0}`"))
                    }
                    _ => self.wrong_with(schema, node, path, number_cure(text, *plain)),
                }
            }
        }
    }

    fn text(&mut self, schema: &Value, node: &Node, text: &str, plain: bool, path: &str) -> Option<Value> {
        let names: Vec<&str> = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !names.is_empty() {
            if names.contains(&text) {
                return Some(text.into());
            }
            let mut sorted = names.clone();
            sorted.sort_unstable();
            let suggestion = did_you_mean(text, names);
            let hint = suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            self.findings.add(Finding {
                span: node.span,
                severity: Severity::Error,
                path: path.to_owned(),
                message: format!("expected one of {}, found {}{hint}", quoted_list(sorted), node.describe()),
                suggestion: suggestion.map(str::to_owned),
            });
            return None;
        }
        if plain && matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") {
            return self.wrong_with(schema, node, path, &format!("; write \"{text}\" for the text"));
        }
        if text.is_empty() && schema["minLength"].as_u64().is_some_and(|least| least > 0) {
            self.findings.error(node.span, path, "the text is empty: leave the key out, or fill it");
            return None;
        }
        if let Some(most) = schema["maxLength"].as_u64()
            && text.chars().count() as u64 > most
        {
            self.findings.error(node.span, path, format!("the text is too long: at most {most} characters"));
            return None;
        }
        let format = match schema["format"].as_str() {
            Some("slurm-time") => formats::parse_slurm_time(text).map(|_| ()),
            Some("slurm-memory") => formats::check_slurm_memory(text),
            Some("name") => formats::check_name(text),
            Some("volume") => formats::check_volume(text),
            // With `${NAME}` in it, it can be read only when the values are known.
            Some("endpoint") if !text.contains("${") => formats::parse_endpoint(text).map(|_| ()),
            _ => Ok(()),
        };
        if let Err(message) = format {
            self.findings.error(node.span, path, format!("{message}, found {}", node.describe()));
            return None;
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && !matches(pattern, text)
        {
            let what = schema["description"].as_str().unwrap_or(pattern).trim_end_matches('.');
            self.findings.error(node.span, path, format!("{} does not fit: {what}", node.describe()));
            return None;
        }
        Some(text.into())
    }

    /// The limits as canonical metric name → limit in its unit.
    fn slo(&mut self, node: &Node, path: &str) -> Option<Value> {
        let Content::Mapping(entries) = &node.content else {
            let message = format!("expected limits such as `p99: 50ms`, found {}", node.describe());
            self.findings.error(node.span, path, message);
            return None;
        };
        let mut out = Map::new();
        for entry in entries {
            let below = join(path, &entry.key);
            let metric = match slo::metric(&entry.key) {
                Ok(metric) => metric,
                Err(error) => {
                    self.findings.error(entry.key_span, below, error.to_string());
                    continue;
                }
            };
            match slo::value_of(&metric, entry.node.text().unwrap_or_default()) {
                Err(_) if entry.node.is_null() => {
                    self.findings.error(entry.key_span, below, "the limit has no value: give one such as `50ms`");
                }
                Err(_) if entry.node.text().is_none() => {
                    let message = format!("expected a value such as `50ms`, found {}", entry.node.describe());
                    self.findings.error(entry.node.span, below, message);
                }
                Err(error) => self.findings.error(entry.node.span, below, error.to_string()),
                Ok(limit) => {
                    if out.insert(metric.clone(), number(limit)).is_some() {
                        let message = format!("the limit of `{metric}` is given twice in this section: remove one");
                        self.findings.error(entry.key_span, below, message);
                    }
                }
            }
        }
        Some(Value::Object(out))
    }

    /// The thresholds as canonical metric name → number.
    fn thresholds(&mut self, node: &Node, path: &str) -> Option<Value> {
        let Content::Mapping(entries) = &node.content else {
            let message = format!("expected thresholds such as `p99: 10`, found {}", node.describe());
            self.findings.error(node.span, path, message);
            return None;
        };
        let mut out = Map::new();
        for entry in entries {
            let below = join(path, &entry.key);
            let Some(metric) = Metric::parse(&entry.key) else {
                let message = format!("unknown metric; expected {}", Metric::EXPECTED);
                self.findings.error(entry.key_span, below, message);
                continue;
            };
            let given = match read_number(entry.node.text().unwrap_or_default()) {
                Some(Read::Integer(value)) => Some(value as f64),
                Some(Read::Real(value)) => Some(value),
                None => None,
            };
            let Some(given) = given else {
                let message = format!("expected a number such as `10`, in percent, found {}", entry.node.describe());
                self.findings.error(entry.node.span, below, message);
                continue;
            };
            if let Err(message) = Thresholds::default().set(&entry.key, given) {
                self.findings.error(entry.node.span, below, message);
            } else if out.insert(metric.name(), number(given)).is_some() {
                let message = format!("the threshold of `{}` is given twice: remove one", metric.name());
                self.findings.error(entry.key_span, below, message);
            }
        }
        Some(Value::Object(out))
    }

    fn within(&mut self, schema: &Value, node: &Node, path: &str, value: f64, typed: Value) -> Option<Value> {
        let above = schema["minimum"].as_f64().is_none_or(|least| value >= least);
        let below = schema["maximum"].as_f64().is_none_or(|most| value <= most);
        // A bound of 64-bit whole numbers is not exact as a float: the typed value decides.
        if above && below && !typed.is_null() {
            return Some(typed);
        }
        self.wrong_with(schema, node, path, if above { "; it is too large" } else { "" })
    }

    fn wrong<T>(&mut self, schema: &Value, node: &Node, path: &str) -> Option<T> {
        self.wrong_with(schema, node, path, "")
    }

    fn wrong_with<T>(&mut self, schema: &Value, node: &Node, path: &str, cure: &str) -> Option<T> {
        let message = format!("expected {}, found {}{cure}", expected(schema), node.describe());
        self.findings.error(node.span, path, message);
        None
    }
}

/// What a schema asks for, in words.
pub fn expected(schema: &Value) -> String {
    let bound = |key: &str| {
        // What merely fits into the machine's numbers is no bound that a person thinks of.
        let of_machine = [u64::from(u32::MAX), u64::MAX];
        let bound =
            schema[key].as_f64().filter(|_| !schema[key].as_u64().is_some_and(|bound| of_machine.contains(&bound)));
        bound.map(|bound| match schema["format"] == "duration" {
            true => formats::format_duration(bound),
            false => bound.to_string(),
        })
    };
    let range = match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" of at least {least}"),
        (None, Some(most)) => format!(" of at most {most}"),
        (None, None) => String::new(),
    };
    match (schema["format"].as_str(), schema["type"].as_str()) {
        (Some("duration"), _) => format!("a duration{range} (such as `500ms`, `30s`, `1h30m`, or a number of seconds)"),
        (_, Some("integer")) => format!("a whole number{range}"),
        (_, Some("number")) => format!("a number{range}"),
        (_, Some("boolean")) => "`true` or `false`".into(),
        (_, Some("string")) if schema["enum"].is_array() => {
            let mut names: Vec<&str> =
                schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            names.sort_unstable();
            format!("one of {}", quoted_list(names))
        }
        (_, Some("array")) => "a list (`[a, b]`, or lines that begin with `- `)".into(),
        (_, Some("object")) => "a section (indented lines `key: value`)".into(),
        _ => "a text".into(),
    }
}

/// The section that knows `key`, for a key that stands in the wrong one.
fn home_of(schema: &Value, key: &str, path: &str) -> Option<String> {
    let properties = schema["properties"].as_object()?;
    if !path.is_empty() && properties.contains_key(key) {
        return Some(path.to_owned());
    }
    properties.iter().find_map(|(name, below)| home_of(below, key, &join(path, name)))
}

enum Read {
    Integer(i128),
    Real(f64),
}

/// A decimal number as YAML 1.2 and JSON both read it.
fn read_number(text: &str) -> Option<Read> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let bytes = digits.as_bytes();
    let leading_zero = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    if leading_zero || !bytes.first()?.is_ascii_digit() {
        return None;
    }
    if bytes.iter().all(u8::is_ascii_digit) {
        return if bytes.len() <= 30 { text.parse().ok().map(Read::Integer) } else { None };
    }
    if !bytes.iter().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(byte)) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Read::Real)
}

/// Why a scalar is no number, where the cause is a common one.
fn number_cure(text: &str, plain: bool) -> &'static str {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !plain && read_number(text).is_some() {
        "; remove the quotes"
    } else if text.contains("${") {
        "; `${NAME}` stands for texts only: use `--set` for a number"
    } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "; remove the leading zero"
    } else if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['_', ',', '\'']) {
        "; write the digits without separators"
    } else if digits.starts_with("0x") || digits.starts_with("0o") {
        "; write it in decimal"
    } else {
        ""
    }
}

fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn integer(value: i128) -> Value {
    if let Ok(value) = u64::try_from(value) {
        value.into()
    } else {
        i64::try_from(value).map_or(Value::Null, Value::from)
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    // A pattern that is no pattern matches nothing; a test compiles every pattern of every schema.
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

/// A value of which no schema is known, as YAML 1.2 reads it.
pub fn untyped(node: &Node) -> Value {
    match &node.content {
        _ if node.is_null() => Value::Null,
        Content::Scalar { text, plain: true } => match (text.as_str(), read_number(text)) {
            ("true", _) => Value::Bool(true),
            ("false", _) => Value::Bool(false),
            (_, Some(Read::Integer(value))) => integer(value),
            (_, Some(Read::Real(value))) => number(value),
            (text, None) => text.into(),
        },
        Content::Scalar { text, .. } => text.as_str().into(),
        Content::Sequence(items) => items.iter().map(untyped).collect(),
        Content::Mapping(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), untyped(&entry.node))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recipe::document;

    fn read(schema: Value, text: &str) -> Result<Value, String> {
        let mut findings = Findings::default();
        let source = findings.add_source("x", text, false);
        let node = document::parse(&mut findings, source, 0).expect("a tree");
        let value = check(&mut findings, &schema, &schema, &node, "x");
        if findings.has_errors() {
            return Err(findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join(" | "));
        }
        value.ok_or_else(|| "no value and no finding".into())
    }

    #[test]
    fn scalars_become_what_the_schema_asks_for() {
        let integer = json!({ "type": "integer", "minimum": 1, "maximum": u64::MAX });
        let real = json!({ "type": "number", "minimum": 0.5 });
        let duration = json!({ "type": "number", "format": "duration", "minimum": 1 });
        let text = json!({ "type": "string", "minLength": 1 });
        for (schema, written, value) in [
            (&integer, "4", json!(4)),
            (&integer, "18446744073709551615", json!(u64::MAX)),
            (&real, "2", json!(2.0)),
            (&real, "1e3", json!(1000.0)),
            (&duration, "30s", json!(30.0)),
            (&duration, "30", json!(30.0)),
            (&text, "1.10", json!("1.10")),
            (&text, "007", json!("007")),
            (&text, "02:00:00", json!("02:00:00")),
            (&text, "yes", json!("yes")),
            (&text, "'true'", json!("true")),
        ] {
            assert_eq!(read(schema.clone(), written), Ok(value), "{written}");
        }
        for (schema, written, message) in [
            (&integer, "0", "expected a whole number of at least 1, found `0`"),
            (&integer, "18446744073709551616", "found `18446744073709551616`"),
            (&integer, "4.0", "; write `4`"),
            (&integer, "1e6", "; write `1000000`"),
            (&integer, "010", "; remove the leading zero"),
            (&integer, "1_000", "; write the digits without separators"),
            (&integer, "0x10", "; write it in decimal"),
            (&integer, "'4'", "; remove the quotes"),
            (&real, ".inf", "expected a number"),
            (&real, "0.4", "expected a number of at least 0.5"),
            (&duration, "500ms", "expected a duration of at least 1s"),
            (&duration, "fast", "expected a duration"),
            (&text, "true", "write \"true\" for the text"),
            (&text, "''", "the text is empty"),
            (&text, "[]", "found a list"),
        ] {
            let found = read(schema.clone(), written).expect_err(written);
            assert!(found.contains(message), "{written}: {found}");
        }
    }
}
