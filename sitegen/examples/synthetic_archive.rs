//! Writes the made-up archive of the tests into a folder, to look at the site without running a benchmark:
//! `cargo run -p sitegen --example synthetic_archive -- DIR`.

#[path = "../tests/synthetic/archive.rs"]
mod synthetic;

fn main() {
    match std::env::args().nth(1) {
        Some(folder) => {
            let results = std::path::Path::new(&folder);
            synthetic::made().iter().for_each(|made| synthetic::write_benchmark(results, made, |_, _| {}));
            for made in synthetic::history() {
                synthetic::write_benchmark(results, &made, |run, _| synthetic::versioned(&made, run));
            }
        }
        None => eprintln!("error: name the folder to write to"),
    }
}
