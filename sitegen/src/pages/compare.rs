//! The page that compares any two benchmarks or executions in the browser. Its figures come from data scripts.

use serde::Serialize;

use super::Page;
use crate::model::Model;

#[derive(Serialize)]
struct Context {
    title: String,
    lead: String,
}

pub fn page(model: &Model<'_>) -> Page {
    let count = model.contents.benchmarks.len();
    let lead = match count {
        0 | 1 => "There are not two benchmarks to compare.".to_owned(),
        _ => "Choose two benchmarks, or two executions of campaigns; the address keeps the choice.".to_owned(),
    };
    let context = Context { title: "Compare".to_owned(), lead };
    Page::new("compare/index.html".to_owned(), "compare.html", true, context)
}
