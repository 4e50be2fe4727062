//! Signatures by SSH keys, made and checked by the system's `ssh-keygen -Y`, as git does.
//!
//! Manifests are signed in a namespace of their own, so that a signature of something else is none of a benchmark.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};

use crate::{
    Archive, BenchmarkId, Damage, DamageKind,
    verify::{MANIFEST, SIGNATURE},
};

/// What a signature of a manifest is for.
pub const NAMESPACE: &str = "runner-manifest";
/// What git's signatures of commits are for.
const OF_COMMITS: &str = "git";

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("cannot start `ssh-keygen`: {0}: install OpenSSH 8.2 or newer")]
    NoProgram(std::io::Error),
    #[error("cannot sign with {key}: {said}")]
    Refused { key: PathBuf, said: String },
    #[error("{0}")]
    Invalid(String),
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, std::io::Error),
}

/// A private key's file, or a public key's whose private half an agent has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey(PathBuf);

impl SigningKey {
    /// The key, after a test that it signs without asking anybody for a passphrase.
    pub fn tested(path: &Path) -> Result<Self, SignError> {
        let path = fs::canonicalize(path).map_err(|err| SignError::Io(path.to_owned(), err))?;
        let key = Self(path);
        key.sign(NAMESPACE, b"a test")?;
        Ok(key)
    }

    fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SignError> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "sign", "-n", namespace, "-f"]).arg(&self.0);
        let output = fed(&mut command, bytes)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(SignError::Refused { key: self.0.clone(), said: said(&output) }),
        }
    }

    pub(crate) fn sign_manifest(&self, bytes: &[u8]) -> Result<String, SignError> {
        self.sign(NAMESPACE, bytes)
    }

    pub(crate) fn sign_commit(&self, bytes: &[u8]) -> Result<String, SignError> {
        self.sign(OF_COMMITS, bytes)
    }
}

/// A file of those who may sign, in the format of `ssh-keygen`: a name, and their public key, a line each.
#[derive(Clone, Debug)]
pub struct AllowedSigners(PathBuf);

impl AllowedSigners {
    pub fn open(path: &Path) -> Result<Self, SignError> {
        match fs::metadata(path) {
            Ok(_) => Ok(Self(path.to_owned())),
            Err(err) => Err(SignError::Io(path.to_owned(), err)),
        }
    }

    /// Whose signature it is; errs when it is nobody's who may sign, or of other bytes.
    fn check(&self, namespace: &str, signature: &Path, bytes: &[u8]) -> Result<String, SignError> {
        let mut find = Command::new("ssh-keygen");
        find.args(["-Y", "find-principals", "-f"]).arg(&self.0).arg("-s").arg(signature);
        let found = fed(&mut find, b"")?;
        let names = String::from_utf8_lossy(&found.stdout).into_owned();
        let Some(name) = names.lines().next().filter(|_| found.status.success()) else {
            return Err(SignError::Invalid("is signed by nobody who may sign".to_owned()));
        };
        let mut verify = Command::new("ssh-keygen");
        verify.args(["-Y", "verify", "-n", namespace, "-I", name, "-f"]).arg(&self.0).arg("-s").arg(signature);
        let output = fed(&mut verify, bytes)?;
        match output.status.success() {
            true => Ok(name.to_owned()),
            false => Err(SignError::Invalid(format!("has a signature of {name} that is not of these bytes"))),
        }
    }
}

impl Archive {
    /// Checks the signature of a manifest. Without `signers` one that is there must be of this manifest, by whomever; with
    /// them there must be one, by one of them. Errs when it cannot be told.
    pub fn verify_signature(
        &self,
        id: BenchmarkId,
        signers: Option<&AllowedSigners>,
    ) -> Result<Option<Damage>, SignError> {
        let folder = self.folder().join(id.to_string());
        let damage = |file: &str, detail: String| {
            Some(Damage { benchmark_id: id, file: Some(file.to_owned()), kind: DamageKind::Signature, detail })
        };
        let signature = folder.join(SIGNATURE);
        if !signature.exists() {
            return Ok(signers.and_then(|_| damage(MANIFEST, "is not signed".to_owned())));
        }
        // What cannot be read is damage of another kind.
        let Ok(bytes) = fs::read(folder.join(MANIFEST)) else { return Ok(None) };
        let outcome = match signers {
            Some(signers) => signers.check(NAMESPACE, &signature, &bytes).map(drop),
            None => {
                let mut check = Command::new("ssh-keygen");
                check.args(["-Y", "check-novalidate", "-n", NAMESPACE, "-s"]).arg(&signature);
                let output = fed(&mut check, &bytes)?;
                match output.status.success() {
                    true => Ok(()),
                    false => Err(SignError::Invalid("is no signature of this manifest".to_owned())),
                }
            }
        };
        match outcome {
            Ok(()) => Ok(None),
            Err(SignError::Invalid(why)) => Ok(damage(SIGNATURE, why)),
            Err(err) => Err(err),
        }
    }

    /// The benchmarks whose commits nobody signed who may; `brought` is what [`audit`](crate::audit()) saw.
    pub fn verify_commits(
        &self,
        brought: &[(BenchmarkId, String)],
        signers: &AllowedSigners,
    ) -> Result<Vec<Damage>, SignError> {
        let git = |err: git2::Error| SignError::Invalid(format!("the history cannot be read: {err}"));
        let repository = git2::Repository::discover(self.folder()).map_err(git)?;
        let mut damages = Vec::new();
        for (id, commit) in brought {
            let short = commit.chars().take(12).collect::<String>();
            let oid = git2::Oid::from_str(commit).map_err(git)?;
            let why = match repository.extract_signature(&oid, None) {
                Err(_) => Some(format!("commit {short}, which brought it, is not signed")),
                Ok((signature, signed)) => {
                    let file = Temporary::new(&signature)?;
                    match signers.check(OF_COMMITS, &file.0, &signed) {
                        Ok(_) => None,
                        Err(SignError::Invalid(why)) => Some(format!("commit {short}, which brought it, {why}")),
                        Err(err) => return Err(err),
                    }
                }
            };
            damages.extend(why.map(|detail| Damage {
                benchmark_id: *id,
                file: None,
                kind: DamageKind::Signature,
                detail,
            }));
        }
        Ok(damages)
    }
}

/// Runs the program with `bytes` on its stdin. It asks nobody for anything.
fn fed(command: &mut Command, bytes: &[u8]) -> Result<Output, SignError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force");
    let mut child = command.spawn().map_err(SignError::NoProgram)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why.
        let _ = stdin.write_all(bytes);
    }
    child.wait_with_output().map_err(SignError::NoProgram)
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    line.trim().chars().filter(|c| !c.is_control()).collect()
}

/// A file that goes with this value.
struct Temporary(PathBuf);

impl Temporary {
    fn new(bytes: &[u8]) -> Result<Self, SignError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("runner-signature-{}-{number}", std::process::id()));
        let mut file = fs::File::create_new(&path).map_err(|err| SignError::Io(path.clone(), err))?;
        let written = Self(path.clone());
        file.write_all(bytes).map_err(|err| SignError::Io(path, err))?;
        Ok(written)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
