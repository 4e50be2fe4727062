//! Long tables of a page: the first rows stand in it, all of them in scripts that the browser reads when they are wanted.
//!
//! A page has to be readable at once, whatever the archive holds. Only tables are divided; a page that grows by other
//! things shortens them itself.

use serde_json::{Value, json};

use crate::text::script_json;

/// Longer tables are always divided.
const MOST_ROWS: usize = 500;

/// What all tables of a page may take together before the largest is divided, in bytes of HTML.
const MOST_BYTES: usize = 90_000;

/// Rows of a divided table that stand in the page, and the bytes that they may take.
const FIRST_ROWS: usize = 60;
const FIRST_BYTES: usize = 20_000;

/// Rows of one script.
const PIECE: usize = 1_000;

/// Divides the long tables within the context of the page at `path`; gives the scripts with their rows: path and text.
pub fn divide(path: &str, context: &mut Value) -> Vec<(String, String)> {
    let mut tables = Vec::new();
    find(context, &mut tables);
    for (bytes, table) in &mut tables {
        if let Some(rows) = table["rows"].as_array_mut() {
            rows.iter_mut().filter_map(Value::as_array_mut).flatten().for_each(shorten);
            *bytes = rows.iter().map(row_bytes).sum();
        }
    }
    let mut total: usize = tables.iter().map(|(bytes, _)| bytes).sum();
    // The largest first; of the same size, in the order of the page.
    tables.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let name = path.trim_end_matches("index.html").trim_end_matches('/').replace('/', "-");
    let name = if name.is_empty() { "dashboard" } else { &name };
    let to_version = "../".repeat(path.matches('/').count());
    let mut scripts = Vec::new();
    for (bytes, table) in tables {
        let count = table["rows"].as_array().map_or(0, Vec::len);
        if count <= MOST_ROWS && (total <= MOST_BYTES || count <= 2) {
            continue;
        }
        let key = format!("{name}-{}", scripts.len());
        let Some(rows) = table["rows"].as_array_mut() else { continue };
        for (number, piece) in rows.chunks(PIECE).enumerate() {
            let piece: Vec<Value> = piece.iter().map(packed).collect();
            let call = format!("siteRows({}, {number}, {});\n", script_json(&json!(key)), script_json(&json!(piece)));
            scripts.push((format!("data/rows/{key}-{number}.js"), call));
        }
        let mut kept = 0;
        let mut kept_bytes = 0;
        for row in rows.iter().take(FIRST_ROWS) {
            kept_bytes += row_bytes(row);
            if kept > 0 && kept_bytes > FIRST_BYTES {
                break;
            }
            kept += 1;
        }
        rows.truncate(kept);
        total = total.saturating_sub(bytes) + kept_bytes;
        table["source"] = json!({
            "src": format!("{to_version}data/rows/{key}"),
            "key": key,
            "pieces": count.div_ceil(PIECE),
            "count": count,
            "first": kept,
        });
    }
    scripts
}

/// Every table below a value, with the bytes that its rows take as HTML.
fn find<'v>(value: &'v mut Value, tables: &mut Vec<(usize, &'v mut Value)>) {
    match value {
        Value::Object(fields) if fields.get("columns").is_some_and(Value::is_array) && fields.contains_key("rows") => {
            let bytes = fields["rows"].as_array().map_or(0, |rows| rows.iter().map(row_bytes).sum());
            tables.push((bytes, value));
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| find(field, tables)),
        Value::Array(items) => items.iter_mut().for_each(|item| find(item, tables)),
        _ => {}
    }
}

/// What a cell holds at most, in letters: a whole recipe can stand in one.
const MOST_LETTERS: usize = 600;

fn shorten(cell: &mut Value) {
    let Some(text) = cell["text"].as_str() else { return };
    if let Some((place, _)) = text.char_indices().nth(MOST_LETTERS) {
        let more = text[place..].chars().count();
        cell["text"] = format!("{}… ({more} more characters)", &text[..place]).into();
    }
}

fn row_bytes(row: &Value) -> usize {
    // `<tr>`, and around each cell `<td class="number" data-sort="…">` or a link.
    let cell = |cell: &Value| {
        let length = |name: &str| cell[name].as_str().map_or(0, |text| text.len() + 20);
        length("text") + length("href") + length("class") + if cell["sort"].is_number() { 32 } else { 0 }
    };
    10 + row.as_array().map_or(0, |cells| cells.iter().map(cell).sum::<usize>())
}

/// A row as the script of the theme reads it: of each cell its text, or a list of text, link, what to sort by, and class.
fn packed(row: &Value) -> Value {
    let cell = |cell: &Value| match (&cell["href"], &cell["sort"], cell["class"].as_str()) {
        (Value::Null, Value::Null, None | Some("")) => cell["text"].clone(),
        (href, sort, class) => json!([cell["text"], href, sort, class.unwrap_or_default()]),
    };
    row.as_array().map_or(Value::Null, |cells| cells.iter().map(cell).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::table::{Cell, Column, Table};

    fn table(rows: usize, text: &str) -> Table {
        let row = |i: usize| vec![Cell::count(i as u64), Cell::link(text, format!("{i}/index.html")).with_class("bad")];
        Table::new(vec![Column::number("n", ""), Column::text("link")], (0..rows).map(row).collect())
    }

    #[test]
    fn long_tables_leave_the_page_and_short_ones_stay() {
        let mut context = json!({ "long": table(1_200, "a"), "charts": [{ "table": table(400, "<b>") }], "note": "x" });
        let scripts = divide("benchmarks/x/index.html", &mut context);
        let names: Vec<&str> = scripts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["data/rows/benchmarks-x-0-0.js", "data/rows/benchmarks-x-0-1.js"]);
        assert_eq!(context["long"]["source"]["src"], "../../data/rows/benchmarks-x-0");
        assert_eq!(context["long"]["source"]["count"], 1_200);
        assert_eq!(context["long"]["rows"].as_array().map(Vec::len), Some(60));
        assert_eq!(context["charts"][0]["table"]["rows"].as_array().map(Vec::len), Some(400));
        assert!(scripts[1].1.starts_with(
            "siteRows(\"benchmarks-x-0\", 1, [[[\"1,000\",null,1000.0,\"\"],[\"a\",\"1000/index.html\",null,\"bad\"]]"
        ));
    }

    #[test]
    fn a_page_keeps_its_budget_by_its_largest_tables() {
        let long = "x".repeat(300);
        let mut context =
            json!({ "a": table(90, "a"), "b": table(200, "b"), "c": table(300, &long), "d": table(300, &long) });
        let scripts = divide("index.html", &mut context);
        assert_eq!(scripts.len(), 2, "the two largest are enough");
        for name in ["c", "d"] {
            assert_eq!(context[name]["source"]["count"], 300);
        }
        assert!(context["a"]["source"].is_null() && context["b"]["source"].is_null());
        let mut tables = Vec::new();
        find(&mut context, &mut tables);
        assert!(tables.iter().map(|(bytes, _)| bytes).sum::<usize>() <= MOST_BYTES + 2 * FIRST_BYTES);
        let mut huge = json!({ "c": table(1, &long.repeat(1_000)) });
        assert!(divide("index.html", &mut huge).is_empty());
        let text = huge["c"]["rows"][0][1]["text"].as_str().expect("a text");
        assert!(text.starts_with("xxx") && text.ends_with("x… (299400 more characters)"), "{}", text.len());
    }
}
