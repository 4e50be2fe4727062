//! Reading the archive: which benchmarks there are, and the files of each. Also gives out new ids.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    str::FromStr,
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use crate::{
    BenchmarkId, Manifest, RequestReader, ResourceReader, Run, SCHEMA, Summary, Timestamp, seal::ignore_in_git,
};

/// A results folder.
#[derive(Clone, Debug)]
pub struct Archive {
    results: PathBuf,
}

/// A file that this build must not or cannot read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path} has schema {found}, this build reads up to {SCHEMA}: use a newer build")]
    NewerSchema { path: PathBuf, found: u64 },
}

impl Archive {
    /// The archive in the folder `results`, which need not exist yet.
    pub fn new(results: impl Into<PathBuf>) -> Self {
        Self { results: results.into() }
    }

    pub fn folder(&self) -> &Path {
        &self.results
    }

    /// Where unsealed work lives: on the same file system, ignored by git.
    pub fn work_folder(&self) -> Result<PathBuf> {
        let work = self.results.join(".work");
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        ignore_in_git(&work)?;
        Ok(work)
    }

    /// Takes the next free id of today (UTC). Safe against any number of runners on the same folder: an id
    /// belongs to whoever created its reservation. Reservations stay: the sealed folder may be on another branch.
    pub fn allocate(&self) -> Result<BenchmarkId> {
        let today = Timestamp::now().date_digits();
        let date = today.parse().context("a date of eight digits")?;
        self.allocate_beside(date, self.ids()?)
    }

    /// The same of another date, above those that are `taken`.
    pub(crate) fn allocate_beside(
        &self,
        date: u32,
        taken: impl IntoIterator<Item = BenchmarkId>,
    ) -> Result<BenchmarkId> {
        let reservations = self.work_folder()?.join("ids");
        fs::create_dir_all(&reservations)?;
        let last = taken.into_iter().filter(|id| id.date() == date).map(BenchmarkId::sequence).max();
        let mut sequence = last.unwrap_or(0) + 1;
        loop {
            let id = BenchmarkId::new(date, sequence);
            match fs::create_dir(reservations.join(id.to_string())) {
                Ok(()) if !self.folder_of(id).exists() => return Ok(id),
                Ok(()) => {}
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
                Err(err) => return Err(err).with_context(|| format!("cannot reserve {id}")),
            }
            sequence += 1;
        }
    }

    /// Takes this very id, for a benchmark that comes with it. When somebody took it before: since when it is taken.
    pub fn reserve(&self, id: BenchmarkId) -> Result<Option<SystemTime>> {
        let reservations = self.work_folder()?.join("ids");
        fs::create_dir_all(&reservations)?;
        let place = reservations.join(id.to_string());
        match fs::create_dir(&place) {
            Ok(()) => Ok(None),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(Some(fs::metadata(&place)?.modified()?)),
            Err(err) => Err(err).with_context(|| format!("cannot reserve {id}")),
        }
    }

    /// The ids of all sealed benchmarks, oldest first.
    pub fn ids(&self) -> Result<Vec<BenchmarkId>> {
        let entries = match fs::read_dir(&self.results) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(err).with_context(|| format!("cannot read {}", self.results.display())),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            if let Some(id) = name.to_str().and_then(|name| BenchmarkId::from_str(name).ok()) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Ids and names of campaigns that are most like the text, at most three.
    fn nearest(&self, text: &str, ids: &[BenchmarkId]) -> Vec<String> {
        let name = |id: &BenchmarkId| Some(self.open(*id).ok()?.run().ok()?.campaign.name);
        let mut names: Vec<String> = ids.iter().filter_map(name).collect();
        names.sort_unstable();
        names.dedup();
        names.extend(ids.iter().rev().map(ToString::to_string));
        // An id may be meant by its end, which is all that tells ids apart.
        let likeness = |name: &String| {
            let end = name.rsplit_once('-').map_or(name.as_str(), |(_, end)| end);
            let of_end = strsim::jaro_winkler(text.trim_start_matches('-'), end);
            strsim::jaro_winkler(text, name).max(of_end)
        };
        let mut alike: Vec<(f64, String)> = names.into_iter().map(|name| (likeness(&name), name)).collect();
        alike.retain(|(likeness, _)| *likeness > 0.7);
        alike.sort_by(|a, b| b.0.total_cmp(&a.0));
        let shown = |name: String| format!("`{}`", name.chars().filter(|c| !c.is_control()).collect::<String>());
        alike.into_iter().take(3).map(|(_, name)| shown(name)).collect()
    }

    /// Finds a benchmark by its full id, a unique suffix (`-007`, `20260301-007`) or `latest`.
    pub fn find(&self, text: &str) -> Result<BenchmarkId> {
        let ids = self.ids()?;
        let place = self.results.display();
        if text == "latest" {
            return ids.last().copied().with_context(|| format!("there is no benchmark in {place} yet"));
        }
        let matching: Vec<_> = ids.iter().filter(|id| id.to_string().ends_with(text)).collect();
        match matching[..] {
            [id] if !text.is_empty() => Ok(*id),
            [] => {
                let nearest = self.nearest(text, &ids);
                let nearest = match nearest.is_empty() {
                    true => String::new(),
                    false => format!("; the nearest names are {}", nearest.join(", ")),
                };
                bail!("no benchmark `{text}` in {place}{nearest}; `runner list` shows what there is")
            }
            _ => bail!("`{text}` fits {} benchmarks in {place}: give more of the id", matching.len()),
        }
    }

    /// Opens a sealed benchmark.
    pub fn open(&self, id: BenchmarkId) -> Result<Benchmark> {
        let folder = self.folder_of(id);
        let manifest: Manifest = read_json(&folder.join("manifest.json"))?;
        if manifest.benchmark_id != id {
            bail!("{} is the manifest of {}", folder.display(), manifest.benchmark_id);
        }
        Ok(Benchmark { id, folder, results: self.results.clone(), manifest })
    }

    fn folder_of(&self, id: BenchmarkId) -> PathBuf {
        self.results.join(id.to_string())
    }
}

/// One sealed benchmark.
#[derive(Clone, Debug)]
pub struct Benchmark {
    pub id: BenchmarkId,
    pub folder: PathBuf,
    results: PathBuf,
    pub manifest: Manifest,
}

impl Benchmark {
    pub fn run(&self) -> Result<Run> {
        read_json(&self.folder.join("run.json"))
    }

    /// `None` when nothing was measured.
    pub fn summary(&self) -> Result<Option<Summary>> {
        if !self.manifest.files.contains_key("summary.json") {
            return Ok(None);
        }
        read_json(&self.folder.join("summary.json")).map(Some)
    }

    /// The request records; `None` when there are none, or they are kept outside git and are not here.
    pub fn requests(&self) -> Result<Option<RequestReader>> {
        self.path_of("requests.jsonl.zst").map(|path| RequestReader::open(&path)).transpose()
    }

    pub fn resources(&self) -> Result<Option<ResourceReader>> {
        self.path_of("resources.jsonl.zst").map(|path| ResourceReader::open(&path)).transpose()
    }

    /// The names of the log files, without `logs/`.
    pub fn logs(&self) -> Vec<&str> {
        self.manifest.files.keys().filter_map(|name| name.strip_prefix("logs/")).collect()
    }

    /// The lines of a log, compressed or not; `None` when it is kept outside git and is not here.
    pub fn log_lines(&self, name: &str) -> Result<Option<LogLines>> {
        let Some(path) = self.path_of(&format!("logs/{name}")) else { return Ok(None) };
        LogLines::open(&path, name.ends_with(".zst")).map(Some)
    }

    /// Where a file of the manifest lies on this machine, if it does.
    pub fn path_of(&self, name: &str) -> Option<PathBuf> {
        let entry = self.manifest.files.get(name)?;
        let path = match entry.external {
            true => self.results.join(".raw").join(&entry.sha256),
            false => self.folder.join(name),
        };
        path.exists().then_some(path)
    }

    /// sha256 of `manifest.json`.
    pub fn digest(&self) -> Result<String> {
        Ok(crate::sha256_hex(&fs::read(self.folder.join("manifest.json"))?))
    }
}

/// Reads a log line by line, in bounded memory.
pub struct LogLines {
    reader: Box<dyn BufRead>,
    bytes: Vec<u8>,
    line: String,
    name: String,
}

/// A longer line is read in pieces of this size.
const LONGEST_LOG_LINE: u64 = 1 << 20;

impl LogLines {
    fn open(path: &Path, compressed: bool) -> Result<Self> {
        let name = path.display().to_string();
        let file = fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
        let reader: Box<dyn BufRead> = match compressed {
            true => Box::new(BufReader::new(zstd::Decoder::new(file)?)),
            false => Box::new(BufReader::new(file)),
        };
        Ok(Self { reader, bytes: Vec::new(), line: String::new(), name })
    }

    /// The next line, without its line feed. What is not UTF-8 is replaced.
    pub fn next_line(&mut self) -> Result<Option<&str>> {
        self.bytes.clear();
        let mut piece = (&mut self.reader).take(LONGEST_LOG_LINE);
        let read = piece.read_until(b'\n', &mut self.bytes).with_context(|| format!("cannot read {}", self.name))?;
        if read == 0 {
            return Ok(None);
        }
        let end = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        self.line = String::from_utf8_lossy(end.strip_suffix(b"\r").unwrap_or(end)).into_owned();
        Ok(Some(&self.line))
    }
}

/// Reads a JSON file of the archive after looking at its schema, so that a file of a newer build gets a
/// message about versions and not about fields.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    #[derive(serde::Deserialize)]
    struct Version {
        schema: u64,
    }
    let Version { schema } =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is no file of an archive", path.display()))?;
    if schema > u64::from(SCHEMA) {
        return Err(ReadError::NewerSchema { path: path.to_owned(), found: schema }.into());
    }
    serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_given_twice() {
        let results = tempfile::tempdir().expect("temporary folder");
        let archive = Archive::new(results.path());
        let ids = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let id = archive.allocate().expect("allocated");
                        ids.lock().expect("no panic").push(id);
                    }
                });
            }
        });
        let mut ids = ids.into_inner().expect("no panic");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 200);
    }

    #[test]
    fn finds_by_suffix_and_refuses_what_fits_twice() {
        let results = tempfile::tempdir().expect("temporary folder");
        for id in ["BM-20260301-001", "BM-20260301-002", "BM-20260302-001"] {
            fs::create_dir(results.path().join(id)).expect("created");
        }
        let archive = Archive::new(results.path());
        let find = |text: &str| archive.find(text).map(|id| id.to_string()).map_err(|err| err.to_string());
        assert_eq!(find("latest").as_deref(), Ok("BM-20260302-001"));
        assert_eq!(find("-002").as_deref(), Ok("BM-20260301-002"));
        assert_eq!(find("20260302-001").as_deref(), Ok("BM-20260302-001"));
        assert!(find("-001").expect_err("ambiguous").contains("fits 2 benchmarks"));
        assert!(find("-009").expect_err("unknown").contains("no benchmark `-009`"));
        assert!(find("").is_err());
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_numbers() {
        let results = tempfile::tempdir().expect("temporary folder");
        let folder = results.path().join("BM-20260301-001");
        fs::create_dir(&folder).expect("created");
        fs::write(folder.join("manifest.json"), r#"{"schema": 7, "unheard_of": true}"#).expect("written");
        let message = Archive::new(results.path()).open(BenchmarkId::new(20260301, 1)).expect_err("newer").to_string();
        assert!(message.contains("schema 7") && message.contains("up to 1"), "{message}");
    }
}
