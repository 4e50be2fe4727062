//! The login node: who and where we are there, and the agents' program put in place once per digest.

use std::fs;

use anyhow::{Context, Result, bail};
use archive::Timestamp;

use super::{Cluster, Ssh, script::quoted};
use crate::{node::OWN_PROGRAM, recipe::target_file::SlurmTarget};

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
    let bytes = fs::read(&path).with_context(|| {
        format!("cannot read the agents' program {path}: build it as docs/cluster.md says, or leave `agent` out of the target")
    })?;
    if let (Some(needs), Some(has)) = (newest_glibc(&bytes), place.glibc.as_deref().and_then(version))
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
    let digest = archive::sha256_hex(&bytes);
    let program = format!("{}/bin/{digest}/runner", place.folder);
    let check = format!("printf '%s  %s\\n' {digest} {} | sha256sum -c --status 2>/dev/null", quoted(&program)?);
    if cluster.ssh.run(&check, b"")?.code != 0 {
        tracing::info!("uploading the agents' program, {} MB", bytes.len() / 1_000_000);
        let script = format!(
            "set -e; umask 077; cd {}/bin; mkdir -p {digest}; part={digest}/part.$$; cat >$part; chmod 700 $part\n\
             printf '%s  %s\\n' {digest} $part | sha256sum -c --status; mv $part {digest}/runner; {digest}/runner --version",
            quoted(&place.folder)?
        );
        cluster.ssh.run(&script, &bytes)?.ok("cannot put the agents' program on the cluster")?;
    }
    cluster.program = Some(program.clone());
    Ok(program)
}

/// The newest version of glibc that a program names. It may name one that it could do without.
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

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_glibc() {
        assert_eq!(newest_glibc(b"..GLIBC_2.4\0GLIBC_2.17\0GLIBC_2.9\0GLIBC_PRIVATE"), Some((2, 17)));
        assert_eq!(newest_glibc(b"static"), None);
        assert_eq!((version("2.28"), version("2.28.1"), version("x")), (Some((2, 28)), Some((2, 28)), None));
        let own = fs::read(OWN_PROGRAM).expect("it runs");
        assert!(newest_glibc(&own).is_some());
    }
}
