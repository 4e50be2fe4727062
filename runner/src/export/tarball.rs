//! A tar of one benchmark: its folder, and below `.raw` what it keeps outside git. `runner import` reads it.

use std::{fs, io::Write};

use anyhow::{Context, Result, bail};
use archive::Benchmark;
use tar::{Builder, EntryType, Header};

/// The folder of files outside git, as in the archive.
pub const RAW: &str = ".raw";

/// Errs when a file of the benchmark is not on this machine.
pub fn write(benchmark: &Benchmark, to: &mut dyn Write) -> Result<()> {
    let id = benchmark.id;
    let mut out = Builder::new(to);
    let mut add = |name: &str, path: &std::path::Path| -> Result<()> {
        let bytes = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.metadata()?.len());
        header.set_mode(0o444);
        // The same tar whenever and by whomever it is made.
        header.set_mtime(0);
        out.append_data(&mut header, name, bytes).with_context(|| format!("cannot write {name}"))
    };
    for name in ["manifest.json", archive::SIGNATURE] {
        let path = benchmark.folder.join(name);
        if path.exists() {
            add(&format!("{id}/{name}"), &path)?;
        }
    }
    for (name, entry) in &benchmark.manifest.files {
        let Some(path) = benchmark.path_of(name) else {
            bail!("{name} of {id} is not on this machine: `runner archive fetch` brings it")
        };
        let place = match entry.external {
            true => format!("{RAW}/{}", entry.sha256),
            false => format!("{id}/{name}"),
        };
        add(&place, &path)?;
    }
    out.finish()?;
    Ok(())
}
