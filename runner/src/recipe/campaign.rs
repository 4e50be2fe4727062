//! A file and the command line → the recipes of all points, checked one by one.
//!
//! A recipe file is a campaign of one point. Overrides and swept values are put into the tree of the recipe
//! where a person could have written them, so they are checked alike and reported where they stand.

use std::{collections::BTreeMap, fs, path::Path, rc::Rc};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::{
    CampaignFile, Recipe,
    check::check,
    document::{self, Content, Entry, Node},
    finding::{Findings, Span, did_you_mean},
    schema,
};
use crate::services::{ClientType, RAW_CLIENT, RAW_SERVICE, ServiceType, client_type, service_type};

mod overrides;
mod search;
mod sweep;

pub use overrides::Overrides;
pub use search::{SearchKeys, Searched};
pub use sweep::MAX_BENCHMARKS;

/// A campaign as far as it could be read; without errors among the findings, it is whole.
#[derive(Debug)]
pub struct Reading {
    pub findings: Findings,
    /// The file as named by the caller, and its text.
    pub file: String,
    pub text: String,
    pub campaign: CampaignFile,
    /// The load that is searched; the drafts have its smallest value.
    pub searched: Option<Searched>,
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
            let campaign = CampaignFile::default();
            return Reading { findings, file, text, campaign, searched: None, drafts: Vec::new() };
        }
    };
    let source = reader.findings.add_source(&file, text.clone(), false);
    let (campaign, searched, drafts) = match reader.tree(source) {
        Some(tree) => reader.campaign(tree, path.parent().unwrap_or(Path::new("")), overrides),
        None => Default::default(),
    };
    Reading { findings: reader.findings, file, text, campaign, searched, drafts }
}

/// A recipe before the sweep.
struct Base {
    tree: Node,
    /// Path as the campaign gives it, and the file's text.
    file: Option<(String, String)>,
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

    fn campaign(
        &mut self,
        tree: Node,
        folder: &Path,
        overrides: &Overrides,
    ) -> (CampaignFile, Option<Searched>, Vec<Draft>) {
        let recipe_keys = keys(&schema::recipe(None, None));
        let campaign_schema = schema::campaign();
        let (mut tree, mut bases) = self.split(tree, &recipe_keys, &keys(&campaign_schema));
        self.recipe_files(&tree, folder, &recipe_keys, &mut bases);
        let searched = self.searched(&mut tree, overrides);
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
        (campaign, searched, drafts)
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
            (None, Some(files)) if files.node.items().is_empty() && !files.node.is_null() => {
                self.findings.error(files.key_span, "recipes", "the list is empty: name at least one recipe file");
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
}

const EMPTY: &str = "the file is empty: write a recipe (`service:`, `client:`, `benchmarks:`) or a campaign";

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
