//! What the command line changes, put into the trees where a person could have written it.
//!
//! Every option is a text of its own, so that findings name the option.

use analysis::slo;

use super::{Base, Reader, keys};
use crate::recipe::{
    document::{self, Content, Entry, Node},
    finding::Span,
    schema,
};

/// The axis that `--clients` sweeps.
const CLIENTS_AXIS: &str = "benchmarks.num_clients";

/// Where a recipe has its limits.
const LIMITS: &str = "benchmarks.slo";

/// What the command line changes, as typed.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub target: Option<String>,
    pub clients: Option<String>,
    /// `path=value` each.
    pub set: Vec<String>,
    pub repetitions: Option<String>,
    pub seed: Option<String>,
    /// Limits in place of those of campaign and recipes, in the language of [`slo::parse`].
    pub slo: Option<String>,
}

impl Overrides {
    /// The options as a person would type them.
    pub fn as_typed(&self) -> Vec<String> {
        let options = [
            ("--target", &self.target),
            ("--clients", &self.clients),
            ("--repetitions", &self.repetitions),
            ("--seed", &self.seed),
            ("--slo", &self.slo),
        ];
        let single = options.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_deref()?)));
        single.chain(self.set.iter().map(|set| format!("--set {set}"))).collect()
    }
}

impl Reader {
    pub(super) fn overrides(
        &mut self,
        overrides: &Overrides,
        tree: &mut Node,
        bases: &mut [Base],
        sweep: &mut Node,
        recipe_keys: &[String],
    ) {
        let mut option = |name: &str, value: &Option<String>| {
            let text = value.as_deref()?;
            let source = self.findings.add_source(format!("{name} {text}"), text, true);
            Some((Span { source, line: 1, column: 1, width: 1 }, text.to_owned()))
        };
        let mut numbers = Vec::new();
        for (name, key, value) in
            [("--repetitions", "repetitions", &overrides.repetitions), ("--seed", "seed", &overrides.seed)]
        {
            numbers.extend(option(name, value).map(|(span, text)| (key, span, text)));
        }
        let target = option("--target", &overrides.target);
        let limits = option("--slo", &overrides.slo);
        let clients = option("--clients", &overrides.clients);
        for (key, span, text) in numbers {
            self.put(tree, key, span, Node { span, content: Content::Scalar { text, plain: true } });
        }
        if let Some((span, text)) = target {
            let node = Node { span, content: Content::Scalar { text, plain: false } };
            bases.iter_mut().for_each(|base| self.put(&mut base.tree, "configuration.target", span, node.clone()));
        }
        if let Some((span, text)) = limits {
            self.limits(&text, span, tree, bases, sweep);
        }
        for (index, set) in overrides.set.iter().enumerate() {
            let path = set.split('=').next();
            if overrides.set[..index].iter().any(|earlier| earlier.split('=').next() == path) {
                let source = self.findings.add_source(format!("--set {set}"), set.as_str(), true);
                let span = Span { source, line: 1, column: 1, width: 1 };
                self.findings.error(span, path.unwrap_or_default(), "set twice: remove one of the two options");
                continue;
            }
            self.set_option(set, tree, bases, sweep, recipe_keys);
        }
        if let Some((span, text)) = clients {
            let mut column = 1;
            let values = text.split(',').map(|item| {
                let at = Span { column, width: item.len().max(1), ..span };
                column += item.chars().count() + 1;
                Node { span: at, content: Content::Scalar { text: item.trim().to_owned(), plain: true } }
            });
            self.axis(sweep, CLIENTS_AXIS, span, values.collect());
        }
    }

    /// Limits of the command line stand in every recipe, and no others do.
    fn limits(&mut self, text: &str, span: Span, tree: &mut Node, bases: &mut [Base], sweep: &Node) {
        let limits = match slo::parse(text) {
            Ok(limits) => limits,
            Err(error) => return self.findings.error(span, LIMITS, error.to_string()),
        };
        let gives_limits =
            |axis: &&Entry| axis.key == LIMITS || axis.key == "benchmarks" || axis.key.starts_with("benchmarks.slo.");
        if let Some(axis) = sweep.entries().iter().find(gives_limits) {
            let message = format!("the sweep gives `{}` and would undo this: change the sweep", axis.key);
            return self.findings.error(span, LIMITS, message);
        }
        let entry = |(metric, limit): (String, f64)| {
            let node = Node { span, content: Content::Scalar { text: limit.to_string(), plain: true } };
            Entry { key: metric, key_span: span, node }
        };
        let node = Node { span, content: Content::Mapping(limits.into_iter().map(entry).collect()) };
        tree.remove("slo");
        bases.iter_mut().for_each(|base| self.put(&mut base.tree, LIMITS, span, node.clone()));
    }

    fn set_option(&mut self, set: &str, tree: &mut Node, bases: &mut [Base], sweep: &mut Node, recipe_keys: &[String]) {
        let source = self.findings.add_source(format!("--set {set}"), set, true);
        let span = Span { source, line: 1, column: 1, width: 1 };
        let Some((path, _)) = set.split_once('=') else {
            return self.findings.error(span, "", "expected `path=value`, for example `--set benchmarks.duration=30s`");
        };
        let errors = self.findings.errors();
        let node = document::parse(&mut self.findings, source, path.len() + 1);
        if node.is_none() && self.findings.errors() > errors {
            return;
        }
        let node = node.unwrap_or(Node { span, content: Content::Scalar { text: String::new(), plain: true } });
        if path.split('.').any(str::is_empty) {
            return self.findings.error(span, path, "expected a dotted path, for example `benchmarks.duration`");
        }
        let first = path.split('.').next().unwrap_or_default();
        if ["recipe", "recipes", "sweep"].contains(&first) {
            let cure = "name the recipe's field itself, for example `benchmarks.duration`";
            return self.findings.error(span, path, format!("`--set` does not change `{first}`: {cure}"));
        }
        let is_campaigns = keys(&schema::campaign()).iter().any(|key| key == first);
        if is_campaigns && !recipe_keys.iter().any(|key| key == first) {
            return self.put(tree, path, span, node);
        }
        if let Some(axis) = sweep.entries().iter().find(|axis| path.starts_with(&format!("{}.", axis.key))) {
            let message = format!("the sweep gives all of `{}` and would undo this: change the sweep", axis.key);
            return self.findings.error(span, path, message);
        }
        if sweep.get(path).is_some() {
            return self.axis(sweep, path, span, vec![node]);
        }
        bases.iter_mut().for_each(|base| self.put(&mut base.tree, path, span, node.clone()));
    }

    /// Makes the sweep take these values on this axis, in the place it had.
    fn axis(&mut self, sweep: &mut Node, path: &str, key_span: Span, values: Vec<Node>) {
        if !matches!(sweep.content, Content::Mapping(_)) {
            return;
        }
        let node = Node { span: key_span, content: Content::Sequence(values) };
        let entry = Entry { key: path.to_owned(), key_span, node };
        if let Content::Mapping(entries) = &mut sweep.content {
            match entries.iter_mut().find(|axis| axis.key == path) {
                Some(axis) => *axis = entry,
                None => entries.push(entry),
            }
        }
    }

    pub(super) fn put(&mut self, tree: &mut Node, path: &str, span: Span, node: Node) {
        if let Err(at) = tree.set(path, span, node) {
            self.findings.error(span, path, format!("`{at}` is not a section: it has no `{path}`"));
        }
    }
}
