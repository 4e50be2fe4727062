//! `runner schema`: the JSON Schema of recipes and campaigns.

use std::process::ExitCode;

use anyhow::Result;

use crate::recipe::schema;

pub fn execute() -> Result<ExitCode> {
    super::print(&format!("{:#}\n", schema::published()))?;
    Ok(ExitCode::SUCCESS)
}
