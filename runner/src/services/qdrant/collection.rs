//! How Qdrant's REST API creates, fills and searches a collection.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::QdrantStressSettings;
use crate::services::{
    token::token,
    vectors::{Database, Distance, Hit, Rest, write_decimals},
};

/// How often a collection is asked whether its index is complete.
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct Collection {
    name: String,
    headers: String,
    hnsw: serde_json::Map<String, Value>,
    /// The search's own part of a body.
    params: String,
}

impl Collection {
    pub fn new(settings: &QdrantStressSettings, headers: String) -> Self {
        let parameters = [("m", settings.hnsw_m), ("ef_construct", settings.hnsw_ef_construction)];
        let mut params = serde_json::Map::new();
        if let Some(ef) = settings.hnsw_ef_search {
            params.insert("hnsw_ef".into(), ef.into());
        }
        if settings.exact {
            params.insert("exact".into(), true.into());
        }
        Self {
            name: format!("{}-{}", settings.collection, token()),
            headers,
            hnsw: parameters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect(),
            params: if params.is_empty() { String::new() } else { format!(",\"params\":{}", Value::Object(params)) },
        }
    }

    fn path(&self, warmup: bool) -> String {
        format!("/collections/{}", self.name(warmup))
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    result: T,
}

#[derive(Deserialize)]
struct Updated {
    status: String,
}

#[derive(Deserialize)]
struct Found {
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    id: Value,
    score: f64,
}

impl Database for Collection {
    fn headers(&self) -> &str {
        &self.headers
    }

    async fn create(&mut self, rest: &mut Rest, dim: usize, distance: Distance, warmup: bool) -> Result<(), String> {
        let name = match distance {
            Distance::Cosine => "Cosine",
            Distance::Euclidean => "Euclid",
            Distance::Dot => "Dot",
        };
        let mut body = json!({ "vectors": { "size": dim, "distance": name } });
        if !self.hnsw.is_empty() {
            body["hnsw_config"] = Value::Object(self.hnsw.clone());
        }
        let created = rest.json(&format!("PUT {}", self.path(warmup)), &body).await?;
        if created["result"] != true {
            return Err(format!("the collection was not created: {created}"));
        }
        Ok(())
    }

    async fn settle(&self, rest: &mut Rest) -> Result<(), String> {
        loop {
            let info = rest.json(&format!("GET {}", self.path(false)), &Value::Null).await?;
            match info["result"]["status"].as_str() {
                Some("green" | "grey") => return Ok(()),
                Some("yellow") => tokio::time::sleep(SETTLE_PAUSE).await,
                other => return Err(format!("the collection has the status {}", other.unwrap_or("unknown"))),
            }
        }
    }

    async fn count(&self, rest: &mut Rest) -> Result<u64, String> {
        let body = json!({ "exact": true });
        let count = rest.json(&format!("POST {}/points/count", self.path(false)), &body).await?;
        count["result"]["count"].as_u64().ok_or_else(|| format!("a count that is no number: {count}"))
    }

    fn name(&self, warmup: bool) -> String {
        format!("{}{}", self.name, if warmup { "-w" } else { "" })
    }

    async fn remove(&self, rest: &mut Rest, warmup: bool) -> Result<(), String> {
        rest.delete(&self.path(false)).await?;
        if warmup { rest.delete(&self.path(true)).await } else { Ok(()) }
    }

    /// Answered when the points are there to be found.
    fn upload_target(&self, warmup: bool) -> String {
        format!("PUT {}/points?wait=true", self.path(warmup))
    }

    fn search_target(&self, warmup: bool) -> String {
        format!("POST {}/points/query", self.path(warmup))
    }

    fn write_upload(&self, ids: &[u64], vectors: &[i16], dim: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"points\":[");
        for (place, (id, vector)) in ids.iter().zip(vectors.chunks(dim)).enumerate() {
            let comma = if place > 0 { "," } else { "" };
            out.extend_from_slice(format!("{comma}{{\"id\":{id},\"vector\":[").as_bytes());
            write_decimals(vector, out);
            out.extend_from_slice(b"]}");
        }
        out.extend_from_slice(b"]}");
    }

    fn write_search(&self, query: &[i16], top_k: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"query\":[");
        write_decimals(query, out);
        out.extend_from_slice(format!("],\"limit\":{top_k}{}}}", self.params).as_bytes());
    }

    fn read_upload(&self, body: &[u8]) -> Result<(), String> {
        match serde_json::from_slice::<Answer<Updated>>(body) {
            Ok(answer) if answer.result.status == "completed" => Ok(()),
            Ok(answer) => Err(format!("wrong answer: an upload that is `{}`", answer.result.status)),
            Err(err) => Err(format!("wrong answer: not that of an upload: {err}")),
        }
    }

    fn read_search(&self, body: &[u8], distance: Distance, hits: &mut Vec<Hit>) -> Result<(), String> {
        let answer: Answer<Found> =
            serde_json::from_slice(body).map_err(|err| format!("wrong answer: no results: {err}"))?;
        for point in answer.result.points {
            let id = point.id.as_u64().ok_or("wrong answer: an id that was never uploaded")?;
            // Qdrant scores: the similarity, or the distance itself.
            let distance = match distance {
                Distance::Cosine | Distance::Dot => 1.0 - point.score,
                Distance::Euclidean => point.score * point.score,
            };
            hits.push(Hit { id, distance });
        }
        Ok(())
    }
}
