//! Hostile text in every field of a recipe arrives as it is, or is refused before anything starts.

use std::collections::BTreeSet;

use archive::Status;
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// What no part of the way may take for anything but text.
const HOSTILE: &str =
    "a 'b' \"c\" $(touch owned) `touch owned`; touch owned | & > x \\ é -n --\n#SBATCH --uid=0\t$HOME %j * ~";

#[test]
fn hostile_text_arrives_as_it_is_or_is_refused() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    let text = serde_json::to_string(HOSTILE).expect("text");
    let recipe = |more: &str| {
        format!(
            "title: {text}\nrecipe:\n  configuration: {{target: testbed}}\n  service:\n    env: {{FROM_SERVICE: {text}}}\n    \
             pre_run_commands: ['printf \"%s\" \"$FROM_SERVICE\" >&2']\n    \
             command: printf '%s' \"$FROM_SERVICE\" >&2; exec sleep 100\n  \
             client:\n    env: {{FROM_CLIENT: {text}}}\n    command: printf '%s' \"$FROM_CLIENT\"\n{more}  benchmarks: {{calibration: 0}}\n"
        )
    };
    project.write("fine.yaml", &recipe(""));
    project.runner(&["run", "fine.yaml"]).code(0);
    let run = project.run(project.ids()[0]);
    assert_eq!(run.campaign.title.as_deref(), Some(HOSTILE));
    assert_eq!(run.recipe.resolved["client"]["env"]["FROM_CLIENT"], HOSTILE);
    let log = |name: &str| {
        let path = project.archive().folder().join(format!("{}/logs/{name}", run.benchmark_id));
        std::fs::read_to_string(path).expect("a log")
    };
    assert_eq!(log("service.log"), HOSTILE.repeat(2));
    assert_eq!(log("client-1.log"), HOSTILE);
    assert_eq!(cluster.login("find . -name owned"), "");
}

/// The fields of a recipe that may be text, by their paths, as `runner schema` has them: `client.env.*`, `service.modules.[]`.
fn fields_of_text(node: &Value, path: &str, found: &mut BTreeSet<String>) {
    if !node.is_object() {
        return;
    }
    let kinds = match &node["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    if kinds.contains(&json!("string")) && !path.is_empty() {
        found.insert(path.to_owned());
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, node) in node["properties"].as_object().into_iter().flatten() {
        fields_of_text(node, &below(key), found);
    }
    for (name, key) in [("items", "[]"), ("additionalProperties", "*")] {
        fields_of_text(&node[name], &below(key), found);
    }
    for name in ["anyOf", "oneOf", "allOf"] {
        node[name].as_array().into_iter().flatten().for_each(|node| fields_of_text(node, path, found));
    }
}

/// Puts `text` into a field.
fn put(recipe: &mut Value, path: &str, text: &str) {
    let mut place = recipe;
    let mut words = path.split('.').peekable();
    while let Some(word) = words.next() {
        place = match (word, words.peek()) {
            ("[]", _) => place,
            (word, Some(&"[]")) => {
                place[word] = json!([text]);
                return;
            }
            ("*", _) => &mut place["FROM_RECIPE"],
            (word, _) => &mut place[word],
        };
    }
    *place = json!(text);
}

#[test]
fn hostile_text_in_any_field_is_data_or_refused_before_anything_starts() {
    let cluster = Cluster::shared();
    let project = cluster.project("");
    let schema: Value = serde_json::from_str(&project.runner(&["schema"]).stdout()).expect("JSON");
    let mut fields = BTreeSet::new();
    fields_of_text(&schema["$defs"]["recipe"], "", &mut fields);
    // What types read of their own settings.
    fields
        .extend(["service.settings.password", "service.settings.data_dir", "service.settings.save"].map(str::to_owned));
    assert!(
        fields.len() > 40 && fields.contains("client.env.*") && fields.contains("service.modules.[]"),
        "{fields:?}"
    );
    let base = || {
        json!({"configuration": {"target": "testbed"}, "service": {"type": "redis", "exclude_nodes": "mel0002,mel0003"},
            "client": {"type": "redis_stress", "exclude_nodes": "mel0001"},
            "benchmarks": {"duration": "500ms", "calibration": 0}})
    };
    // Commands are shell by their nature: what they do is what they say.
    let shell = ["service.command", "client.command", "service.pre_run_commands.[]"];
    // Data of programs: they arrive as they are.
    let free = [
        "client.env.*",
        "client.environment.*",
        "client.modules.[]",
        "service.env.*",
        "service.environment.*",
        "service.modules.[]",
        "service.settings.password",
        "service.settings.data_dir",
        "service.settings.save",
        // Of containers, which are none here.
        "client.volumes.[]",
        "service.volumes.[]",
    ];
    let mut taken = BTreeSet::new();
    for field in fields.iter().filter(|field| !shell.contains(&field.as_str())) {
        for text in [HOSTILE, "-rf --wrap=id $(touch owned)"] {
            let mut recipe = base();
            put(&mut recipe, field, text);
            project.write("recipe.yaml", &recipe.to_string());
            let mut said = project.runner(&["plan", "recipe.yaml"]);
            if said.exit_code() == Some(0) && free.contains(&field.as_str()) {
                taken.insert(field.as_str());
                continue;
            }
            if said.exit_code() == Some(0) {
                // What the target alone can tell.
                said = project.runner(&["run", "recipe.yaml"]);
            }
            assert_eq!(said.exit_code(), Some(2), "{field} {text:?}: {}{}", said.stdout(), said.stderr());
        }
    }
    assert_eq!(project.ids(), [], "refused before anything starts");
    assert!(
        ["client.env.*", "service.env.*", "service.modules.[]"].iter().all(|field| taken.contains(field)),
        "{taken:?}"
    );
    let mut recipe = base();
    put(&mut recipe, "service.modules.[]", HOSTILE);
    project.write("modules.yaml", &recipe.to_string());
    project.runner(&["run", "modules.yaml"]).code(1);
    let run = project.run(project.ids()[0]);
    let reason = &run.failure.as_ref().expect("a reason").reason;
    assert!(
        run.status == Status::Failed && reason.contains(&format!("the module `{HOSTILE}` cannot be loaded")),
        "{reason}"
    );
    project.assert_in_order();
    assert_eq!(cluster.login("find . -name owned"), "");
    assert!(!project.root().join("owned").exists());
}
