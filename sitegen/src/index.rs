//! What a build found in the archive, kept for the next one: of every benchmark what stays in memory, and answers of the
//! analysis that take long.
//!
//! Nothing in it is needed: without it everything is read and asked anew, and comes to the same. A benchmark is known by
//! when and where its manifest was written, an answer by the digests of what it is about; both by the program that
//! found them. Sealed files are taken to be as they were sealed: `runner verify` tells when they are not.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use archive::BenchmarkId;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::load::Loaded;

/// The file, within the site; it is not for publishing.
const FILE: &str = ".cache/index.zst";

/// Lines that are read at a time.
const BATCH: usize = 1024;

/// Lines that nobody asked for, at most, beside as many as were used: with more, the file is made anew.
const MOST_UNUSED: usize = 1024;

/// Of zstd: lines are alike, and this is fast.
const LEVEL: i32 = 1;

/// When and where a manifest was written.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: [i64; 2],
    changed: [i64; 2],
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let of = fs::metadata(path).ok()?;
        let (modified, changed) = ([of.mtime(), of.mtime_nsec()], [of.ctime(), of.ctime_nsec()]);
        Some(Self { inode: of.ino(), size: of.len(), modified, changed })
    }
}

/// One line of the file. The first one names the program.
#[derive(Serialize, Deserialize)]
enum Line {
    Benchmark(Stamp, Box<Loaded>),
    /// Its key, and what it is in JSON.
    Answer(String, String),
}

/// What earlier builds found, and what this one does.
pub struct Index {
    /// `None` where nothing is kept.
    file: Option<PathBuf>,
    made_by: String,
    /// The file can be added to.
    is_sound: bool,
    lines: usize,
    benchmarks: Mutex<HashMap<BenchmarkId, (Stamp, Box<Loaded>)>>,
    answers: Mutex<HashMap<String, String>>,
    used: AtomicUsize,
    /// Lines of this build, compressed, and how many there are.
    found: Mutex<(zstd::Encoder<'static, Vec<u8>>, usize)>,
}

impl Index {
    /// What is kept in the folder of all versions. `made_by` names this program.
    pub fn open(site: &Path, made_by: &str) -> Result<Self> {
        let mut index = Self::none()?;
        index.made_by = made_by.to_owned();
        index.file = Some(site.join(FILE));
        // Of a file that is damaged, all is found anew.
        index.is_sound = index.read().is_ok();
        if !index.is_sound {
            index.lines = 0;
            index.benchmarks = Mutex::default();
            index.answers = Mutex::default();
        }
        Ok(index)
    }

    /// Knows nothing, and keeps nothing.
    pub fn none() -> Result<Self> {
        Ok(Self {
            file: None,
            made_by: String::new(),
            is_sound: false,
            lines: 0,
            benchmarks: Mutex::default(),
            answers: Mutex::default(),
            used: AtomicUsize::new(0),
            found: Mutex::new((encoder()?, 0)),
        })
    }

    fn read(&mut self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut lines = BufReader::new(zstd::Decoder::new(fs::File::open(file)?)?).lines();
        if lines.next().transpose()?.as_deref() != Some(&self.made_by) {
            bail!("another program found what is in {}", file.display());
        }
        let benchmarks = self.benchmarks.get_mut().unwrap_or_else(PoisonError::into_inner);
        let answers = self.answers.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            let batch = lines.by_ref().take(BATCH).collect::<std::io::Result<Vec<String>>>()?;
            if batch.is_empty() {
                return Ok(());
            }
            let read: Vec<Line> =
                batch.into_par_iter().map(|line| serde_json::from_str(&line)).collect::<Result<_, _>>()?;
            self.lines += read.len();
            for line in read {
                match line {
                    // A later line is of what was sealed anew.
                    Line::Benchmark(stamp, benchmark) => _ = benchmarks.insert(benchmark.id, (stamp, benchmark)),
                    Line::Answer(key, value) => _ = answers.insert(key, value),
                }
            }
        }
    }

    /// What stays in memory of the benchmark with this manifest; `read` where it is not known.
    pub fn benchmark(&self, manifest: &Path, id: BenchmarkId, read: impl FnOnce() -> Result<Loaded>) -> Result<Loaded> {
        let Some(stamp) = self.file.as_ref().and_then(|_| Stamp::of(manifest)) else { return read() };
        let known = self.benchmarks.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some((_, known)) = known.filter(|(known, _)| *known == stamp) {
            self.used.fetch_add(1, Ordering::Relaxed);
            return Ok(*known);
        }
        let line = Line::Benchmark(stamp, Box::new(read()?));
        let text = serde_json::to_string(&line)?;
        // What does not read back as it is, is not kept.
        let again: Option<Line> = serde_json::from_str(&text).ok();
        if again.is_some_and(|again| serde_json::to_string(&again).is_ok_and(|again| again == text)) {
            self.add(&text)?;
        }
        let Line::Benchmark(_, benchmark) = line else { bail!("{id} is no benchmark") };
        Ok(*benchmark)
    }

    /// An answer about these facts, which it follows from; `make` where it is not known.
    pub fn answer<T>(&self, facts: &[&str], make: impl FnOnce() -> Result<T>) -> Result<T>
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        if self.file.is_none() {
            return make();
        }
        // A list in JSON: no two lists of texts read the same.
        let key = archive::sha256_hex(serde_json::to_string(facts)?.as_bytes());
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(known) = known.and_then(|known| serde_json::from_str(&known).ok()) {
            self.used.fetch_add(1, Ordering::Relaxed);
            return Ok(known);
        }
        let made = make()?;
        let text = serde_json::to_string(&made)?;
        if serde_json::from_str::<T>(&text).is_ok_and(|again| again == made) {
            self.add(&serde_json::to_string(&Line::Answer(key, text))?)?;
        }
        Ok(made)
    }

    fn add(&self, line: &str) -> Result<()> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.0.write_all(line.as_bytes())?;
        found.0.write_all(b"\n")?;
        found.1 += 1;
        Ok(())
    }

    /// Keeps what this build found.
    pub fn keep(self) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let (encoder, count) = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let used = self.used.into_inner();
        let failed = || format!("cannot write {}", file.display());
        if self.lines > 2 * used + MOST_UNUSED {
            return fs::remove_file(&file).with_context(failed);
        }
        if count == 0 && self.is_sound {
            return Ok(());
        }
        let found = encoder.finish()?;
        if self.is_sound {
            let mut file = OpenOptions::new().append(true).open(&file).with_context(failed)?;
            return file.write_all(&found).with_context(failed);
        }
        let mut first = encoder_of_first(&self.made_by)?;
        first.extend(found);
        let part = file.with_extension(format!("part-{}", std::process::id()));
        crate::write::write(&part, &first)?;
        fs::rename(&part, &file).with_context(failed)
    }
}

fn encoder() -> Result<zstd::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    // Tells what was cut off or altered.
    encoder.include_checksum(true)?;
    Ok(encoder)
}

fn encoder_of_first(made_by: &str) -> Result<Vec<u8>> {
    let mut encoder = encoder()?;
    encoder.write_all(format!("{made_by}\n").as_bytes())?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_asked_once_by_one_program_and_damage_is_no_answer() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let ask = |made_by: &str, facts: &[&str]| {
            let index = Index::open(folder.path(), made_by).expect("opened");
            let mut asked = false;
            let answer = index.answer(facts, || {
                asked = true;
                Ok(vec![0.1, 1.0 / 3.0])
            });
            assert_eq!(answer.expect("answered"), [0.1, 1.0 / 3.0]);
            index.keep().expect("kept");
            asked
        };
        assert!(ask("one", &["a", "b"]) && !ask("one", &["a", "b"]));
        assert!(ask("one", &["ab"]) && !ask("one", &["ab"]) && !ask("one", &["a", "b"]));
        assert!(ask("two", &["ab"]) && !ask("two", &["ab"]));
        let file = folder.path().join(FILE);
        let bytes = fs::read(&file).expect("read");
        for damage in [&bytes[..bytes.len() - 3], b"nonsense", b""] {
            fs::write(&file, damage).expect("written");
            assert!(ask("two", &["ab"]) && !ask("two", &["ab"]));
        }
    }

    #[test]
    fn what_does_not_read_back_is_asked_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for _ in 0..2 {
            let index = Index::open(folder.path(), "one").expect("opened");
            let mut asked = false;
            let answer = index.answer(&["a"], || {
                asked = true;
                Ok(vec![Some(f64::INFINITY)])
            });
            assert_eq!((answer.expect("answered"), asked), (vec![Some(f64::INFINITY)], true));
            index.keep().expect("kept");
        }
    }
}
