//! Images of Apptainer and Singularity: pulled once into a folder that all nodes share, then run from there; those of podman:
//! pulled into the node's own storage.
//!
//! What a tag meant when it was pulled is kept with the image, and holds until the file is removed. A file that is not what was
//! pulled is pulled anew.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use archive::ImageFacts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{process::Command, time::sleep};

use super::{
    ServicePlan,
    deployment::{read_json, write_json},
    program::{find, in_podman},
};
use crate::services::Launch;

/// How a job runs images.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// `apptainer`, `singularity` or `podman`.
    pub program: String,
    /// Bound into every container, `host:container[:ro]`.
    pub volumes: Vec<String>,
    /// Where images are kept.
    pub images: PathBuf,
}

/// An image that is here.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the runtime calls it: a file, or a reference.
    pub name: String,
    pub facts: ImageFacts,
}

/// Beside an image's file: what it was when it was pulled.
#[derive(Serialize, Deserialize)]
struct Pulled {
    reference: String,
    sha256: String,
    /// Of the manifest in the registry, `sha256:…`; where the runtime told it.
    #[serde(default)]
    digest: Option<String>,
}

impl Runtime {
    /// The image, pulled unless an earlier job did. Two jobs that want it at once pull it once.
    pub async fn image(&self, reference: &str) -> Result<Image> {
        if self.program == PODMAN {
            return self.stored(reference).await;
        }
        fs::create_dir_all(&self.images).with_context(|| format!("cannot create {}", self.images.display()))?;
        let file = self.images.join(file_name(reference));
        let note = file.with_extension("json");
        let lock = File::create(file.with_extension("lock"))?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(500)).await,
                Err(TryLockError::Error(err)) => return Err(err).context("cannot lock the folder of images"),
            }
        }
        // What is recorded is what is run: the file is read, however long ago it was pulled.
        let known: Option<Pulled> = read_json(&note).ok();
        let pulled = match known.filter(|known| digest(&file).is_ok_and(|(_, sha256)| sha256 == known.sha256)) {
            Some(known) => known,
            None => {
                let pulled = self.pull(reference, &file).await?;
                write_json(&note, &pulled)?;
                pulled
            }
        };
        let facts = ImageFacts {
            reference: reference.to_owned(),
            digest: pinned(reference).or(pulled.digest),
            sif_sha256: Some(pulled.sha256),
            runtime: version_of(&self.located()?),
        };
        Ok(Image { name: file.display().to_string(), facts })
    }

    async fn pull(&self, reference: &str, file: &Path) -> Result<Pulled> {
        let part = file.with_extension("part");
        // The name that an image has in the runtime's cache is the digest of its manifest. In a cache of its own, there is
        // no other.
        let cache = file.with_extension("cache");
        remove_folder(&cache)?;
        fs::create_dir(&cache)?;
        let mut command = Command::new(self.located()?);
        command.env("APPTAINER_CACHEDIR", &cache).env("SINGULARITY_CACHEDIR", &cache);
        command.args(["pull", "--force"]).arg(&part).arg(format!("docker://{}", without_tag(reference)));
        said_well(command, reference).await?;
        let digest_there = cached_digest(&cache);
        remove_folder(&cache)?;
        let (_, sha256) = digest(&part).with_context(|| format!("cannot read {}", part.display()))?;
        fs::rename(&part, file)?;
        Ok(Pulled { reference: reference.to_owned(), sha256, digest: digest_there })
    }

    /// The image in podman's storage on this node.
    async fn stored(&self, reference: &str) -> Result<Image> {
        let podman = self.located()?;
        let name = without_tag(reference);
        let (program, wanted) = (podman.clone(), name.clone());
        let digest = tokio::task::spawn_blocking(move || in_podman(&program, &wanted)).await??;
        let facts = ImageFacts {
            reference: reference.to_owned(),
            digest: pinned(reference).or(digest),
            sif_sha256: None,
            runtime: version_of(&podman),
        };
        Ok(Image { name, facts })
    }

    pub fn located(&self) -> Result<PathBuf> {
        find(&self.program, &[])
            .with_context(|| format!("`{}` is not on PATH: name its module in the target's `modules`", self.program))
    }

    /// Arguments that run a program of a SIF file, with the working folder in the same place.
    pub fn args(&self, launch: &Launch, plan: &ServicePlan, image: &str, scratch: &Path) -> Vec<String> {
        let scratch = scratch.display();
        let mut args = vec!["exec".to_owned()];
        if has_gpus() {
            args.push("--nv".to_owned());
        }
        for volume in std::iter::once(&scratch.to_string()).chain(&self.volumes).chain(&plan.volumes) {
            args.extend(["--bind".to_owned(), volume.clone()]);
        }
        args.extend(["--pwd".to_owned(), scratch.to_string(), image.to_owned()]);
        args.push(launch.program_in_image.unwrap_or(&launch.program).to_owned());
        args.extend(launch.args.iter().cloned());
        args
    }

    /// The name under which a variable reaches a container whatever the image sets it to.
    pub fn variable(program: &str, name: &str) -> String {
        let prefix = if program == "singularity" { "SINGULARITYENV" } else { "APPTAINERENV" };
        format!("{prefix}_{name}")
    }
}

pub const PODMAN: &str = "podman";

/// Whether Slurm gave this job GPUs.
pub fn has_gpus() -> bool {
    let named = ["SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"];
    named.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Runs a command that fetches an image; errs with the last that it said.
async fn said_well(mut command: Command, reference: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
        bail!("cannot pull the image {reference}: {reason}");
    }
    Ok(())
}

/// The digest that a reference names itself.
fn pinned(reference: &str) -> Option<String> {
    reference.split_once('@').map(|(_, digest)| digest.to_owned())
}

/// A reference with a digest has no use for its tag, and the runtimes refuse both.
fn without_tag(reference: &str) -> String {
    let Some((name, digest)) = reference.split_once('@') else { return reference.to_owned() };
    // A colon before the last slash belongs to a port.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
    format!("{name}@{digest}")
}

/// The digest of the one image in a cache of Apptainer's or Singularity's; `None` where there is not exactly one.
fn cached_digest(cache: &Path) -> Option<String> {
    let entries = fs::read_dir(cache.join("cache/oci-tmp")).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let digests: Vec<String> = names
        .filter_map(|name| {
            let hex = name.rsplit([':', '.']).next()?.to_owned();
            (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| format!("sha256:{hex}"))
        })
        .collect();
    match &digests[..] {
        [digest] => Some(digest.clone()),
        _ => None,
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(err).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The first line of what a program says to `--version`.
pub fn version_of(program: &Path) -> Option<String> {
    let output = std::process::Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().filter(|_| output.status.success())?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A reference as a file's name: readable, and no two the same.
fn file_name(reference: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let readable: String = reference.chars().map(plain).take(80).collect();
    let readable = readable.trim_start_matches('.');
    format!("{readable}-{}.sif", &archive::sha256_hex(reference.as_bytes())[..12])
}

/// Size and sha256 of a file.
pub fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hash, mut chunk, mut size) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => {
                hash.update(&chunk[..count]);
                size += count as u64;
            }
        }
    }
    Ok((size, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_stands_without_its_tag() {
        for (given, expect, digest) in [
            ("redis:7.4.1", "redis:7.4.1", None),
            ("redis@sha256:ab", "redis@sha256:ab", Some("sha256:ab")),
            ("redis:7@sha256:ab", "redis@sha256:ab", Some("sha256:ab")),
            ("host:5000/org/redis:7@sha256:ab", "host:5000/org/redis@sha256:ab", Some("sha256:ab")),
            ("host:5000/redis@sha256:ab", "host:5000/redis@sha256:ab", Some("sha256:ab")),
        ] {
            assert_eq!((without_tag(given).as_str(), pinned(given).as_deref()), (expect, digest), "{given}");
        }
    }

    #[test]
    fn the_only_image_of_a_cache_tells_its_digest() {
        let hex = "0123456789abcdef".repeat(4);
        let expect = Some(format!("sha256:{hex}"));
        for (names, expect) in [
            (vec![hex.clone()], expect.clone()),
            (vec![format!("sha256:{hex}")], expect.clone()),
            (vec![format!("sha256.{hex}"), "tmp_1".to_owned()], expect),
            (vec![hex.clone(), hex.replace('0', "1")], None),
            (vec!["tmp".to_owned()], None),
        ] {
            let cache = tempfile::tempdir().expect("a folder");
            let folder = cache.path().join("cache/oci-tmp");
            fs::create_dir_all(&folder).expect("made");
            names.iter().for_each(|name| fs::write(folder.join(name), "").expect("written"));
            assert_eq!(cached_digest(cache.path()), expect, "{names:?}");
        }
        assert_eq!(cached_digest(Path::new("/nowhere")), None);
    }

    #[test]
    fn references_are_names_of_files() {
        let name = file_name("registry:5000/org/redis:7.4.1");
        assert!(name.starts_with("registry_5000_org_redis_7.4.1-") && name.ends_with(".sif"), "{name}");
        assert_ne!(file_name("a/b"), file_name("a_b"));
        for reference in ["../../x", "", "$(id)", "a b"] {
            let name = file_name(reference);
            assert!(!name.contains(['/', ' ', '$']) && !name.starts_with('.'), "{name}");
        }
    }
}
