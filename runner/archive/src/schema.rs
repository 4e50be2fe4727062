//! JSON Schemas of the archive's files, generated from the types that write and read them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{Manifest, Request, ResourceSample, Run, Summary};

/// File name → schema (JSON Schema 2020-12), of what this build writes. Of the `.jsonl` files, it is that of a line.
///
/// Readers keep what they do not know, so further properties are allowed everywhere but in the manifest.
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("run.json", of::<Run>()),
        ("summary.json", of::<Summary>()),
        ("requests.jsonl", of::<Request>()),
        ("resources.jsonl", of::<ResourceSample>()),
        ("manifest.json", of::<Manifest>()),
    ]
}

fn of<T: JsonSchema>() -> Value {
    // As a reader sees it: what has a default may be absent.
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = Some("https://json-schema.org/draft/2020-12/schema".into());
    settings.into_generator().into_root_schema_for::<T>().into()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::SCHEMA;

    /// `BLESS=1` writes them anew: after a look at the difference, since old archives must still fit.
    #[test]
    fn the_published_schemas_are_those_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/schema/v{SCHEMA}"));
        for (name, schema) in schemas() {
            let path = folder.join(format!("{name}.schema.json"));
            let text = format!("{schema:#}\n");
            if std::env::var_os("BLESS").is_some() {
                fs::create_dir_all(&folder).expect("created");
                fs::write(&path, &text).expect("written");
            }
            let published = fs::read_to_string(&path).unwrap_or_default();
            assert!(published == text, "{} is not what the types say: BLESS=1 writes it", path.display());
        }
    }

    #[test]
    fn fields_are_described_and_unknown_ones_allowed() {
        for (name, schema) in schemas() {
            let properties = schema["properties"].as_object().expect("an object");
            assert!(properties.len() >= 3, "{name}");
            assert_ne!(schema.get("additionalProperties"), Some(&Value::Bool(false)), "{name}");
        }
        assert!(schemas()[0].1["properties"]["recipe_hash"]["description"].is_string());
    }
}
