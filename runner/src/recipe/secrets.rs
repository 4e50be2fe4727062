//! `${NAME}` in what people write: a value from the environment, kept out of everything that is stored.
//!
//! The text keeps `${NAME}` everywhere; the values are gathered beside it. In shell commands `${NAME}` is a
//! shell variable, and the value travels as one.

use std::collections::BTreeMap;

use super::{
    document::{Content, Node, join},
    finding::Findings,
};

/// What every client, and every shell command, finds in its environment.
pub const RUNTIME_VARIABLES: [&str; 7] = [
    "SERVICE_NAME",
    "SERVICE_HOSTNAME",
    "SERVICE_PORT",
    "SERVICE_URL",
    "BENCHMARK_ID",
    "BENCHMARK_OUTPUT_DIR",
    "CLIENT_NAME",
];

/// Looks up a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The names in a text's `${NAME}`s. `$`, `$$`, `$NAME` and `${…}` with anything else inside are plain text.
pub fn names(text: &str) -> Vec<&str> {
    pieces(text).filter_map(|piece| piece.err()).collect()
}

/// The text with every `${NAME}` that has a value replaced by it.
pub fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    pieces(text)
        .map(|piece| match piece {
            Ok(plain) => plain.to_owned(),
            Err(name) => values.get(name).cloned().unwrap_or_else(|| format!("${{{name}}}")),
        })
        .collect()
}

/// The text in pieces: plain text is `Ok`, the name in a `${NAME}` is `Err`.
fn pieces(text: &str) -> impl Iterator<Item = Result<&str, &str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut from = 0;
        while let Some(found) = rest[from..].find("${") {
            let open = from + found;
            let inside = &rest[open + 2..];
            let length = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
            let is_name = length > 0 && !inside.starts_with(|c: char| c.is_ascii_digit());
            if is_name && inside[length..].starts_with('}') {
                if open > 0 {
                    let plain = &rest[..open];
                    rest = &rest[open..];
                    return Some(Ok(plain));
                }
                rest = &inside[length + 1..];
                return Some(Err(&inside[..length]));
            }
            from = open + 2;
        }
        Some(Ok(std::mem::take(&mut rest)))
    })
}

/// Gathers the values of every `${NAME}` in a recipe into `values`; one that is not set is reported.
pub fn collect(
    findings: &mut Findings,
    recipe: &Node,
    environment: Environment<'_>,
    values: &mut BTreeMap<String, String>,
) {
    Collect { findings, recipe, environment, values }.node(recipe, "");
}

struct Collect<'a> {
    findings: &'a mut Findings,
    recipe: &'a Node,
    environment: Environment<'a>,
    values: &'a mut BTreeMap<String, String>,
}

impl Collect<'_> {
    fn node(&mut self, node: &Node, path: &str) {
        match &node.content {
            Content::Scalar { text, .. } => self.text(node, text, path),
            Content::Sequence(items) => items.iter().for_each(|item| self.node(item, path)),
            Content::Mapping(entries) => {
                entries.iter().for_each(|entry| self.node(&entry.node, &join(path, &entry.key)));
            }
        }
    }

    fn text(&mut self, node: &Node, text: &str, path: &str) {
        let shell = matches!(path, "service.command" | "service.pre_run_commands" | "client.command");
        for name in names(text) {
            if shell && self.is_set_in_shell(name, path) {
                continue;
            }
            match (self.environment)(name) {
                Some(value) => {
                    self.values.insert(name.to_owned(), value);
                }
                None if shell => {}
                None => {
                    let message = format!("`${{{name}}}` is not set in the environment: `export {name}=…` first");
                    self.findings.error(node.span, path, message);
                }
            }
        }
    }

    /// The variable has a value of its own in the shell that runs the command.
    fn is_set_in_shell(&self, name: &str, path: &str) -> bool {
        let section = path.split('.').next().unwrap_or_default();
        let in_section = |key: &str| self.recipe.find(&format!("{section}.{key}.{name}")).is_some();
        RUNTIME_VARIABLES.contains(&name) || in_section("env") || in_section("environment")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::document;

    #[test]
    fn names_and_values() {
        let values = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B_2".to_owned(), "${A}".to_owned())]);
        for (text, found, filled) in [
            ("", vec![], ""),
            ("plain $ $$ $A ${} ${1} ${A:-x} ${", vec![], "plain $ $$ $A ${} ${1} ${A:-x} ${"),
            ("${A}", vec!["A"], "1"),
            ("x${A}y${B_2}${C}", vec!["A", "B_2", "C"], "x1y${A}${C}"),
            ("${${A}", vec!["A"], "${1"),
            ("é${A}é", vec!["A"], "é1é"),
        ] {
            assert_eq!(names(text), found, "{text}");
            assert_eq!(fill(text, &values), filled, "{text}");
        }
    }

    #[test]
    fn commands_take_what_the_environment_has_and_texts_demand_it() {
        let text = "service: {command: 'x ${A} ${SERVICE_PORT} ${OWN} ${NO}', env: {OWN: '1', KEY: '${A}'}}\n\
                    client: {settings: {model: '${NO}'}}\n";
        let mut findings = Findings::default();
        let source = findings.add_source("x", text, false);
        let node = document::parse(&mut findings, source, 0).expect("a tree");
        let mut values = BTreeMap::new();
        let environment = |name: &str| ["A", "SERVICE_PORT", "OWN"].contains(&name).then(|| format!("value of {name}"));
        collect(&mut findings, &node, &environment, &mut values);
        assert_eq!(values, BTreeMap::from([("A".to_owned(), "value of A".to_owned())]));
        let found: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(found, ["client.settings.model"]);
    }

    proptest::proptest! {
        #[test]
        fn without_values_a_text_stays_as_it_is(text in "[${}A-C_ 1é]{0,30}") {
            proptest::prop_assert_eq!(fill(&text, &BTreeMap::new()), text);
        }
    }
}
