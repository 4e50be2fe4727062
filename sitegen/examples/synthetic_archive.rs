//! Writes the made-up archive of the tests into a folder, to look at the site without running a benchmark:
//! `cargo run -p sitegen --example synthetic_archive -- DIR`.

#[path = "../tests/synthetic/archive.rs"]
mod synthetic;

fn main() {
    match std::env::args().nth(1) {
        Some(folder) => synthetic::write(std::path::Path::new(&folder)),
        None => eprintln!("error: name the folder to write to"),
    }
}
