//! What a service is held to when nobody said anything else.
//!
//! Used by summaries and reports only: a recipe is run with the limits that stand in it, and with no others.

/// The limits of a service type, and where they come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DefaultSlo {
    /// Stored metric name → limit in its unit.
    pub limits: &'static [(&'static str, f64)],
}

const SECOND: DefaultSlo = DefaultSlo { limits: &[("latency_p99_s", 1.0), ("success_rate", 99.0)] };
const TENTH: DefaultSlo = DefaultSlo { limits: &[("latency_p99_s", 0.1), ("success_rate", 99.0)] };
const FIFTH: DefaultSlo = DefaultSlo { limits: &[("latency_p99_s", 0.2), ("success_rate", 99.0)] };

/// The default of a service type: p99 of 1 s for language models, 100 ms for stores, databases and web servers, 200 ms
/// for vector databases; 99 % of requests successful. `None` for a command of one's own, of which nothing is known.
pub fn default_slo(service_type: &str) -> Option<DefaultSlo> {
    match service_type {
        "vllm" | "ollama" | "simulator" => Some(SECOND),
        "chroma" | "qdrant" => Some(FIFTH),
        "redis" | "postgres" | "minio" | "nginx" => Some(TENTH),
        _ => None,
    }
}
