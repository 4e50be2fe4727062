//! Names of methods in stored answers: constants of this crate, also when they are read back.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer};

/// Names a method and its version.
pub type Method = &'static str;

pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Method, D::Error> {
    String::deserialize(deserializer).map(|name| known(&name))
}

pub fn read_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Method>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|name| name.map(|name| known(&name)))
}

/// There are few names: each that was read stays in memory, once.
fn known(name: &str) -> Method {
    static NAMES: Mutex<BTreeSet<Method>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: Method = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}
