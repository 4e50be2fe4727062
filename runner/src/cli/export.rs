//! `runner export ID`: an archived benchmark in the formats of others.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use archive::{Archive, Benchmark};
use clap::{Args, ValueEnum};

use super::Global;
use crate::{console::Console, export};

/// Write a benchmark in another format.
#[derive(Debug, Args)]
pub struct Export {
    /// Full id, unique suffix (`-007`) or `latest`.
    #[arg(allow_hyphen_values = true)]
    id: String,
    #[arg(long)]
    format: Format,
    /// Where to; stdout for text unless given, and a file named like the benchmark for the others.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With `hgrm`: `latency`, `service_time`, `ttft`, `tpot` or `itl`.
    #[arg(long, value_name = "NAME", default_value = "latency")]
    sample: String,
    /// With `ro-crate`: the address of the licence under which you publish it.
    #[arg(long, value_name = "URL")]
    license: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Request records, a line each.
    Csv,
    /// Request records as JSON, a line each.
    Jsonl,
    /// Percentiles of a histogram, for the plotters of HdrHistogram.
    Hgrm,
    /// A zip with every file and what it is, for research data repositories.
    RoCrate,
    /// A tar that `runner import` reads.
    Tar,
    /// Request records by columns; needs a build with the feature `parquet`.
    Parquet,
}

impl Format {
    /// `None` for text.
    fn extension(self) -> Option<&'static str> {
        match self {
            Self::Csv | Self::Jsonl | Self::Hgrm => None,
            Self::RoCrate => Some("crate.zip"),
            Self::Tar => Some("tar"),
            Self::Parquet => Some("parquet"),
        }
    }
}

impl Export {
    /// For `runner archive export`.
    pub fn as_tar(id: String, out: Option<PathBuf>) -> Self {
        Self { id, format: Format::Tar, out, sample: String::new(), license: None }
    }

    pub fn execute(self, global: &Global) -> Result<ExitCode> {
        let archive = Archive::new(&global.results);
        let benchmark = archive.open(archive.find(&self.id)?)?;
        let out = match (&self.out, self.format.extension()) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(extension)) => Some(PathBuf::from(format!("{}.{extension}", benchmark.id))),
            (None, None) => None,
        };
        let Some(path) = out else {
            let mut stdout = BufWriter::with_capacity(1 << 17, io::stdout().lock());
            let written = self.write_text(&benchmark, &mut stdout).and_then(|()| Ok(stdout.flush()?));
            return match written {
                // A reader that has seen enough is no error.
                Err(err) if is_broken_pipe(&err) => Ok(ExitCode::SUCCESS),
                other => other.map(|()| ExitCode::SUCCESS),
            };
        };
        if path.exists() {
            bail!("{} is there already: name another file with `--out`", path.display());
        }
        let part = PathBuf::from(format!("{}.part", path.display()));
        let written = self.write_file(&benchmark, &part);
        if let Err(err) = written.and_then(|()| Ok(fs::rename(&part, &path)?)) {
            let _ = fs::remove_file(&part);
            return Err(err).with_context(|| format!("cannot write {}", path.display()));
        }
        Console::new(global.quiet).say(&format!("wrote {}", path.display()));
        Ok(ExitCode::SUCCESS)
    }

    fn write_text(&self, benchmark: &Benchmark, to: &mut dyn Write) -> Result<()> {
        match self.format {
            Format::Csv => export::write_csv(benchmark, to),
            Format::Jsonl => export::write_json_lines(benchmark, to),
            Format::Hgrm => export::write_hgrm(benchmark, &self.sample, to),
            Format::RoCrate | Format::Tar | Format::Parquet => bail!("this format needs a file: name it with `--out`"),
        }
    }

    fn write_file(&self, benchmark: &Benchmark, path: &Path) -> Result<()> {
        let mut file = BufWriter::with_capacity(1 << 17, File::create(path)?);
        match self.format {
            Format::RoCrate => export::write_ro_crate(benchmark, self.license.as_deref(), &mut file)?,
            Format::Tar => export::write_tar(benchmark, &mut file)?,
            #[cfg(feature = "parquet")]
            Format::Parquet => export::write_parquet(benchmark, &mut file)?,
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => bail!(
                "this build cannot write Parquet: `cargo build --release --features parquet` makes one that can; CSV is read by \
                 the same tools"
            ),
            Format::Csv | Format::Jsonl | Format::Hgrm => self.write_text(benchmark, &mut file)?,
        }
        file.into_inner().map_err(|err| err.into_error())?.sync_all()?;
        Ok(())
    }
}

fn is_broken_pipe(err: &anyhow::Error) -> bool {
    err.downcast_ref::<io::Error>().is_some_and(|err| err.kind() == io::ErrorKind::BrokenPipe)
}
