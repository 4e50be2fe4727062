//! How Chroma's HTTP API creates, fills and searches a collection.
//!
//! A collection is created and removed by its name, and used by its id. Vectors are uploaded as 32-bit floats in base64
//! where the server takes them, as Chroma's own client does.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ChromaStressSettings;
use crate::services::{
    token::token,
    vectors::{Database, Distance, Hit, Rest, floats, write_decimals},
};

/// The database that a server has from its start.
const DATABASE: &str = "/api/v2/tenants/default_tenant/databases/default_database";

#[derive(Clone, Debug)]
pub struct Collection {
    name: String,
    hnsw: serde_json::Map<String, Value>,
    batch_size: u32,
    takes_base64: bool,
    /// Ids of the collection and of that for warm-up.
    ids: [Option<String>; 2],
}

impl Collection {
    pub fn new(settings: &ChromaStressSettings) -> Self {
        let parameters = [
            ("max_neighbors", settings.hnsw_m),
            ("ef_construction", settings.hnsw_ef_construction),
            ("ef_search", settings.hnsw_ef_search),
        ];
        let hnsw = parameters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
        Self {
            name: format!("{}-{}", settings.collection, token()),
            hnsw,
            batch_size: settings.batch_size,
            takes_base64: false,
            ids: [None, None],
        }
    }

    fn path(&self, warmup: bool) -> String {
        let id = self.ids[usize::from(warmup)].as_deref().unwrap_or_default();
        format!("{DATABASE}/collections/{id}")
    }
}

#[derive(Deserialize)]
struct Found {
    /// One list a query.
    ids: Vec<Vec<String>>,
    distances: Option<Vec<Vec<Option<f64>>>>,
}

impl Database for Collection {
    fn headers(&self) -> &str {
        ""
    }

    async fn create(&mut self, rest: &mut Rest, _dim: usize, distance: Distance, warmup: bool) -> Result<(), String> {
        let limits = rest.json("GET /api/v2/pre-flight-checks", &Value::Null).await?;
        if let Some(most) = limits["max_batch_size"].as_u64().filter(|most| *most < u64::from(self.batch_size)) {
            return Err(format!("the server takes {most} vectors in one upload; `batch_size` is {}", self.batch_size));
        }
        self.takes_base64 = limits["supports_base64_encoding"] == true;
        let mut hnsw = self.hnsw.clone();
        let space = match distance {
            Distance::Cosine => "cosine",
            Distance::Euclidean => "l2",
            Distance::Dot => "ip",
        };
        hnsw.insert("space".into(), space.into());
        let body = json!({ "name": self.name(warmup), "configuration": { "hnsw": hnsw } });
        let created = rest.json(&format!("POST {DATABASE}/collections"), &body).await?;
        let id = created["id"].as_str().ok_or("a created collection without an id")?;
        self.ids[usize::from(warmup)] = Some(id.to_owned());
        Ok(())
    }

    /// What is uploaded is found at once.
    async fn settle(&self, _rest: &mut Rest) -> Result<(), String> {
        Ok(())
    }

    async fn count(&self, rest: &mut Rest) -> Result<u64, String> {
        let count = rest.json(&format!("GET {}/count", self.path(false)), &Value::Null).await?;
        count.as_u64().ok_or_else(|| format!("a count that is no number: {count}"))
    }

    fn name(&self, warmup: bool) -> String {
        if warmup { format!("{}-w", self.name) } else { self.name.clone() }
    }

    async fn remove(&self, rest: &mut Rest, warmup: bool) -> Result<(), String> {
        rest.delete(&format!("{DATABASE}/collections/{}", self.name(false))).await?;
        match warmup {
            true => rest.delete(&format!("{DATABASE}/collections/{}", self.name(true))).await,
            false => Ok(()),
        }
    }

    fn upload_target(&self, warmup: bool) -> String {
        format!("POST {}/add", self.path(warmup))
    }

    fn search_target(&self, warmup: bool) -> String {
        format!("POST {}/query", self.path(warmup))
    }

    fn write_upload(&self, ids: &[u64], vectors: &[i16], dim: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"ids\":[");
        for (place, id) in ids.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            out.extend_from_slice(format!("{comma}\"{id}\"").as_bytes());
        }
        out.extend_from_slice(b"],\"embeddings\":[");
        for (place, vector) in vectors.chunks(dim).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            if self.takes_base64 {
                let bytes: Vec<u8> = floats(vector).flat_map(f32::to_le_bytes).collect();
                out.push(b'"');
                out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
                out.push(b'"');
            } else {
                out.push(b'[');
                write_decimals(vector, out);
                out.push(b']');
            }
        }
        out.extend_from_slice(b"]}");
    }

    fn write_search(&self, query: &[i16], top_k: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"query_embeddings\":[[");
        write_decimals(query, out);
        out.extend_from_slice(format!("]],\"n_results\":{top_k},\"include\":[\"distances\"]}}").as_bytes());
    }

    fn read_upload(&self, body: &[u8]) -> Result<(), String> {
        // The answer says nothing but that it is one.
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(_) | Value::Bool(true)) => Ok(()),
            _ => Err("wrong answer: not that of an upload".into()),
        }
    }

    fn read_search(&self, body: &[u8], _distance: Distance, hits: &mut Vec<Hit>) -> Result<(), String> {
        let found: Found = serde_json::from_slice(body).map_err(|err| format!("wrong answer: no results: {err}"))?;
        let ([ids], Some([distances])) = (&found.ids[..], found.distances.as_deref()) else {
            return Err("wrong answer: not the results of one search".into());
        };
        if ids.len() != distances.len() {
            return Err("wrong answer: not a distance for every id".into());
        }
        for (id, distance) in ids.iter().zip(distances) {
            let id = id.parse().map_err(|_| "wrong answer: an id that was never uploaded")?;
            hits.push(Hit { id, distance: distance.unwrap_or(f64::NAN) });
        }
        Ok(())
    }
}
