//! The preview of `sitegen serve` in a real browser: an open page shows what came since, without a hand.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{driver::Browser, synthetic, until};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn an_open_page_reloads_when_the_archive_changes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let results = folder.path().join("results");
    let made = synthetic::made();
    made.iter().take(3).for_each(|made| synthetic::write_benchmark(&results, made, |_, _| {}));
    let mut server = Command::new(assert_cmd::cargo::cargo_bin!("sitegen"));
    // What it builds goes into the test's own folder, whatever way it ends.
    server.args(["serve", "--port", "0"]).current_dir(folder.path()).env("TMPDIR", folder.path());
    let mut server = Ended(server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started"));
    let mut lines = BufReader::new(server.0.stdout.take().expect("piped")).lines();
    let address = lines.next().expect("an address").expect("text");
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    let mut browser = Browser::start();
    browser.go(&address.replace("index.html", "benchmarks/index.html"));
    let rows = "return document.readyState === 'complete' ? document.querySelectorAll('#all tbody tr').length : null";
    assert_eq!(until(&mut browser, rows), json!(3));
    browser.run("window.first = true");
    synthetic::write_benchmark(&results, &made[3], |_, _| {});
    let again = "return !window.first && document.querySelectorAll('#all tbody tr').length === 4 || null";
    assert_eq!(until_reloaded(&mut browser, again), json!(true));
}

/// Waits across a reload, which ends the script that waits.
fn until_reloaded(browser: &mut Browser, script: &str) -> serde_json::Value {
    for _ in 0..600 {
        let found = browser.run(script);
        if !found.is_null() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    serde_json::Value::Null
}
