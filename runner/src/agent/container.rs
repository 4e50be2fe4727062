//! Images of Apptainer and Singularity: pulled once into a folder that all nodes share, then run from there.

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
    program::find,
};
use crate::services::Launch;

/// How a job runs images.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// `apptainer` or `singularity`.
    pub program: String,
    /// Bound into every container, `host:container[:ro]`.
    pub volumes: Vec<String>,
    /// Where images are kept.
    pub images: PathBuf,
}

/// An image that is here.
#[derive(Clone, Debug)]
pub struct Image {
    pub file: PathBuf,
    pub facts: ImageFacts,
}

/// Beside an image's file: what it was when it was pulled.
#[derive(Serialize, Deserialize)]
struct Pulled {
    reference: String,
    sha256: String,
    size_bytes: u64,
}

impl Runtime {
    /// The image, pulled unless an earlier job did. Two jobs that want it at once pull it once.
    pub async fn image(&self, reference: &str) -> Result<Image> {
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
        let known: Option<Pulled> = read_json(&note).ok();
        let pulled = match known.filter(|known| fs::metadata(&file).is_ok_and(|facts| facts.len() == known.size_bytes))
        {
            Some(known) => known,
            None => {
                let pulled = self.pull(reference, &file).await?;
                write_json(&note, &pulled)?;
                pulled
            }
        };
        let digest = reference.split_once('@').map(|(_, digest)| digest.to_owned());
        let facts = ImageFacts {
            reference: reference.to_owned(),
            digest,
            sif_sha256: Some(pulled.sha256),
            runtime: version_of(&self.located()?),
        };
        Ok(Image { file, facts })
    }

    async fn pull(&self, reference: &str, file: &Path) -> Result<Pulled> {
        let part = file.with_extension("part");
        let program = self.located()?;
        let output = Command::new(program)
            .args(["pull", "--force"])
            .arg(&part)
            .arg(format!("docker://{reference}"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let reason = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
            bail!("cannot pull the image {reference}: {reason}");
        }
        let (size_bytes, sha256) = digest(&part).with_context(|| format!("cannot read {}", part.display()))?;
        fs::rename(&part, file)?;
        Ok(Pulled { reference: reference.to_owned(), sha256, size_bytes })
    }

    pub fn located(&self) -> Result<PathBuf> {
        find(&self.program, &[])
            .with_context(|| format!("`{}` is not on PATH: name its module in the target's `modules`", self.program))
    }

    /// Arguments that run a program of the image, with the working folder in the same place.
    pub fn args(&self, launch: &Launch, plan: &ServicePlan, image: &Path, scratch: &Path) -> Vec<String> {
        let scratch = scratch.display();
        let mut args = vec!["exec".to_owned()];
        let has_gpus = ["SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"];
        if has_gpus.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
            args.push("--nv".to_owned());
        }
        for volume in std::iter::once(&scratch.to_string()).chain(&self.volumes).chain(&plan.volumes) {
            args.extend(["--bind".to_owned(), volume.clone()]);
        }
        args.extend(["--pwd".to_owned(), scratch.to_string(), image.display().to_string()]);
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
