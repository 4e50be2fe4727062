//! Tables of the settings: each of a service's changes how it starts, and clients have those that recipes of old have.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::{Launch, LaunchRequest, SERVICES, ServiceType, client_type, service_type};
use crate::recipe::schema::default_settings;

/// Settings that are no part of a launch: asked for by a probe, a fetch or a client, or resolved into another.
const NO_PART: [(&str, &str); 5] = [
    ("ollama", "model"),
    ("ollama", "warmup_seconds"),
    ("postgres", "POSTGRES_USER"),
    ("postgres", "POSTGRES_PASSWORD"),
    ("postgres", "POSTGRES_DB"),
];

/// Service, what is given besides, and a value other than the default for each setting.
type Table = (&'static str, Value, Vec<(&'static str, Value)>);

fn tables() -> Vec<Table> {
    vec![
        ("chroma", json!({}), vec![("host", json!("0.0.0.0")), ("data_dir", json!("/d"))]),
        (
            "minio",
            json!({}),
            vec![
                ("console_port", json!(9001)),
                ("data_dir", json!("/d")),
                ("root_user", json!("someone")),
                ("root_password", json!("something")),
                ("region", json!("eu-west-1")),
            ],
        ),
        (
            "nginx",
            json!({}),
            vec![
                ("file_sizes", json!([7])),
                ("worker_processes", json!(3)),
                ("worker_connections", json!(99)),
                ("keepalive_requests", json!(5)),
                ("access_log", json!(true)),
            ],
        ),
        (
            "ollama",
            json!({}),
            vec![
                ("num_parallel", json!(3)),
                ("max_queue", json!(3)),
                ("max_loaded_models", json!(3)),
                ("keep_alive", json!("7m")),
                ("context_length", json!(999)),
                ("flash_attention", json!(true)),
                ("kv_cache_type", json!("q8_0")),
                ("models_dir", json!("/m")),
            ],
        ),
        (
            "postgres",
            json!({ "password": "first" }),
            vec![
                ("db_name", json!("other")),
                ("user", json!("someone")),
                ("password", json!("second")),
                ("auth", json!("trust")),
                ("data_dir", json!("/d")),
                ("max_connections", json!(7)),
                ("tuning", json!({ "shared_buffers": "1GB" })),
                ("tuning", json!({ "effective_cache_size": "1GB" })),
                ("tuning", json!({ "maintenance_work_mem": "1GB" })),
                ("tuning", json!({ "work_mem": "1GB" })),
                ("tuning", json!({ "wal_buffers": "1GB" })),
                ("tuning", json!({ "max_wal_size": "1GB" })),
                ("tuning", json!({ "checkpoint_timeout": "1h" })),
                ("tuning", json!({ "synchronous_commit": false })),
                ("tuning", json!({ "fsync": false })),
            ],
        ),
        ("qdrant", json!({}), vec![("grpc_port", json!(6334)), ("storage_path", json!("/d")), ("api_key", json!("k"))]),
        (
            "redis",
            json!({ "maxmemory": "1gb" }),
            vec![
                ("appendonly", json!(true)),
                ("maxmemory", json!("2gb")),
                ("maxmemory_policy", json!("allkeys-lru")),
                ("save", json!("900 1")),
                ("data_dir", json!("/d")),
                ("password", json!("p")),
            ],
        ),
        (
            "simulator",
            json!({}),
            vec![
                ("model", json!("m")),
                ("slots", json!(3)),
                ("prefill_base_s", json!(0.5)),
                ("prefill_per_token_s", json!(0.5)),
                ("decode_per_token_s", json!(0.5)),
                ("decode_distribution", json!("exponential")),
                ("kv_limit_tokens", json!(77)),
                ("load_s", json!(0.5)),
                ("failure_rate", json!(0.5)),
                ("send_stamps", json!(true)),
                ("seed", json!(7)),
            ],
        ),
        (
            "vllm",
            json!({}),
            vec![
                ("model", json!("m")),
                ("served_model_name", json!("s")),
                ("tensor_parallel_size", json!(2)),
                ("pipeline_parallel_size", json!(2)),
                ("max_model_len", json!(99)),
                ("gpu_memory_utilization", json!(0.5)),
                ("dtype", json!("bfloat16")),
                ("quantization", json!("awq")),
                ("kv_cache_dtype", json!("fp8")),
                ("max_num_seqs", json!(9)),
                ("max_num_batched_tokens", json!(9)),
                ("enable_prefix_caching", json!(false)),
                ("hf_home", json!("/h")),
                ("hf_token", json!("t")),
                ("api_key", json!("k")),
                ("extra_args", json!(["--x"])),
            ],
        ),
    ]
}

fn launched(service: &dyn ServiceType, given: &[&Value]) -> Launch {
    let mut settings = default_settings(service.settings_schema());
    for given in given {
        settings.extend(given.as_object().expect("an object").clone());
    }
    let settings = Value::from(settings);
    let request =
        LaunchRequest { settings: &settings, host: "127.0.0.1", port: 7000, scratch: Path::new("/s"), command: None };
    service.launch(&request).unwrap_or_else(|err| panic!("{}: {err:#}", service.name()))
}

/// Names of the settings in a schema.
fn names(schema: schemars::Schema) -> BTreeSet<String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[test]
fn every_setting_of_a_service_changes_its_start() {
    for (name, besides, settings) in tables() {
        let service = service_type(name).expect("a service");
        let without = launched(service, &[&besides]);
        for (setting, value) in &settings {
            let with = launched(service, &[&besides, &json!({ (*setting): value })]);
            assert_ne!(with, without, "{name}: {setting} has no effect");
        }
        let mut known: BTreeSet<String> = settings.into_iter().map(|(setting, _)| setting.to_owned()).collect();
        known.extend(NO_PART.iter().filter(|(of, _)| *of == name).map(|(_, setting)| (*setting).to_owned()));
        // The target chooses it, and hands it over by itself.
        known.insert("port".into());
        assert_eq!(names(service.settings_schema()), known, "{name}");
    }
}

#[test]
fn clients_have_the_settings_that_recipes_give() {
    let of_services: BTreeSet<&str> =
        SERVICES.iter().flat_map(|service| service.clients()).map(|client| client.name()).collect();
    for (client, settings) in [
        ("postgres_smoke", &["query", "warmup_delay", "db_name"][..]),
        ("postgres_stress", &["num_inserts", "num_selects", "table_name", "warmup_delay", "db_name"]),
        ("pgbench", &["scale", "script", "warmup_delay"]),
        ("chroma_healthcheck", &["num_requests"]),
        ("chroma_stress", &["num_vectors", "dim", "num_queries", "top_k", "batch_size", "warmup_delay"]),
        ("vllm_smoke", &["model", "prompt", "max_tokens", "warmup_delay"]),
        ("vllm_stress", &["model", "num_requests", "max_tokens", "warmup_delay", "concurrent_requests"]),
        ("ollama_smoke", &["model", "num_requests", "max_retries"]),
        ("ollama_stress", &["model", "num_requests", "max_tokens", "warmup_delay", "max_retries"]),
        ("nginx_healthcheck", &["path"]),
        ("http_stress", &["path", "size_bytes", "keep_alive"]),
        (
            "redis_stress",
            &["num_requests", "key_size_bytes", "value_size_bytes", "warmup_delay", "pipeline", "operation_mix"],
        ),
        ("minio_stress", &["num_objects", "object_size_bytes", "bucket", "warmup_delay", "operation_mix"]),
        ("qdrant_stress", &["collection", "dim", "num_points", "batch_size", "num_queries", "top_k", "warmup_delay"]),
    ] {
        let known = names(client_type(client).expect("a client").settings_schema());
        for setting in settings {
            assert!(known.contains(*setting), "{client} has no {setting}");
        }
        assert!(of_services.contains(client), "no service offers {client}");
    }
}
