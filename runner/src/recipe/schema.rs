//! The JSON Schema of recipes and campaigns, generated from the Rust types and from each type's settings.
//!
//! One description, two uses: [`recipe`] and [`campaign`] are what files are checked against, [`published`] is
//! what `runner schema` prints for editors. The former use only keywords and formats that `check.rs` knows; a test
//! has the list.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{CampaignFile, Recipe, target_file::SlurmTarget};
use crate::services::{ClientType, RAW_CLIENT, RAW_SERVICE, SERVICES, ServiceType};

/// Keyword of a section's schema: keys that are not taken there, each with what is to be done in its place.
pub const INSTEAD: &str = "x-instead";

/// Every client type, once, by name.
pub fn client_types() -> Vec<&'static dyn ClientType> {
    let mut clients: Vec<&'static dyn ClientType> =
        SERVICES.iter().flat_map(|service| service.clients()).copied().collect();
    clients.sort_by_key(|client| client.name());
    clients.dedup_by_key(|client| client.name());
    clients
}

/// Names of the service types, alphabetically.
pub fn service_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = SERVICES.iter().map(|service| service.name()).collect();
    names.sort_unstable();
    names
}

/// Schema of a recipe whose `settings` are those of the given types; without a type, anything goes there.
pub fn recipe(service: Option<&dyn ServiceType>, client: Option<&dyn ClientType>) -> Value {
    let mut schema = generate::<Recipe>();
    schema["properties"]["service"]["properties"]["type"]["enum"] = json!(service_names());
    let clients: Vec<&str> = client_types().iter().map(|client| client.name()).collect();
    schema["properties"]["client"]["properties"]["type"]["enum"] = json!(clients);
    if let Some(service) = service {
        put_settings(&mut schema["properties"]["service"], service.settings_schema().into());
    }
    if let Some(client) = client {
        put_settings(&mut schema["properties"]["client"], client.settings_schema().into());
    }
    schema
}

/// The types that have a setting of this name, for `service` or `client`.
pub fn types_with_setting(section: &str, key: &str) -> Vec<&'static str> {
    let has = |schema: &schemars::Schema| schema.get("properties").is_some_and(|settings| settings.get(key).is_some());
    match section {
        "service" => {
            let types = SERVICES.iter().filter(|service| has(&service.settings_schema()));
            types.map(|service| service.name()).collect()
        }
        _ => {
            let types = client_types().into_iter().filter(|client| has(&client.settings_schema()));
            types.map(|client| client.name()).collect()
        }
    }
}

fn put_settings(section: &mut Value, settings: Value) {
    let description = section["properties"]["settings"]["description"].take();
    let mut settings = plain(settings);
    settings["description"] = description;
    section["properties"]["settings"] = settings;
}

/// Schema of a campaign file; its `recipe` and `sweep` are checked on their own.
pub fn campaign() -> Value {
    let mut schema = generate::<CampaignFile>();
    schema["properties"]["recipe"] = json!({ "type": "object", "additionalProperties": true });
    schema
}

/// Schema of a target's file.
pub fn target() -> Value {
    generate::<SlurmTarget>()
}

/// Schema of a search, which may stand in place of the values of a load.
pub fn search() -> Value {
    generate::<super::campaign::SearchKeys>()
}

/// The default of every setting in a settings schema that has one.
pub fn default_settings(schema: schemars::Schema) -> Map<String, Value> {
    let schema = plain(schema.into());
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone()))).collect()
}

fn generate<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    plain(generator.into_root_schema_for::<T>().into())
}

/// The schema in few keywords: references inlined, `null` taken out (a key is left out
/// rather than empty), Rust's number formats as bounds, and no empty text unless that is the default.
fn plain(mut schema: Value) -> Value {
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("$defs");
    }
    simplify(&mut schema, &definitions, false);
    schema
}

fn simplify(schema: &mut Value, definitions: &Value, map_value: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(reference)) = object.remove("$ref") {
        let name = reference.rsplit('/').next().unwrap_or_default();
        if let Some(definition) = definitions[name].as_object() {
            for (key, value) in definition {
                object.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if let Some(Value::Array(choices)) = object.remove("anyOf") {
        // An optional value that is no plain type: itself, or null.
        for choice in choices {
            if choice != json!({ "type": "null" })
                && let Value::Object(choice) = choice
            {
                object.extend(choice);
            }
        }
        return simplify(schema, definitions, map_value);
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.remove("oneOf") {
        let names = choices.iter().flat_map(|choice| match (&choice["const"], &choice["enum"]) {
            (Value::Null, Value::Array(names)) => names.clone(),
            (name, _) => vec![name.clone()],
        });
        let names: Vec<Value> = names.collect();
        object.insert("enum".into(), json!(names));
        object.insert("type".into(), json!("string"));
    }
    if let Some(Value::Array(names)) = object.get_mut("enum") {
        names.retain(|name| !name.is_null());
    }
    if object.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
        object.remove("default");
    }
    let bounds = match object.get("format").and_then(Value::as_str) {
        Some("uint8") => Some(json!(u8::MAX)),
        Some("uint16") => Some(json!(u16::MAX)),
        Some("uint32") => Some(json!(u32::MAX)),
        Some("uint64" | "uint") => Some(json!(u64::MAX)),
        Some("double" | "float") => Some(Value::Null),
        _ => None,
    };
    if let Some(maximum) = bounds {
        object.remove("format");
        if !maximum.is_null() {
            object.entry("maximum").or_insert(maximum);
            object.entry("minimum").or_insert(json!(0));
        }
    }
    let may_be_empty = map_value || object.get("default") == Some(&json!(""));
    if object.get("type") == Some(&json!("string")) && !object.contains_key("enum") && !may_be_empty {
        object.entry("minLength").or_insert(json!(1));
    }
    for child in ["items", "additionalProperties"] {
        if let Some(below) = object.get_mut(child) {
            simplify(below, definitions, child == "additionalProperties");
        }
    }
    for below in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        simplify(below.1, definitions, false);
    }
}

/// What `runner schema` prints: a JSON Schema (2020-12) of everything that may be written, for editors.
pub fn published() -> Value {
    let mut recipe = recipe(None, None);
    let services: Vec<(&str, Value)> =
        SERVICES.iter().map(|service| (service.name(), service.settings_schema().into())).collect();
    let clients: Vec<(&str, Value)> =
        client_types().iter().map(|client| (client.name(), client.settings_schema().into())).collect();
    settings_by_type(&mut recipe["properties"]["service"], services, RAW_SERVICE.settings_schema().into());
    settings_by_type(&mut recipe["properties"]["client"], clients, RAW_CLIENT.settings_schema().into());
    let mut campaign = campaign();
    campaign["properties"]["recipe"] = json!({ "$ref": "#/$defs/recipe" });
    let mut search = search();
    for_editors(&mut search);
    for (load, _) in analysis::saturation::LOAD_AXES {
        let values = campaign["properties"]["sweep"]["additionalProperties"].clone();
        campaign["properties"]["sweep"]["properties"][load] = json!({ "anyOf": [values, { "const": "auto" }, search] });
    }
    for schema in [&mut recipe, &mut campaign] {
        for_editors(schema);
    }
    let sections: Vec<Value> = recipe["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(section, _)| json!({ "required": [section] }))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe or campaign",
        "type": "object",
        "if": { "anyOf": sections },
        "then": { "$ref": "#/$defs/recipe" },
        "else": { "$ref": "#/$defs/campaign" },
        "$defs": { "recipe": recipe, "campaign": campaign },
    })
}

/// `settings` by the value of `type`; without one, by `raw`.
fn settings_by_type(section: &mut Value, types: Vec<(&str, Value)>, raw: Value) {
    let mut rules: Vec<Value> = types
        .into_iter()
        .map(|(name, settings)| {
            json!({
                "if": { "properties": { "type": { "const": name } }, "required": ["type"] },
                "then": { "properties": { "settings": plain(settings) } },
            })
        })
        .collect();
    rules.push(json!({
        "if": { "not": { "required": ["type"] } },
        "then": { "properties": { "settings": plain(raw) } },
    }));
    section["allOf"] = json!(rules);
}

/// Turns the notations of this project into what any JSON Schema validator knows.
fn for_editors(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(for_editors),
        Value::Object(object) => {
            let pattern = match object.get("format").and_then(Value::as_str) {
                Some("duration") => Some(r"^([0-9]+(\.[0-9]+)?(us|ms|s|m|h))+$|^[0-9]+(\.[0-9]+)?$"),
                Some("slurm-time") => Some(r"^([0-9]+-)?[0-9]+(:[0-9]{1,2}){0,2}$"),
                Some("slurm-memory") => Some(r"^[1-9][0-9]*[KMGT]?$"),
                Some("name") => Some(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"),
                Some("volume") => Some(r"^[^:]+(:[^:]+(:[a-z,]+)?)?$"),
                Some("endpoint") => {
                    Some(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._${}-]+):([0-9]+|\$\{[A-Za-z_][A-Za-z0-9_]*\})$")
                }
                Some("slo") => {
                    object.insert("propertyNames".into(), json!({ "pattern": analysis::slo::METRIC_PATTERN }));
                    object.insert("additionalProperties".into(), json!({ "type": ["number", "string"] }));
                    None
                }
                Some("thresholds") => {
                    object.insert("additionalProperties".into(), json!({ "type": "number", "minimum": 0 }));
                    None
                }
                _ => None,
            };
            if object.get("type").is_some_and(Value::is_string) {
                object.remove("format");
            }
            if let Some(pattern) = pattern {
                object.insert("pattern".into(), json!(pattern));
                object.insert("type".into(), json!(["number", "string"]));
            } else if object.get("type") == Some(&json!("string")) && !object.contains_key("enum") {
                // A number without quotes is taken as the text it is written as.
                object.insert("type".into(), json!(["string", "number"]));
            }
            object.iter_mut().for_each(|(_, below)| for_editors(below));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keywords that the schemas of this module may use; the check knows what each means.
    const KEYWORDS: &[&str] = &[
        INSTEAD,
        "title",
        "description",
        "default",
        "type",
        "format",
        "enum",
        "properties",
        "additionalProperties",
        "propertyNames",
        "items",
        "minItems",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
    ];

    /// Notations of texts and numbers, as values of `format`.
    const FORMATS: &[&str] =
        &["duration", "slurm-time", "slurm-memory", "endpoint", "name", "volume", "slo", "thresholds"];

    fn visit(schema: &Value, path: &str, seen: &mut dyn FnMut(&str, &Value)) {
        seen(path, schema);
        for child in ["items", "additionalProperties"] {
            if schema[child].is_object() {
                visit(&schema[child], &format!("{path}[]"), seen);
            }
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            visit(below, &format!("{path}.{key}"), seen);
        }
    }

    fn all() -> Vec<Value> {
        let mut all = vec![campaign(), search()];
        for service in SERVICES.iter().chain([&RAW_SERVICE]) {
            for client in client_types().iter().chain([&RAW_CLIENT]) {
                all.push(recipe(Some(*service), Some(*client)));
            }
        }
        all
    }

    #[test]
    fn every_keyword_is_one_that_the_check_knows() {
        for schema in all() {
            visit(&schema, "", &mut |path, schema| {
                for (keyword, value) in schema.as_object().expect("an object") {
                    assert!(KEYWORDS.contains(&keyword.as_str()), "{path}: {keyword}: {value}");
                }
                if let Some(format) = schema["format"].as_str() {
                    assert!(FORMATS.contains(&format), "{path}: {format}");
                }
                if let Some(pattern) = schema["pattern"].as_str() {
                    regex_lite::Regex::new(pattern).expect(path);
                }
                assert!(schema["type"].is_string() || path.is_empty() || path.contains("sweep"), "{path}: {schema}");
            });
        }
    }

    #[test]
    fn no_section_takes_unknown_keys() {
        for schema in all() {
            visit(&schema, "", &mut |path, schema| {
                let open = [".recipe", ".sweep", ".slo", ".thresholds", ".env", ".environment", ".headers"];
                if schema["type"] == "object" && !open.iter().any(|end| path.ends_with(end)) {
                    assert_eq!(schema["additionalProperties"], json!(false), "{path}");
                }
            });
        }
    }

    #[test]
    fn settings_have_their_defaults() {
        let settings = default_settings(crate::services::service_type("redis").expect("redis").settings_schema());
        assert_eq!(settings.get("maxmemory_policy"), Some(&json!("noeviction")));
        assert_eq!(settings.get("data_dir"), None);
    }
}
