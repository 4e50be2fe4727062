//! The login node: who and where we are there, and the agents' program put in place once per digest.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, bail};
use archive::Timestamp;
use sha2::{Digest, Sha256};

use super::{Cluster, Ssh, script::quoted};
use crate::{node::OWN_PROGRAM, recipe::target_file::SlurmTarget, target::ssh::Going};

/// What the login node says of itself.
#[derive(Clone, Debug)]
pub struct Place {
    pub user: String,
    pub hostname: String,
    /// Our folder there, absolute.
    pub folder: String,
    /// `2.28`, where it is glibc.
    pub glibc: Option<String>,
    /// `slurm 22.05.8`.
    pub slurm: String,
    /// Its clock less ours; exact to the length of a round trip.
    pub clock_offset_s: f64,
    pub free_bytes: Option<u64>,
}

/// Asks the login node, and makes our folder there.
pub fn ask(ssh: &mut Ssh, site: &SlurmTarget) -> Result<Place> {
    let folder = site.folder.strip_prefix("~/").unwrap_or(&site.folder);
    let script = format!(
        "umask 077; cd; folder={}; case $folder in /*) ;; *) folder=$(pwd -P)/$folder ;; esac\n\
         mkdir -p \"$folder/run\" \"$folder/bin\" \"$folder/images\" || exit 3\n\
         printf '%s\\n' \"$folder\" \"$(id -un)\" \"$(uname -n)\" \"$(getconf GNU_LIBC_VERSION 2>/dev/null)\"\n\
         sbatch --version 2>&1 | tail -n 1; date +%s.%N; df -Pk \"$folder\" | tail -n 1",
        quoted(folder)?
    );
    // So that the time of the connection is not taken for that of the question.
    ssh.run("true", b"")?;
    let begun = Timestamp::now();
    let answer = ssh.run(&script, b"")?;
    let trip = Timestamp::now().seconds_since(begun);
    let text = answer.ok("cannot make the target's folder on the cluster")?.text();
    let lines: Vec<&str> = text.lines().collect();
    let [folder, user, hostname, glibc, slurm, clock, space] = lines[..] else {
        bail!("the login shell of {} says more than it is asked: mend what it prints:\n{text}", site.host);
    };
    if !slurm.starts_with("slurm") {
        bail!("there is no Slurm on {}: `sbatch --version` says {slurm:?}", site.host);
    }
    if folder.contains('%') || folder.chars().any(char::is_whitespace) {
        bail!(
            "the target's folder cannot have blanks or `%` in it, which job scripts would take for something else: {folder}"
        );
    }
    let here = begun.unix_us() as f64 / 1e6 + trip / 2.0;
    let clock: f64 = clock.parse().context("the login node's clock cannot be read")?;
    Ok(Place {
        user: user.to_owned(),
        hostname: hostname.to_owned(),
        folder: folder.to_owned(),
        glibc: glibc.strip_prefix("glibc ").map(str::to_owned),
        slurm: slurm.to_owned(),
        clock_offset_s: ((clock - here) * 1e3).round() / 1e3,
        free_bytes: space.split_whitespace().nth(3).and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib << 10),
    })
}

/// The agents' program on the cluster: this one, or the build that the target names. Uploaded once per digest.
pub fn put_program(cluster: &mut Cluster, place: &Place) -> Result<String> {
    if let Some(program) = &cluster.program {
        return Ok(program.clone());
    }
    let path = cluster.site.agent.clone().unwrap_or_else(|| OWN_PROGRAM.to_owned());
    let facts = examine(Path::new(&path)).with_context(|| {
        format!("cannot read the agents' program {path}: build it as docs/cluster.md says, or leave `agent` out of the target")
    })?;
    if let (Some(needs), Some(has)) = (facts.glibc, place.glibc.as_deref().and_then(version))
        && needs > has
    {
        bail!(
            "{path} needs glibc {}.{} and {} has {}.{}: build the agent for it, see docs/cluster.md",
            needs.0,
            needs.1,
            place.hostname,
            has.0,
            has.1
        );
    }
    let digest = facts.digest;
    let program = format!("{}/bin/{digest}/runner", place.folder);
    let check = format!("printf '%s  %s\\n' {digest} {} | sha256sum -c --status 2>/dev/null", quoted(&program)?);
    if cluster.ssh.run(&check, b"")?.code != 0 {
        tracing::info!("uploading the agents' program, {} MB", facts.bytes / 1_000_000);
        let cannot = "cannot put the agents' program on the cluster";
        let (bin, part) = (format!("{}/bin/{digest}", place.folder), format!("part.{}", part_name()));
        let make = format!("umask 077; mkdir -p {}", quoted(&bin)?);
        cluster.ssh.run(&make, b"")?.ok(cannot)?;
        cluster.ssh.put(&[Going { here: path.into(), there: format!("{bin}/{part}"), mode: 0o700 }])?;
        // The step may have been done by an attempt whose answer was lost.
        let script = format!(
            "set -e; cd {}; [ -e {part} ] || {{ {check}; exit; }}\n\
             printf '%s  %s\\n' {digest} {part} | sha256sum -c --status || {{ rm {part}; echo 'it arrived damaged' >&2; exit 1; }}\n\
             chmod 700 {part}; mv {part} runner; ./runner --version",
            quoted(&bin)?
        );
        cluster.ssh.run(&script, b"")?.ok(cannot)?;
    }
    cluster.program = Some(program.clone());
    Ok(program)
}

/// What has to be known of a program before it is sent.
struct Facts {
    digest: String,
    bytes: u64,
    /// The newest version of glibc that it names. It may name one that it could do without.
    glibc: Option<(u32, u32)>,
}

/// Reads a program piece by piece, so that it is never held whole.
fn examine(path: &Path) -> Result<Facts> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes, mut glibc) = (Sha256::new(), 0, None);
    let (mut chunk, mut held) = (vec![0; 1 << 20], 0);
    loop {
        let count = file.read(&mut chunk[held..])?;
        if count == 0 {
            break;
        }
        hash.update(&chunk[held..held + count]);
        bytes += count as u64;
        let filled = held + count;
        glibc = glibc.max(newest_glibc(&chunk[..filled]));
        // A name may go on in the next piece.
        held = filled.min(LONGEST_NAME);
        chunk.copy_within(filled - held..filled, 0);
    }
    Ok(Facts { digest: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), bytes, glibc })
}

/// Bytes of `GLIBC_2.` and the digits behind it.
const LONGEST_NAME: usize = 16;

/// The newest version of glibc that these bytes name.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"GLIBC_2.";
    let mut newest = None;
    for at in memchr::memmem::find_iter(program, NAME) {
        let minor = program[at + NAME.len()..].iter().map_while(|byte| byte.is_ascii_digit().then_some(*byte as char));
        let digits: String = minor.take(3).collect();
        newest = newest.max(digits.parse().ok().map(|minor| (2, minor)));
    }
    newest
}

/// A name that no other runner gives a file that it is sending.
fn part_name() -> String {
    format!("{:x}-{}", Timestamp::now().unix_us(), std::process::id())
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_examined_piece_by_piece() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        // A name across the border of two pieces.
        let mut bytes = vec![b'x'; (1 << 20) - 6];
        bytes.extend(b"GLIBC_2.31\0");
        fs::write(file.path(), &bytes).expect("written");
        let facts = examine(file.path()).expect("fine");
        assert_eq!((facts.bytes, facts.glibc), (bytes.len() as u64, Some((2, 31))));
        assert_eq!(facts.digest, archive::sha256_hex(&bytes));
    }

    #[test]
    fn versions_of_glibc() {
        assert_eq!(newest_glibc(b"..GLIBC_2.4\0GLIBC_2.17\0GLIBC_2.9\0GLIBC_PRIVATE"), Some((2, 17)));
        assert_eq!(newest_glibc(b"static"), None);
        assert_eq!((version("2.28"), version("2.28.1"), version("x")), (Some((2, 28)), Some((2, 28)), None));
        let own = examine(Path::new(OWN_PROGRAM)).expect("it runs");
        assert!(own.glibc.is_some() && own.digest.len() == 64);
    }
}
