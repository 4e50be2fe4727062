//! A file and the command line → the recipes of all points, checked one by one.
//!
//! A recipe file is a campaign of one point. Overrides and swept values are put into the tree of the recipe
//! where a person could have written them, so they are checked alike and reported where they stand.

use std::{collections::BTreeMap, fs, path::Path, rc::Rc};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::{
    CampaignFile, Combine, Recipe,
    check::{check, untyped},
    document::{self, Content, Entry, Node},
    finding::{Findings, Span, did_you_mean},
    schema,
};
use crate::services::{ClientType, RAW_CLIENT, RAW_SERVICE, ServiceType, client_type, service_type};

/// Most benchmarks of one campaign, repetitions counted.
pub const MAX_BENCHMARKS: usize = 10_000;

/// The axis that `--clients` sweeps.
const CLIENTS_AXIS: &str = "benchmarks.num_clients";

/// What the command line changes, as typed.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub target: Option<String>,
    pub clients: Option<String>,
    /// `path=value` each.
    pub set: Vec<String>,
    pub repetitions: Option<String>,
    pub seed: Option<String>,
}

impl Overrides {
    /// The options as a person would type them.
    pub fn as_typed(&self) -> Vec<String> {
        let options = [
            ("--target", &self.target),
            ("--clients", &self.clients),
            ("--repetitions", &self.repetitions),
            ("--seed", &self.seed),
        ];
        let single = options.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_deref()?)));
        single.chain(self.set.iter().map(|set| format!("--set {set}"))).collect()
    }
}

/// A campaign as far as it could be read; without errors among the findings, it is whole.
#[derive(Debug)]
pub struct Reading {
    pub findings: Findings,
    /// The file as named by the caller, and its text.
    pub file: String,
    pub text: String,
    pub campaign: CampaignFile,
    /// One for every combination of the sweep and every recipe.
    pub drafts: Vec<Draft>,
}

/// The recipe of one point.
#[derive(Debug)]
pub struct Draft {
    /// Dotted path → value, in the order of the file; with several recipe files also `recipe` → its path.
    pub swept: Map<String, Value>,
    /// As written, with overrides and swept values in place.
    pub tree: Node,
    /// The same, typed. What was wrong has its default.
    pub recipe: Recipe,
    pub types: Types,
    /// Text of the recipe file that the campaign names.
    pub recipe_text: Option<String>,
}

/// The types that a recipe names; `None` when it names none that exists, and gives no command either.
#[derive(Clone, Copy)]
pub struct Types {
    pub service: Option<&'static dyn ServiceType>,
    pub client: Option<&'static dyn ClientType>,
}

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = (self.service.map(|service| service.name()), self.client.map(|client| client.name()));
        names.fmt(f)
    }
}

/// Reads a recipe or campaign file. Errs only when the file itself cannot be read; everything that is wrong
/// in it, or in the command line, is among the findings.
pub fn read(path: &Path, overrides: &Overrides) -> Result<Reading> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(read_bytes(path, bytes, overrides))
}

/// The same from the file's content; `path` names it in findings, and recipes beside it are found by it.
pub fn read_bytes(path: &Path, bytes: Vec<u8>, overrides: &Overrides) -> Reading {
    let file = path.display().to_string();
    let mut reader = Reader { findings: Findings::default(), schemas: BTreeMap::new() };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let source = reader.findings.add_source(&file, text.clone(), false);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let at = Span { source, line, column, width: 1 };
            reader.findings.error(at, "", "the file is not UTF-8: save it as UTF-8");
            let findings = reader.findings;
            return Reading { findings, file, text, campaign: CampaignFile::default(), drafts: Vec::new() };
        }
    };
    let source = reader.findings.add_source(&file, text.clone(), false);
    let (campaign, drafts) = match reader.tree(source) {
        Some(tree) => reader.campaign(tree, path.parent().unwrap_or(Path::new("")), overrides),
        None => Default::default(),
    };
    Reading { findings: reader.findings, file, text, campaign, drafts }
}

/// A recipe before the sweep.
struct Base {
    tree: Node,
    /// Path as the campaign gives it, and the file's text.
    file: Option<(String, String)>,
}

/// One axis of the sweep.
struct Axis {
    path: String,
    key_span: Span,
    values: Vec<Node>,
}

struct Reader {
    findings: Findings,
    /// Schemas by the names of service and client type.
    schemas: BTreeMap<(Option<&'static str>, Option<&'static str>), Rc<Value>>,
}

impl Reader {
    /// The tree of a file, if it is one of sections.
    fn tree(&mut self, source: usize) -> Option<Node> {
        let start = Span { source, line: 1, column: 1, width: 1 };
        let node = document::parse(&mut self.findings, source, 0);
        match node {
            Some(node) if node.is_null() => self.findings.error(start, "", EMPTY),
            None if !self.findings.has_errors() => self.findings.error(start, "", EMPTY),
            Some(node) if !matches!(node.content, Content::Mapping(_)) => {
                let message = format!("expected sections such as `service:`, found {}", node.describe());
                self.findings.error(node.span, "", message);
            }
            Some(node) if node.entries().is_empty() => self.findings.error(start, "", EMPTY),
            node => return node,
        }
        None
    }

    fn campaign(&mut self, tree: Node, folder: &Path, overrides: &Overrides) -> (CampaignFile, Vec<Draft>) {
        let recipe_keys = keys(&schema::recipe(None, None));
        let campaign_schema = schema::campaign();
        let (mut tree, mut bases) = self.split(tree, &recipe_keys, &keys(&campaign_schema));
        self.recipe_files(&tree, folder, &recipe_keys, &mut bases);
        let mut sweep = tree.get("sweep").map_or(Node::empty_mapping(tree.span), |entry| entry.node.clone());
        self.overrides(overrides, &mut tree, &mut bases, &mut sweep, &recipe_keys);
        let value = check(&mut self.findings, &campaign_schema, &campaign_schema, &tree, "").unwrap_or_default();
        let campaign = without(value, "recipe");
        let campaign: CampaignFile = serde_json::from_value(campaign).unwrap_or_else(|error| {
            self.findings.error(tree.span, "", format!("cannot be read as a campaign: {error}"));
            CampaignFile::default()
        });
        let axes = self.axes(&sweep);
        let drafts = self.drafts(&bases, &axes, &campaign);
        (campaign, drafts)
    }

    /// Tells a recipe from a campaign by its keys, and takes the recipe out.
    fn split(&mut self, mut tree: Node, recipe_keys: &[String], campaign_keys: &[String]) -> (Node, Vec<Base>) {
        let fits = |keys: &[String]| {
            let known = keys.iter().map(String::as_str);
            let score = |entry: &Entry| match keys.contains(&entry.key) {
                true => 4,
                false => usize::from(did_you_mean(&entry.key, known.clone()).is_some()),
            };
            tree.entries().iter().map(score).sum::<usize>()
        };
        if fits(recipe_keys) >= fits(campaign_keys) {
            self.misplaced(&mut tree, campaign_keys, |key| {
                format!("`{key}` is a key of campaigns, and this file is a recipe: put the recipe's sections under `recipe:`")
            });
            let span = tree.span;
            return (Node::empty_mapping(span), vec![Base { tree, file: None }]);
        }
        self.misplaced(&mut tree, recipe_keys, |key| {
            format!("`{key}` is a section of recipes, and this file is a campaign: move it under `recipe:`")
        });
        let mut bases = Vec::new();
        if let Some(Entry { node, .. }) = tree.get("recipe")
            && matches!(node.content, Content::Mapping(_))
        {
            bases.push(Base { tree: node.clone(), file: None });
        }
        match (tree.get("recipe"), tree.get("recipes")) {
            (Some(_), Some(both)) => {
                let at = both.key_span;
                self.findings.error(
                    at,
                    "recipes",
                    "the recipe is written here and in files: give `recipe` or `recipes`",
                );
            }
            (None, None) => {
                self.findings.error(
                    tree.span,
                    "recipe",
                    "the campaign has no recipe: give `recipe`, or `recipes` with files",
                );
            }
            _ => {}
        }
        (tree, bases)
    }

    fn misplaced(&mut self, tree: &mut Node, keys: &[String], message: impl Fn(&str) -> String) {
        for key in keys {
            if let Some(entry) = tree.remove(key) {
                self.findings.error(entry.key_span, key, message(key));
            }
        }
    }

    fn recipe_files(&mut self, tree: &Node, folder: &Path, recipe_keys: &[String], bases: &mut Vec<Base>) {
        let Some(entry) = tree.get("recipes") else { return };
        for (index, item) in entry.node.items().iter().enumerate() {
            let (Some(name), at) = (item.text().filter(|_| !item.is_null()), format!("recipes[{index}]")) else {
                continue;
            };
            if entry.node.items()[..index].iter().any(|earlier| earlier.text() == Some(name)) {
                self.findings.error(item.span, at, format!("`{name}` is given twice: remove one"));
                continue;
            }
            let path = folder.join(name);
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) => {
                    let message =
                        format!("cannot read {}: {error}; paths count from the campaign's folder", path.display());
                    self.findings.error(item.span, at, message);
                    continue;
                }
            };
            let source = self.findings.add_source(path.display().to_string(), text.clone(), false);
            let Some(tree) = self.tree(source) else { continue };
            if !tree.entries().iter().any(|entry| recipe_keys.contains(&entry.key)) {
                let message = format!(
                    "expected a recipe, with {}",
                    super::finding::quoted_list(recipe_keys.iter().map(String::as_str))
                );
                self.findings.error(tree.span, "", message);
                continue;
            }
            bases.push(Base { tree, file: Some((name.to_owned(), text)) });
        }
    }

    fn overrides(
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
        let clients = option("--clients", &overrides.clients);
        for (key, span, text) in numbers {
            self.put(tree, key, span, Node { span, content: Content::Scalar { text, plain: true } });
        }
        if let Some((span, text)) = target {
            let node = Node { span, content: Content::Scalar { text, plain: false } };
            bases.iter_mut().for_each(|base| self.put(&mut base.tree, "configuration.target", span, node.clone()));
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

    fn put(&mut self, tree: &mut Node, path: &str, span: Span, node: Node) {
        if let Err(at) = tree.set(path, span, node) {
            self.findings.error(span, path, format!("`{at}` is not a section: it has no `{path}`"));
        }
    }

    fn axes(&mut self, sweep: &Node) -> Vec<Axis> {
        let mut axes: Vec<Axis> = Vec::new();
        for entry in sweep.entries() {
            let path = &entry.key;
            let at = document::join("sweep", path);
            let inside = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
            if path.split('.').any(str::is_empty) {
                self.findings.error(entry.key_span, at, "expected a dotted path, for example `benchmarks.num_clients`");
            } else if inside(path, "configuration") || path == "configuration" {
                self.findings.error(entry.key_span, at, "a campaign runs on one target: start it once for each");
            } else if let Some(other) = axes.iter().find(|axis| inside(path, &axis.path) || inside(&axis.path, path)) {
                let message = format!("the axis `{}` changes the same field: join the two", other.path);
                self.findings.error(entry.key_span, at, message);
            } else if !entry.node.items().is_empty() {
                axes.push(Axis { path: path.clone(), key_span: entry.key_span, values: entry.node.items().to_vec() });
            }
        }
        axes
    }

    /// Checks every recipe as it stands and at every point.
    fn drafts(&mut self, bases: &[Base], axes: &[Axis], campaign: &CampaignFile) -> Vec<Draft> {
        for base in bases {
            self.base(base, axes);
        }
        let Some(combinations) = self.combinations(axes, campaign, bases.len()) else { return Vec::new() };
        let mut drafts = Vec::new();
        for base in bases {
            let mut typed: BTreeMap<(usize, usize), Value> = BTreeMap::new();
            for combination in &combinations {
                let draft = self.draft(base, axes, combination, bases.len() > 1);
                for (axis, &index) in combination.iter().enumerate() {
                    if let Some(value) = draft.swept.get(&axes[axis].path) {
                        typed.insert((axis, index), value.clone());
                    }
                }
                drafts.push(draft);
            }
            self.repeated(axes, &combinations, &typed);
        }
        drafts
    }

    /// The recipe without the sweep, so that also what every point replaces has been checked.
    fn base(&mut self, base: &Base, axes: &[Axis]) {
        let mut types = types(&base.tree);
        let swept = |section: &str| {
            axes.iter().any(|axis| {
                [section.to_owned(), format!("{section}.type"), format!("{section}.command")].contains(&axis.path)
            })
        };
        if swept("service") {
            types.service = None;
        }
        if swept("client") {
            types.client = None;
        }
        self.checked(&base.tree, types);
    }

    /// For every point, the index of its value on each axis.
    fn combinations(&mut self, axes: &[Axis], campaign: &CampaignFile, recipes: usize) -> Option<Vec<Vec<usize>>> {
        let lengths: Vec<usize> = axes.iter().map(|axis| axis.values.len()).collect();
        let points = match (campaign.combine, lengths.first()) {
            (_, None) => 1,
            (Combine::Zip, Some(&first)) => {
                if let Some(axis) = axes.iter().find(|axis| axis.values.len() != first) {
                    let message = format!(
                        "zipped axes have as many values each: {} here, {first} on `{}`",
                        axis.values.len(),
                        axes[0].path
                    );
                    self.findings.error(axis.key_span, document::join("sweep", &axis.path), message);
                    return None;
                }
                first
            }
            (Combine::Cross, _) => lengths.iter().fold(1_usize, |product, &length| product.saturating_mul(length)),
        };
        let benchmarks = points.saturating_mul(recipes).saturating_mul(campaign.repetitions as usize);
        if benchmarks > MAX_BENCHMARKS {
            let at = axes.first().map_or(Span::default(), |axis| axis.key_span);
            let message = format!(
                "{points} points of {recipes} recipes, {} times each, are more than {MAX_BENCHMARKS} benchmarks: \
                 split the campaign",
                campaign.repetitions
            );
            self.findings.error(at, "sweep", message);
            return None;
        }
        Some((0..points).map(|point| coordinates(point, &lengths, campaign.combine)).collect())
    }

    fn draft(&mut self, base: &Base, axes: &[Axis], combination: &[usize], several: bool) -> Draft {
        let mut tree = base.tree.clone();
        let mut swept = Map::new();
        if let (true, Some((name, _))) = (several, &base.file) {
            swept.insert("recipe".into(), name.as_str().into());
        }
        for (axis, &index) in axes.iter().zip(combination) {
            self.put(&mut tree, &axis.path, axis.key_span, axis.values[index].clone());
        }
        let types = types(&tree);
        let value = self.checked(&tree, types);
        for (axis, &index) in axes.iter().zip(combination) {
            let pointer = format!("/{}", axis.path.replace('.', "/"));
            let value = value.pointer(&pointer).cloned().unwrap_or_else(|| untyped(&axis.values[index]));
            swept.insert(axis.path.clone(), value);
        }
        let recipe = serde_json::from_value(value).unwrap_or_else(|error| {
            self.findings.error(tree.span, "", format!("cannot be read as a recipe: {error}"));
            Recipe::default()
        });
        let recipe_text = base.file.as_ref().map(|(_, text)| text.clone());
        Draft { swept, tree, recipe, types, recipe_text }
    }

    fn checked(&mut self, tree: &Node, types: Types) -> Value {
        let names = (types.service.map(|service| service.name()), types.client.map(|client| client.name()));
        let schema =
            self.schemas.entry(names).or_insert_with(|| Rc::new(schema::recipe(types.service, types.client))).clone();
        check(&mut self.findings, &schema, &schema, tree, "").unwrap_or_default()
    }

    /// Points that differ in nothing would be repetitions under another name.
    fn repeated(&mut self, axes: &[Axis], combinations: &[Vec<usize>], typed: &BTreeMap<(usize, usize), Value>) {
        let mut report = |axis: &Axis, index: usize, message: &str| {
            let path = document::join("sweep", &axis.path);
            self.findings.error(axis.values[index].span, path, message);
        };
        let row = |combination: &[usize]| {
            combination.iter().enumerate().map(|(axis, &index)| typed.get(&(axis, index))).collect::<Vec<_>>()
        };
        let zipped = combinations.len() < axes.iter().map(|axis| axis.values.len()).product();
        if zipped {
            for (number, combination) in combinations.iter().enumerate() {
                if combinations[..number].iter().any(|earlier| row(earlier) == row(combination)) {
                    report(&axes[0], combination[0], "this point is there already: remove it, or raise `repetitions`");
                }
            }
            return;
        }
        for (number, axis) in axes.iter().enumerate() {
            for index in 0..axis.values.len() {
                if (0..index).any(|earlier| typed.get(&(number, earlier)) == typed.get(&(number, index))) {
                    report(axis, index, "the value is on this axis already: remove it, or raise `repetitions`");
                }
            }
        }
    }
}

const EMPTY: &str = "the file is empty: write a recipe (`service:`, `client:`, `benchmarks:`) or a campaign";

/// The index on every axis of the given point; the last axis changes fastest.
fn coordinates(point: usize, lengths: &[usize], combine: Combine) -> Vec<usize> {
    if combine == Combine::Zip {
        return vec![point; lengths.len()];
    }
    let mut rest = point;
    let mut indices: Vec<usize> = lengths
        .iter()
        .rev()
        .map(|length| {
            let index = rest % length;
            rest /= length;
            index
        })
        .collect();
    indices.reverse();
    indices
}

/// The types that the tree of a recipe names; the raw ones where it gives a command and no type.
fn types(tree: &Node) -> Types {
    let text = |path: &str| tree.find(path).filter(|entry| !entry.node.is_null()).and_then(|entry| entry.node.text());
    let service = match (text("service.type"), text("service.command")) {
        (Some(name), _) => service_type(name),
        (None, Some(_)) => Some(RAW_SERVICE),
        (None, None) => None,
    };
    let client = match (text("client.type"), text("client.command")) {
        (Some(name), _) => client_type(name),
        (None, Some(_)) => Some(RAW_CLIENT),
        (None, None) => None,
    };
    Types { service, client }
}

fn keys(schema: &Value) -> Vec<String> {
    schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

fn without(mut value: Value, key: &str) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn crossed_axes_give_every_combination_once(lengths in prop::collection::vec(1_usize..5, 0..4)) {
            let points: usize = lengths.iter().product();
            let all: Vec<Vec<usize>> = (0..points).map(|point| coordinates(point, &lengths, Combine::Cross)).collect();
            prop_assert!(all.is_sorted());
            for (one, next) in all.iter().zip(all.iter().skip(1)) {
                prop_assert_ne!(one, next);
            }
            for point in &all {
                prop_assert_eq!(point.len(), lengths.len());
                prop_assert!(point.iter().zip(&lengths).all(|(index, length)| index < length));
            }
        }
    }
}
