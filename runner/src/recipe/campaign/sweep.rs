//! The axes of a campaign, and the recipe at every one of their points.

use std::{collections::BTreeMap, rc::Rc};

use serde_json::{Map, Value};

use super::{Base, Draft, Reader, Types, types};
use crate::recipe::{
    CampaignFile, Combine, Recipe,
    check::{check, untyped},
    document::{self, Node},
    finding::Span,
    schema,
};

/// Most benchmarks of one campaign, repetitions counted.
pub const MAX_BENCHMARKS: usize = 10_000;

/// One axis of the sweep.
pub(super) struct Axis {
    path: String,
    key_span: Span,
    values: Vec<Node>,
}

impl Reader {
    pub(super) fn axes(&mut self, sweep: &Node) -> Vec<Axis> {
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
    pub(super) fn drafts(&mut self, bases: &[Base], axes: &[Axis], campaign: &CampaignFile) -> Vec<Draft> {
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
            let at = axes.first().map_or(Span { line: 1, column: 1, width: 1, source: 0 }, |axis| axis.key_span);
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
