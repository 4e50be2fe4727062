//! Files to the cluster and back: a run folder is put in place whole, and fetched file by file; both against digests.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Ssh, script::quoted};
use crate::target::{
    Gone,
    ssh::{Answer, Coming, Going},
};

/// What agents need of a run folder. The rest is the runner's own.
const INPUTS: [&str; 9] =
    ["plan.json", "secrets.env", "serve.sh", "load.sh", "events", "service", "points", "traces", "inputs"];
/// How often what came wrong is fetched again.
const ATTEMPTS: u32 = 5;

/// Puts the run folder into `runs` there, unless it is there already. Nobody sees half of it; what another attempt brought of
/// a file is not sent again.
pub fn put(ssh: &mut Ssh, folder: &Path, runs: &str, name: &str) -> Result<()> {
    let (mut folders, mut files) = (String::new(), Vec::new());
    for input in INPUTS.iter().map(|name| folder.join(name)).filter(|path| path.exists()) {
        list(folder, &input, &mut folders, &mut files)?;
    }
    let begin = format!(
        "set -e; umask 077; mkdir -p {runs}; cd {runs}\n\
         if [ -d {name} ]; then cat >/dev/null; echo there; exit 0; fi\n\
         mkdir -p {name}.part; cd {name}.part; xargs -0 mkdir -p --",
        runs = quoted(runs)?,
        name = quoted(name)?,
    );
    let cannot = "cannot put the run folder on the cluster";
    if ssh.run(&begin, folders.as_bytes())?.ok(cannot)?.text().trim() == "there" {
        return Ok(());
    }
    let going: Vec<Going> = files
        .iter()
        .map(|path| {
            let here = folder.join(path);
            let executable = here.metadata().is_ok_and(|facts| facts.permissions().mode() & 0o100 != 0);
            Going { here, there: format!("{runs}/{name}.part/{path}"), mode: if executable { 0o700 } else { 0o600 } }
        })
        .collect();
    let mut digests = String::new();
    for path in &files {
        digests.push_str(&format!("{}  {path}\n", digest_of(&folder.join(path))?));
    }
    // What came wrong goes, and is sent anew. The step may have been done by an attempt whose answer was lost.
    let end = format!(
        "cd {runs} || exit 1; if [ -d {name} ]; then cat >/dev/null; exit 0; fi; cd {name}.part || exit 1\n\
         if wrong=$(sha256sum -c --quiet - 2>/dev/null); then cd .. && mv {name}.part {name}; exit; fi\n\
         printf '%s\\n' \"$wrong\" | sed -n 's/: FAILED.*//p' | while IFS= read -r path; do rm -f \"$path\"; done; exit 9",
        runs = quoted(runs)?,
        name = quoted(name)?,
    );
    for _ in 0..ATTEMPTS {
        ssh.put(&going)?;
        let answer = ssh.run(&end, digests.as_bytes())?;
        if answer.code != 9 {
            answer.ok(cannot)?;
            return Ok(());
        }
    }
    bail!("{cannot}: what arrives in {runs}/{name}.part is not what was sent")
}

/// Adds the path of everything in `path`, itself too: folders with a zero byte behind each, and files. Counts from `root`.
fn list(root: &Path, path: &Path, folders: &mut String, files: &mut Vec<String>) -> Result<()> {
    let below = path.strip_prefix(root).ok().and_then(Path::to_str).filter(|below| !below.contains(['\n', '\\', '\0']));
    let below = below.with_context(|| format!("cannot send a file of that name: {}", path.display()))?;
    if !path.is_dir() {
        files.push(below.to_owned());
        return Ok(());
    }
    folders.push_str(&format!("{below}\0"));
    let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> = entries.with_context(|| format!("cannot read {}", path.display()))?;
    entries.sort();
    entries.iter().try_for_each(|entry| list(root, entry, folders, files))
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

/// Fetches what the agents wrote into the folder `there`. Ends when every file here has the digest it has there; what
/// is here already of a large file is not fetched again.
pub fn get(ssh: &mut Ssh, there: &str, folder: &Path) -> Result<()> {
    // What cannot be read there must not pass for absent.
    let find = format!("{}\n{OUTPUTS}\nfind \"$@\" -path service/scratch -prune -o", enter(there)?);
    let sizes = format!("{find} -type d -printf 'folder %p\\0' -o -type f -printf '%s %p\\0' || exit 4");
    let digests = format!("{find} -type f -exec sha256sum -z {{}} + || exit 4");
    for attempt in 1..=ATTEMPTS {
        let (folders, mut coming) = sized(&checked(ssh.run(&sizes, b"")?, there)?)?;
        for path in folders {
            fs::create_dir_all(folder.join(&path))
                .with_context(|| format!("cannot make {path} in {}", folder.display()))?;
        }
        // The digests are found out there while the files come.
        let (answer, mut came) = ssh.fetch(&digests, there, &coming, folder)?;
        let wanted = listed(&checked(answer, there)?)?;
        let wrong = |came: &BTreeMap<String, String>, path: &str| wanted.get(path) != came.get(path);
        for again in [true, false] {
            coming.retain(|file| wrong(&came, &file.path));
            let unknown = wanted.keys().filter(|path| !came.contains_key(*path)).count();
            if coming.is_empty() && unknown == 0 {
                return Ok(());
            }
            if !again {
                break;
            }
            tracing::info!("{} of {} files came wrong, attempt {attempt}", coming.len(), wanted.len());
            for file in &coming {
                // Its beginning here is not the one there.
                fs::remove_file(folder.join(&file.path)).ok();
            }
            came.extend(ssh.fetch("true", there, &coming, folder)?.1);
        }
    }
    bail!(
        "files changed or came wrong {ATTEMPTS} times over: they are still in {there}, and `runner resume` tries again"
    )
}

/// What a command said of the results in `there`.
fn checked(answer: Answer, there: &str) -> Result<Vec<u8>> {
    if answer.code == 3 {
        return Err(Gone(there.to_owned()).into());
    }
    Ok(answer.ok("cannot read the results on the cluster")?.stdout)
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

/// The folders, and path and size of each file, of lines `folder PATH` and `SIZE PATH` that end with a zero byte.
fn sized(bytes: &[u8]) -> Result<(Vec<String>, Vec<Coming>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let line = std::str::from_utf8(entry).context("a file there has a name that is not UTF-8")?;
        let (bytes, path) = line.split_once(' ').context("cannot read a size")?;
        let path = inside(path)?;
        match bytes {
            "folder" => folders.push(path),
            bytes => files.push(Coming { path, bytes: bytes.parse().context("cannot read a size")? }),
        }
    }
    Ok((folders, files))
}

/// The path, if it stays in its folder.
fn inside(path: &str) -> Result<String> {
    if path.is_empty() || !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("the cluster lists a file that cannot be fetched: {path:?}");
    }
    Ok(path.to_owned())
}

/// Path → digest, of `sha256sum -z`. Errs on a path that leads out of the folder.
fn listed(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let line = std::str::from_utf8(entry).context("a file there has a name that is not UTF-8")?;
        let (digest, path) = line.split_once("  ").or_else(|| line.split_once(" *")).context("cannot read a digest")?;
        if digest.len() != 64 {
            bail!("cannot read the digest of {path:?}");
        }
        files.insert(inside(path)?, digest.to_owned());
    }
    Ok(files)
}

fn digest_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
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
        let (folders, sizes) = sized(b"folder events\x007 events/serve.jsonl\x000 points/a b\nc\0").expect("fine");
        let sizes: Vec<_> = sizes.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
        assert_eq!(
            (folders, sizes),
            (vec!["events".to_owned()], vec![("events/serve.jsonl", 7), ("points/a b\nc", 0)])
        );
        for bytes in [&b"7\0"[..], b"x a\0", b"1 ../a\0", b"1 /a\0", b"1 \0"] {
            assert!(sized(bytes).is_err());
        }
    }
}
