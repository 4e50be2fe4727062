//! Files to the cluster and back: a run folder is put in place whole, and fetched file by file against digests.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Ssh, script::quoted};
use crate::target::Gone;

/// What agents need of a run folder. The rest is the runner's own.
const INPUTS: [&str; 9] =
    ["plan.json", "secrets.env", "serve.sh", "load.sh", "events", "service", "points", "traces", "inputs"];
/// How often what came wrong is fetched again.
const ATTEMPTS: u32 = 5;

/// Puts the run folder into `runs` there, unless it is there already. Nobody sees half of it.
pub fn put(ssh: &mut Ssh, folder: &Path, runs: &str, name: &str) -> Result<()> {
    let mut pack = Command::new("tar");
    pack.arg("-C")
        .arg(folder)
        .args(["-cf", "-", "--owner=0", "--group=0"])
        .args(INPUTS.iter().filter(|name| folder.join(name).exists()));
    let packed = pack.stdin(Stdio::null()).output().context("cannot start `tar`")?;
    if !packed.status.success() {
        bail!("cannot pack {}: {}", folder.display(), String::from_utf8_lossy(&packed.stderr).trim());
    }
    let script = format!(
        "set -e; umask 077; mkdir -p {runs}; cd {runs}\n\
         if [ -d {name} ]; then cat >/dev/null; exit 0; fi\n\
         rm -rf {name}.part; mkdir {name}.part; tar -x -o -C {name}.part -f -; mv {name}.part {name}",
        runs = quoted(runs)?,
        name = quoted(name)?,
    );
    ssh.run(&script, &packed.stdout)?.ok("cannot put the run folder on the cluster")?;
    Ok(())
}

/// For a shell: goes into the folder `there`. Ends with 3 if it is gone, which a folder that cannot be looked for now is not.
pub fn enter(there: &str) -> Result<String> {
    let (folder, parent) =
        (quoted(there)?, quoted(&Path::new(there).parent().unwrap_or(Path::new("/")).to_string_lossy())?);
    Ok(format!("cd {folder} 2>/dev/null || {{ ls {parent} >/dev/null || exit 4; [ -e {folder} ] || exit 3; exit 4; }}"))
}

/// Unpacks a stream of `tar` into `folder`; what is damaged is left out, for it is asked for again.
pub fn unpack(folder: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut unpack = Command::new("tar");
    unpack.arg("-C").arg(folder).args(["-xf", "-", "--no-same-owner", "--no-same-permissions"]);
    let mut child = unpack.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().context("cannot start `tar`")?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has seen enough ends before its input does.
        let _ = stdin.write_all(bytes);
    }
    child.wait()?;
    Ok(())
}

/// For a shell: what the agents wrote, as its arguments.
const OUTPUTS: &str = "for path in events service points serve.log load.log; do [ ! -e $path ] || set -- \"$@\" $path; done; [ $# -gt 0 ] || exit 0";
/// In a run folder here, of which something was fetched before.
const FETCHING: &str = "fetching";

/// Fetches what the agents wrote into the folder `there`. Ends when every file here has the digest it has there; what
/// is here already is not fetched again.
pub fn get(ssh: &mut Ssh, there: &str, folder: &Path) -> Result<()> {
    // What cannot be read there must not pass for absent.
    let digests = format!(
        "{}\n{OUTPUTS}\nfind \"$@\" -path service/scratch -prune -o -type f -exec sha256sum -z {{}} + || exit 4",
        enter(there)?
    );
    let anew = !folder.join(FETCHING).exists();
    File::create(folder.join(FETCHING)).with_context(|| format!("cannot write in {}", folder.display()))?;
    for attempt in 1..=ATTEMPTS {
        // Where nothing is here, all of it can come while its digests are found out there.
        let all = match anew && attempt == 1 {
            true => Some(ssh.stream(
                &format!("{}\n{OUTPUTS}\ntar --exclude=service/scratch -cf - \"$@\"", enter(there)?),
                Stdio::null(),
                Stdio::piped(),
            )?),
            false => None,
        };
        let (answer, came) = thread::scope(|scope| {
            let coming = all.map(|all| scope.spawn(move || receive(all, folder, "")));
            let answer = ssh.run(&digests, b"");
            let came = coming.map_or(Ok(()), |coming| coming.join().unwrap_or_else(|_| bail!("the transfer panicked")));
            (answer, came)
        });
        let answer = answer?;
        if answer.code == 3 {
            return Err(Gone(there.to_owned()).into());
        }
        came?;
        let answer = answer.ok("cannot read the results on the cluster")?;
        let wanted = listed(&answer.stdout)?;
        let missing = missing(&wanted, folder);
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!("fetching {} of {} files, attempt {attempt}", missing.len(), wanted.len());
        let list: String = missing.iter().map(|path| format!("{path}\0")).collect();
        let script = format!("cd {} && tar --null -T - -cf -", quoted(there)?);
        receive(ssh.stream(&script, Stdio::piped(), Stdio::piped())?, folder, &list)?;
        if self::missing(&wanted, folder).is_empty() {
            return Ok(());
        }
    }
    bail!(
        "files changed or came wrong {ATTEMPTS} times over: they are still in {there}, and `runner resume` tries again"
    )
}

/// The files that are not here as they are there.
fn missing<'a>(wanted: &'a BTreeMap<String, String>, folder: &Path) -> Vec<&'a String> {
    let here = |path: &String| digest_of(&folder.join(path)).ok();
    wanted.iter().filter(|(path, digest)| here(path).as_ref() != Some(*digest)).map(|(path, _)| path).collect()
}

/// Unpacks a stream of `tar` into `folder`, in bounded memory. One that breaks off is no error here: the digests tell
/// what came.
fn receive(mut remote: Child, folder: &Path, list: &str) -> Result<()> {
    let (stdin, stdout) = (remote.stdin.take(), remote.stdout.take().context("it has an output")?);
    let mut unpack = Command::new("tar");
    unpack.arg("-C").arg(folder).args(["-xf", "-", "--no-same-owner", "--no-same-permissions"]);
    let mut unpack = unpack.stdin(stdout).stderr(Stdio::piped()).spawn().context("cannot start `tar`")?;
    thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(list.as_bytes())));
        let local = unpack.wait_with_output_text();
        let said = remote.wait_with_output();
        let (local, said) = (local?, said?);
        if !said.status.success() {
            tracing::info!("the transfer broke off: {}", String::from_utf8_lossy(&said.stderr).trim());
        }
        if local.contains("No space left") || local.contains("Disk quota") {
            bail!("there is no room left for the results in {}: make some, then `runner resume`", folder.display());
        }
        Ok(())
    })
}

/// The most that is read of one log at once.
const LOG_PIECE: u64 = 4 << 20;

/// What was added to the logs in `there`; see [`crate::target::Target::logs`].
pub fn logs(ssh: &mut Ssh, there: &str, read: &mut BTreeMap<String, u64>, most: u64) -> Result<Vec<(String, Vec<u8>)>> {
    // Name and place of every known log, as lines on the standard input.
    let known: String = read.iter().map(|(name, place)| format!("{place} {name}\n")).collect();
    let script = format!(
        "{enter}\nknown=$(cat)\n\
         find serve.log load.log service/service.log points/*/logs points/*/*/logs -type f 2>/dev/null | while IFS= read -r log; do\n\
           size=$(stat -c %s \"$log\") || continue\n\
           from=$(printf '%s\\n' \"$known\" | while read -r place name; do [ \"$name\" != \"$log\" ] || echo \"$place\"; done)\n\
           [ -n \"$from\" ] || from=$((size > {most} ? size - {most} : 0))\n\
           [ \"$size\" -gt \"$from\" ] || continue\n\
           count=$((size - from < {LOG_PIECE} ? size - from : {LOG_PIECE}))\n\
           printf '%s %s %s\\n' \"$from\" \"$count\" \"$log\"\n\
           tail -c +$((from + 1)) \"$log\" | head -c \"$count\"\n\
         done",
        enter = enter(there)?,
    );
    let answer = ssh.run(&script, known.as_bytes())?;
    if answer.code == 3 {
        return Ok(Vec::new());
    }
    let answer = answer.ok("cannot read the logs on the cluster")?;
    let pieces = log_pieces(&answer.stdout).context("cannot make sense of the logs that the cluster sends")?;
    Ok(pieces
        .into_iter()
        .map(|(name, from, bytes)| {
            read.insert(name.clone(), from + bytes.len() as u64);
            (name, bytes)
        })
        .collect())
}

/// Name, place and bytes of pieces, each behind a line `PLACE LENGTH NAME`.
fn log_pieces(mut bytes: &[u8]) -> Option<Vec<(String, u64, Vec<u8>)>> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let [from, length, name] = head.splitn(3, ' ').collect::<Vec<_>>()[..] else { return None };
        let (from, length) = (from.parse().ok()?, length.parse::<usize>().ok()?);
        let piece = bytes.get(end + 1..end + 1 + length)?;
        pieces.push((name.to_owned(), from, piece.to_vec()));
        bytes = &bytes[end + 1 + length..];
    }
    Some(pieces)
}

trait ErrorText {
    fn wait_with_output_text(&mut self) -> io::Result<String>;
}

impl ErrorText for Child {
    /// What it says on stderr until it ends.
    fn wait_with_output_text(&mut self) -> io::Result<String> {
        let mut text = String::new();
        if let Some(mut stderr) = self.stderr.take() {
            stderr.read_to_string(&mut text)?;
        }
        self.wait()?;
        Ok(text)
    }
}

/// Path → digest, of `sha256sum -z`. Errs on a path that leads out of the folder.
fn listed(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let line = std::str::from_utf8(entry).context("a file there has a name that is not UTF-8")?;
        let (digest, path) = line.split_once("  ").or_else(|| line.split_once(" *")).context("cannot read a digest")?;
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if digest.len() != 64 || !inside || path.is_empty() {
            bail!("the cluster lists a file that cannot be fetched: {path:?}");
        }
        files.insert(path.to_owned(), digest.to_owned());
    }
    Ok(files)
}

fn digest_of(path: &Path) -> io::Result<String> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut file = File::open(path)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => hash.update(&chunk[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::{DeploymentPlan, Layout, Secrets},
        load::Trace,
    };

    /// What is written for the agents and is not packed, they would miss.
    #[test]
    fn everything_that_is_written_is_uploaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path().join("run"));
        let plan: DeploymentPlan = serde_json::from_str(
            r#"{"service": {"name": "", "kind": "command", "settings": {}, "env": {}, "pre_run_commands": [], "volumes": [],
                "ready_timeout_s": 1}, "points": [], "facts": {"created_at": "2026-03-01T00:00:00.000000Z",
                "target": {"name": "", "kind": ""}, "tool": {"name": "", "version": ""}, "raw_limit_bytes": 1, "commit": false}}"#,
        )
        .expect("a plan");
        let secrets = Secrets::new([("NAME".to_owned(), "value".to_owned())].into());
        layout.create(&plan, &secrets).expect("created");
        let trace = folder.path().join("trace.csv");
        fs::write(&trace, "offset_s\n0\n1\n").expect("written");
        layout.write_trace(&Trace::read(&trace).expect("a trace")).expect("written");
        layout.write_input("0123", "a prompt").expect("written");
        for entry in fs::read_dir(layout.folder()).expect("there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(INPUTS.contains(&name.as_str()), "{name} is not uploaded");
        }
        assert!(layout.folder().join("inputs/0123").exists() && layout.folder().join("secrets.env").exists());
    }

    #[test]
    fn a_folder_is_gone_only_when_its_parent_can_be_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("it's run");
        let status = |there: &Path| {
            let script = enter(there.to_str().expect("text")).expect("a script");
            Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().expect("sh runs").code()
        };
        assert_eq!((status(&run), status(&run.join("below"))), (Some(3), Some(4)));
        fs::create_dir(&run).expect("made");
        assert_eq!(status(&run), Some(0));
    }

    #[test]
    fn pieces_of_logs_are_told_apart() {
        let piece = |name: &str, from, text: &str| (name.to_owned(), from, text.as_bytes().to_vec());
        let bytes = b"0 3 serve.log\na\nb7 2 points/x/logs/my log\n\n0";
        let expect = vec![piece("serve.log", 0, "a\nb"), piece("points/x/logs/my log", 7, "\n0")];
        assert_eq!(log_pieces(bytes), Some(expect));
        assert_eq!(log_pieces(b""), Some(Vec::new()));
        for bytes in [&b"0 3 a\nab"[..], b"0 a\n", b"x 1 a\nb", b"0 1 a"] {
            assert_eq!(log_pieces(bytes), None);
        }
    }

    #[test]
    fn digests_are_read_and_stay_inside() {
        let digest = "a".repeat(64);
        let files =
            listed(format!("{digest}  events/serve.jsonl\0{digest}  points/a b\nc\0").as_bytes()).expect("fine");
        assert_eq!(files.keys().collect::<Vec<_>>(), ["events/serve.jsonl", "points/a b\nc"]);
        for path in ["/etc/passwd", "../x", "a/../../x", ""] {
            assert!(listed(format!("{digest}  {path}\0").as_bytes()).is_err(), "{path}");
        }
        assert!(listed(b"short  x\0").is_err());
    }
}
