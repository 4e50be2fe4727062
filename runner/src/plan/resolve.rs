//! A recipe as written → the same recipe with nothing left open, and its hash.
//!
//! Resolving is idempotent: a resolved recipe, read again, resolves to itself. `${NAME}` stays as it is.

use serde_json::{Map, Value};

use crate::{
    recipe::{LoadModel, Recipe, campaign::Types, rules::OTHER_NAMES, schema},
    services::RAW_CLIENT,
};

/// A recipe with every default filled in.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub recipe: Recipe,
    /// `recipe` as JSON, without the keys that have no value.
    pub value: Value,
    /// sha256 over [`canonical`] JSON of `value`, in lower-case hexadecimal.
    pub hash: String,
}

/// Fills every default in: names, image, the types' settings, the campaign's limits. One spelling is kept of
/// what has two: `environment` becomes `env`, `settings.port` becomes `port`, `transactions` `num_requests`, and
/// [`OTHER_NAMES`].
pub fn resolve(written: &Recipe, types: Types, campaign_slo: &Map<String, Value>) -> serde_json::Result<Resolved> {
    let mut recipe = written.clone();
    let mut slo = campaign_slo.clone();
    slo.extend(std::mem::take(&mut recipe.benchmarks.slo));
    slo.sort_keys();
    recipe.benchmarks.slo = slo;
    if let Some(clients) = recipe.benchmarks.load.most_clients() {
        recipe.benchmarks.num_clients = clients.max(1);
    }
    resolve_service(&mut recipe, types);
    resolve_client(&mut recipe, types);
    let value = without_nulls(serde_json::to_value(&recipe)?);
    // The typed recipe is read back, so that what runs is what the hash is of.
    let recipe = serde_json::from_value(value.clone())?;
    let hash = archive::sha256_hex(canonical(&value).as_bytes());
    Ok(Resolved { recipe, value, hash })
}

fn resolve_service(recipe: &mut Recipe, types: Types) {
    let service = &mut recipe.service;
    let own = std::mem::take(&mut service.environment);
    service.env.extend(own);
    for (other, name) in OTHER_NAMES {
        if let Some(value) = service.settings.remove(other) {
            service.settings.insert(name.to_owned(), value);
        }
    }
    if let Some(kind) = types.service {
        service.settings = filled(kind.settings_schema(), std::mem::take(&mut service.settings));
        if service.image.is_none() && service.endpoint.is_none() {
            service.image = kind.default_image().map(str::to_owned);
        }
        service.name.get_or_insert_with(|| kind.name().to_owned());
    }
    if let Some(port) = service.settings.remove("port").as_ref().and_then(Value::as_u64) {
        service.port = service.port.or(u16::try_from(port).ok());
    }
}

fn resolve_client(recipe: &mut Recipe, types: Types) {
    let client = &mut recipe.client;
    let own = std::mem::take(&mut client.environment);
    client.env.extend(own);
    if client.name.is_none() {
        client.name = recipe.service.name.as_ref().map(|service| format!("client-{service}"));
    }
    if let Some(transactions) = client.settings.remove("transactions") {
        client.settings.insert("num_requests".into(), transactions);
    }
    let kind = match types.client {
        // A command wins over the type: of the settings, those of commands are left.
        Some(_) if client.command.is_some() => RAW_CLIENT,
        Some(kind) => kind,
        None => return,
    };
    let schema = kind.settings_schema();
    let known = |key: &str| schema.get("properties").is_some_and(|properties| properties.get(key).is_some());
    let mut settings = std::mem::take(&mut client.settings);
    settings.retain(|key, _| known(key));
    if known("model")
        && !settings.contains_key("model")
        && let Some(model) =
            ["served_model_name", "model"].into_iter().find_map(|name| recipe.service.settings.get(name))
    {
        settings.insert("model".into(), model.clone());
    }
    // Load that ends by time has no point at which writing would turn into reading, and a schedule does not wait there.
    let benchmarks = &recipe.benchmarks;
    let is_mixed = benchmarks.duration.is_some()
        || !benchmarks.load.steps.is_empty()
        || benchmarks.precision.is_some()
        || benchmarks.load.model != LoadModel::Closed;
    if known("operation_mix") && !settings.contains_key("operation_mix") && is_mixed {
        settings.insert("operation_mix".into(), kind.default_mix().into());
    }
    let mut settings = filled(schema, settings);
    // Defaults that another setting leaves without effect are left out, as a person must leave them out.
    if ["prompt", "prompt_file", "prompt_lengths"].into_iter().any(|other| settings.contains_key(other)) {
        settings.remove("prompt_length");
    }
    if settings.contains_key("output_lengths") {
        settings.remove("max_tokens");
    }
    let without_effect: &[&str] =
        if settings.contains_key("operation_mix") { &["phases"] } else { &["num_keys", "key_distribution"] };
    settings.retain(|key, _| !without_effect.contains(&key.as_str()));
    client.settings = settings;
}

/// The settings over the defaults of their schema, in the order of the schema.
fn filled(schema: schemars::Schema, written: Map<String, Value>) -> Map<String, Value> {
    let mut settings = schema::default_settings(schema);
    settings.extend(written);
    settings
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        other => other,
    }
}

/// JSON with sorted keys and no white space, so that equal values have equal text.
pub fn canonical(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_text_does_not_depend_on_the_order_of_keys() {
        let one = json!({ "b": [1, { "d": 1.0, "c": null }], "a": "é" });
        let two = json!({ "a": "é", "b": [1, { "c": null, "d": 1.0 }] });
        assert_eq!(canonical(&one), r#"{"a":"é","b":[1,{"c":null,"d":1.0}]}"#);
        assert_eq!(canonical(&one), canonical(&two));
    }
}
