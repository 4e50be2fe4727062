//! What the clients of language models share: prompts, and a workload of streamed answers.
//!
//! Knows no server's API: how a request is written and an answer read is a [`Dialect`](stream::Dialect).

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::load::LoadJob;
use prompts::{Drawn, Form, Lengths, Prompts};

pub mod prompts;
pub mod stream;

/// Characters of a server's message that are kept.
const MESSAGE: usize = 200;

/// What the settings of a client say of its prompts.
pub struct Asked {
    pub prompt: Option<String>,
    pub prompt_length: u32,
    pub prompt_lengths: Option<Lengths>,
    pub shared_prefix_length: Option<u32>,
    pub form: Form,
    /// Whether conversations can be asked.
    pub chat: bool,
}

impl Asked {
    /// Where the prompts of a load come from; a file among the job's is the setting `prompt_file`.
    pub fn prompts(self, job: &LoadJob) -> Result<Prompts, String> {
        if let Some(text) = job.files.get("prompt_file").filter(|_| job.truth.is_none()) {
            let prompts = prompts::parse(text, self.chat)?.into();
            let (clients, closed) = (u64::from(job.spec.clients), job.spec.arrival.is_closed());
            return Ok(Prompts::File { prompts, clients, closed });
        }
        if let Some(prompt) = self.prompt {
            return Ok(Prompts::Fixed(prompt));
        }
        let length = f64::from(self.prompt_length);
        let lengths = self.prompt_lengths.unwrap_or(Lengths { mean: Some(length), ..Lengths::default() });
        Ok(Prompts::Drawn(Drawn::new(&job.spec, lengths, self.shared_prefix_length.unwrap_or(0), self.form)))
    }
}

/// Whether drawn lengths can be drawn; the error begins with the setting.
pub fn check_lengths(prompt_lengths: &Option<Lengths>, output_lengths: &Option<Lengths>) -> Result<()> {
    for (setting, lengths) in [("prompt_lengths", prompt_lengths), ("output_lengths", output_lengths)] {
        let checked = lengths.as_ref().map_or(Ok(()), Lengths::check);
        ensure!(checked.is_ok(), "`{setting}`: {}", checked.err().unwrap_or_default());
    }
    Ok(())
}

/// Whether prompts have the lengths that a trace recorded; else why not, and the cure.
pub fn recorded_lengths(settings: &Value) -> Result<(), String> {
    match ["prompt", "prompt_file"].into_iter().find(|setting| settings.get(setting).is_some_and(Value::is_string)) {
        Some(setting) => Err(format!("remove `client.settings.{setting}`, so that prompts have these lengths")),
        // It would come on top of the length that was recorded.
        None if settings.get("shared_prefix_length").and_then(Value::as_u64).is_some_and(|words| words > 0) => {
            Err("remove `client.settings.shared_prefix_length`, so that prompts have these lengths".to_owned())
        }
        None => Ok(()),
    }
}

/// What a server says of an error, in one short line.
pub fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => error_text(value.get("error").unwrap_or(&value)),
        Err(_) => short(&String::from_utf8_lossy(body)),
    }
}

/// The words of an error object.
pub fn error_text(error: &Value) -> String {
    let text = error.get("message").or(error.get("detail")).unwrap_or(error);
    short(text.as_str().unwrap_or(&text.to_string()))
}

fn short(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::services::{client_type, service_type};

    #[test]
    fn every_setting_is_taken_and_stands_in_the_docs() {
        // Those that the reference had, read or not, each with what its type calls them here.
        let reference: [(&str, &[&str]); 6] = [
            (
                "vllm",
                &[
                    "model",
                    "tensor_parallel_size",
                    "max_model_len",
                    "gpu_memory_utilization",
                    "port",
                    "dtype",
                    "quantization",
                ],
            ),
            ("ollama", &["model", "warmup_seconds", "port", "num_parallel", "keep_alive"]),
            ("vllm_smoke", &["model", "prompt", "max_tokens", "warmup_delay"]),
            ("vllm_stress", &["model", "num_requests", "max_tokens", "warmup_delay", "concurrent_requests"]),
            ("ollama_smoke", &["model", "num_requests", "max_retries"]),
            ("ollama_stress", &["model", "num_requests", "max_tokens", "warmup_delay", "max_retries"]),
        ];
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes.md");
        let docs = std::fs::read_to_string(docs).expect("written");
        for (name, settings) in reference {
            let service = service_type(name).map(|service| service.settings_schema());
            let schema = service.or_else(|| client_type(name).map(|client| client.settings_schema()));
            let known = schema.as_ref().and_then(|schema| schema.get("properties")).and_then(|all| all.as_object());
            let known = known.unwrap_or_else(|| panic!("{name} has no settings"));
            for setting in settings {
                assert!(known.contains_key(*setting), "`{name}` does not take `{setting}`");
            }
            for setting in known.keys() {
                assert!(
                    docs.contains(&format!("`{setting}`")),
                    "docs/recipes.md says nothing of `{setting}` of `{name}`"
                );
            }
        }
    }
}
