//! `runner schema`: the JSON Schema of recipes and campaigns.

use std::process::ExitCode;

use anyhow::Result;

use crate::recipe::schema;

pub fn execute() -> Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(&schema::published())?);
    Ok(ExitCode::SUCCESS)
}
