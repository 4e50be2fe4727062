//! The page that builds a campaign from a form, with the schema of `runner check`.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Page, docs};
use crate::render::{File, script_json};

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
}

pub fn page() -> Page {
    let lead =
        "Choose a service and a load; beside it stands the campaign file, and the command that runs it.".to_owned();
    Page::new("run/index.html".to_owned(), "run.html", false, Context { title: "Run".to_owned(), lead })
}

/// The schema as the page's script reads it, without what only editors use.
pub fn data() -> File {
    let schema = docs::schema().unwrap_or_else(|| json!({}));
    let recipe = &schema["$defs"]["recipe"];
    let kept: Value = json!({ "recipe": recipe, "campaign": { "properties": { "slo": schema["$defs"]["campaign"]["properties"]["slo"] } } });
    ("data/schema.js".to_owned(), format!("siteSchema({});\n", script_json(&kept)).into_bytes())
}
