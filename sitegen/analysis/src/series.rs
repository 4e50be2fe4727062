//! Benchmarks → series: what differs along one axis only, with the rest of the configuration the same.
//!
//! The configuration is what was swept, the resolved recipe, and what is known of software and machines. How long or
//! how often it was measured is no part of it, and neither are limits and names of clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use archive::Run;
use serde_json::{Map, Value};

use crate::{
    compare::differences::leaves,
    saturation::{LOAD_AXES, load_of},
};

/// What the points of a series differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along<'a> {
    /// The load, swept or not.
    Load,
    /// The swept path, where the load is the same throughout.
    Swept(&'a str),
}

/// Points with one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What tells it from the other series: `pipeline = 4, version = 7.2`; empty when there is one.
    pub label: String,
    /// What its load counts: `clients`.
    pub unit: &'static str,
    /// In order of first appearance; never empty.
    pub points: Vec<Point>,
}

/// Repetitions of one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub load: f64,
    /// Indices into what was asked about; never empty.
    pub members: Vec<usize>,
}

/// Paths of a resolved recipe that say how long, how often or under which name something is measured, not what.
const NOT_CONFIGURATION: [&str; 14] = [
    "configuration",
    "client.name",
    "client.settings.num_requests",
    "client.settings.warmup_delay",
    "benchmarks.client_delay",
    "benchmarks.duration",
    "benchmarks.metrics",
    "benchmarks.num_requests",
    "benchmarks.precision",
    "benchmarks.slo",
    "benchmarks.timeout",
    "benchmarks.warmup",
    "benchmarks.warmup_requests",
    "service.ready_timeout",
];

/// The recipe file of a campaign of several: a name for what the resolved recipe says.
const RECIPE: &str = "recipe";

/// Letters of a value in a label.
const LABEL_CHARS: usize = 40;

type Facts = BTreeMap<String, String>;

/// A benchmark as grouping sees it.
struct Member<'a> {
    run: &'a Run,
    load: f64,
    unit: &'static str,
    /// Swept values beside the axis.
    swept: Map<String, Value>,
    /// Of the resolved recipe, without what the axis or the load sets.
    facts: Facts,
}

/// A series in the making.
struct Group {
    first: usize,
    /// What is known of versions and machines; what some benchmark does not know, it does not contradict.
    environment: BTreeMap<String, BTreeSet<String>>,
    points: Vec<(Value, Point)>,
}

/// Puts benchmarks into series. Two points of one execution are never repetitions of each other: where nothing else
/// tells them apart, the second goes to a series of its own.
pub fn series(runs: &[&Run], along: Along<'_>) -> Vec<Series> {
    let members = members(runs, along);
    let mut environments: BTreeMap<(&str, String), BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let keys: Vec<String> = members.iter().map(Member::key).collect();
    for (member, key) in members.iter().zip(&keys) {
        let known = environments.entry((&member.run.campaign.execution, key.clone())).or_default();
        environment(member.run).into_iter().for_each(|(name, value)| _ = known.entry(name).or_default().insert(value));
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut of_key: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, (member, key)) in members.iter().zip(&keys).enumerate() {
        let own = &environments[&(member.run.campaign.execution.as_str(), key.clone())];
        let place = member.place(along);
        let fits = |group: &Group| {
            let agrees = |(name, values): (&String, &BTreeSet<String>)| {
                group.environment.get(name).is_none_or(|known| !known.is_disjoint(values))
            };
            let is_other_point = |other: &usize| {
                let (a, b) = (&members[*other].run.campaign, &member.run.campaign);
                a.execution == b.execution && a.point != b.point
            };
            let at = group.points.iter().find(|(known, _)| *known == place);
            own.iter().all(agrees) && !at.is_some_and(|(_, point)| point.members.iter().any(is_other_point))
        };
        let alike = of_key.entry(key).or_default();
        let known = alike.iter().copied().find(|place| fits(&groups[*place])).unwrap_or_else(|| {
            groups.push(Group { first: index, environment: BTreeMap::new(), points: Vec::new() });
            alike.push(groups.len() - 1);
            groups.len() - 1
        });
        let group = &mut groups[known];
        for (name, values) in own {
            group.environment.entry(name.clone()).or_default().extend(values.iter().cloned());
        }
        match group.points.iter_mut().find(|(known, _)| *known == place) {
            Some((_, point)) => point.members.push(index),
            None => group.points.push((place, Point { load: member.load, members: vec![index] })),
        }
    }
    let labels = labels(&groups, &members);
    let finished = groups.into_iter().zip(labels).map(|(group, label)| Series {
        label,
        unit: members[group.first].unit,
        points: group.points.into_iter().map(|(_, point)| point).collect(),
    });
    finished.collect()
}

/// The path that sets a load of the unit.
pub fn load_path(unit: &str) -> &'static str {
    LOAD_AXES.iter().find(|(_, name)| *name == unit).unwrap_or(&LOAD_AXES[0]).0
}

fn members<'a>(runs: &[&'a Run], along: Along<'_>) -> Vec<Member<'a>> {
    let mut members: Vec<Member<'a>> = runs
        .iter()
        .map(|run| {
            let (load, unit) = load_of(run);
            let mut swept = run.campaign.swept.clone();
            if let Along::Swept(path) = along {
                swept.shift_remove(path);
            }
            without(&mut swept, load_path(unit));
            let all: Facts = leaves(&run.recipe.resolved).into_iter().collect();
            let mut facts = all;
            facts.retain(|path, _| {
                !is_below(path, load_path(unit)) && !NOT_CONFIGURATION.iter().any(|p| is_below(path, p))
            });
            Member { run, load, unit, swept, facts }
        })
        .collect();
    if along == Along::Load {
        // `combine: zip` gives larger loads more requests.
        let follow: Vec<_> = NOT_CONFIGURATION.into_iter().filter(|path| follows_load(&members, path)).collect();
        for path in follow {
            members.iter_mut().for_each(|member| _ = member.swept.shift_remove(path));
        }
    }
    let follow = following(&members);
    for member in &mut members {
        member.facts.retain(|path, _| !follow.contains(path));
        member.swept.shift_remove(RECIPE);
    }
    members
}

/// Removes the value at the path, also from a whole section that was swept.
fn without(swept: &mut Map<String, Value>, path: &str) {
    swept.shift_remove(path);
    for (section, value) in swept {
        if let Some(rest) = path.strip_prefix(section.as_str()).and_then(|rest| rest.strip_prefix('.'))
            && let Value::Object(fields) = value
        {
            fields.shift_remove(rest);
        }
    }
}

/// Whether each load of an execution has one value of the path, and not all loads the same.
fn follows_load(members: &[Member<'_>], path: &str) -> bool {
    let mut values: BTreeMap<(&str, u64), &Value> = BTreeMap::new();
    let swept = members.iter().filter_map(|member| Some((member, member.swept.get(path)?)));
    for (member, value) in swept {
        let known = values.entry((&member.run.campaign.execution, member.load.to_bits())).or_insert(value);
        if *known != value {
            return false;
        }
    }
    values.values().any(|value| Some(value) != values.values().next())
}

/// What differs within an execution where nothing does that was swept beside the axis: it follows from the axis.
fn following(members: &[Member<'_>]) -> BTreeSet<String> {
    let mut first: BTreeMap<(&str, String), &Facts> = BTreeMap::new();
    let mut follow = BTreeSet::new();
    for member in members {
        let key = (member.run.campaign.execution.as_str(), Value::Object(member.swept.clone()).to_string());
        let known = first.entry(key).or_insert(&member.facts);
        let paths = known.keys().chain(member.facts.keys());
        follow.extend(paths.filter(|path| known.get(*path) != member.facts.get(*path)).cloned());
    }
    follow
}

fn is_below(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl Member<'_> {
    fn key(&self) -> String {
        let service = &self.run.service;
        let mut swept = self.swept.clone();
        swept.sort_keys();
        let head = (&service.name, &service.kind, &self.run.client.kind, self.unit);
        format!("{head:?} {} {:?}", Value::Object(swept), self.facts)
    }

    fn place(&self, along: Along<'_>) -> Value {
        match along {
            Along::Load => Value::from(self.load),
            Along::Swept(path) => self.run.campaign.swept.get(path).cloned().unwrap_or_default(),
        }
    }

    /// What may tell its series from others, the most telling first.
    fn names(&self) -> Vec<(String, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
            other => other.to_string(),
        };
        let mut names = vec![(String::new(), self.run.service.name.clone())];
        names.extend(self.swept.iter().map(|(path, value)| (path.clone(), text(value))));
        names.push(("load in".to_owned(), self.unit.to_owned()));
        names.extend(environment(self.run));
        names.extend(self.facts.clone());
        names
    }
}

/// What is known of software and machines.
fn environment(run: &Run) -> Vec<(String, String)> {
    let service = &run.service;
    let short = |digest: &String| digest.chars().take(12).collect::<String>();
    let mut facts: Vec<(String, String)> = vec![("target.kind".to_owned(), run.target.kind.clone())];
    let mut add = |name: String, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("service.version".to_owned(), service.version.clone());
    add("service.image".to_owned(), service.image.as_ref().and_then(|image| image.digest.as_ref().map(short)));
    add("service.program".to_owned(), service.program_sha256.as_ref().map(short));
    for node in &run.nodes {
        let roles = node.roles.join("+");
        add(format!("{roles} CPU"), node.cpu_model.clone());
        add(format!("{roles} CPUs"), node.cpus.map(|cpus| cpus.to_string()));
        let gibibytes = |bytes: u64| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30));
        add(format!("{roles} memory"), node.memory_total_bytes.map(gibibytes));
    }
    facts
}

/// As few facts as tell the series apart; a number where none does.
fn labels(groups: &[Group], members: &[Member<'_>]) -> Vec<String> {
    if groups.len() < 2 {
        return groups.iter().map(|_| String::new()).collect();
    }
    let named: Vec<Vec<(String, String)>> = groups.iter().map(|group| members[group.first].names()).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in named.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut labels = vec![String::new(); groups.len()];
    for name in names {
        let of =
            |facts: &[(String, String)]| facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let part = |facts: &Vec<(String, String)>| {
            let value: String = of(facts).unwrap_or_else(|| "–".to_owned());
            let value = match value.char_indices().nth(LABEL_CHARS) {
                Some((end, _)) => format!("{}…", &value[..end]),
                None => value,
            };
            match name.rsplit('.').next().unwrap_or_default() {
                "" => value,
                name => format!("{name} = {value}"),
            }
        };
        let longer: Vec<String> = labels
            .iter()
            .zip(&named)
            .map(|(label, facts)| {
                [label.clone(), part(facts)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
            })
            .collect();
        let distinct = |labels: &[String]| labels.iter().collect::<BTreeSet<_>>().len();
        if distinct(&longer) > distinct(&labels) {
            labels = longer;
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for label in &mut labels {
        let count = seen.entry(label.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            *label = format!("{label} ({count})").trim().to_owned();
        }
    }
    labels
}

#[cfg(test)]
mod tests;
