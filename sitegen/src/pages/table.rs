//! Tables: what stands in a cell, and what it is sorted by.

use serde::Serialize;

use crate::units;

#[derive(Clone, Serialize)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// What the table leaves out.
    pub note: Option<String>,
}

#[derive(Clone, Serialize)]
pub struct Column {
    pub name: String,
    pub unit: String,
    pub numeric: bool,
}

#[derive(Clone, Default, Serialize)]
pub struct Cell {
    pub text: String,
    pub href: Option<String>,
    /// What to sort by, when it is not the text.
    pub sort: Option<f64>,
    /// A class of the style sheet: `bad`, `muted`.
    pub class: &'static str,
}

impl Table {
    /// Numbers of a column are padded so that their decimal points stand under each other.
    pub fn new(columns: Vec<Column>, mut rows: Vec<Vec<Cell>>) -> Self {
        for index in columns.iter().enumerate().filter(|(_, column)| column.numeric).map(|(index, _)| index) {
            let mut texts: Vec<&mut String> =
                rows.iter_mut().filter_map(|row| row.get_mut(index)).map(|cell| &mut cell.text).collect();
            units::align(&mut texts);
        }
        Self { columns, rows, note: None }
    }

    pub fn with_note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }
}

impl Column {
    pub fn text(name: &str) -> Self {
        Self { name: name.to_owned(), unit: String::new(), numeric: false }
    }

    pub fn number(name: &str, unit: &str) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), numeric: true }
    }
}

impl Cell {
    pub fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    pub fn none() -> Self {
        Self { text: "–".to_owned(), class: "muted", ..Self::default() }
    }

    pub fn number(value: f64) -> Self {
        Self::sorted(&units::number(value), value)
    }

    pub fn count(value: u64) -> Self {
        Self::sorted(&units::count(value), value as f64)
    }

    pub fn optional(value: Option<f64>) -> Self {
        value.map_or_else(Self::none, Self::number)
    }

    pub fn sorted(text: &str, sort: f64) -> Self {
        Self { text: text.to_owned(), sort: sort.is_finite().then_some(sort), ..Self::default() }
    }

    pub fn link(text: &str, href: String) -> Self {
        Self { text: text.to_owned(), href: Some(href), ..Self::default() }
    }

    pub fn with_class(mut self, class: &'static str) -> Self {
        self.class = class;
        self
    }
}
