//! Secrets and names that must not be found anywhere: a search through everything that was written, and of every command line.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::project::Project;

const PASSWORD: &str = "pw-7f3Kq\"9x/Z";
const S3_SECRET: &str = "s3Secret+Key/9aB7cD==";
const TOKEN: &str = "tok.5eCrEt-b34rer_0123456789";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project")
}

/// A service that tells everybody, and a client that does.
const CHATTY: &str = "\
name: chatty
recipe:
  configuration: {target: local}
  service:
    command: 'echo \"service has $PW and $TOKEN\"; exec sleep 1000'
    env: {PW: '${PW_}', TOKEN: '${TOKEN_}'}
  client:
    command: 'echo \"Authorization: Bearer $TOKEN\"; echo \"{\\\"secret\\\": \\\"$S3\\\"}\" >&2; false'
    env: {S3: '${S3_}', TOKEN: '${TOKEN_}'}
";

const STORE: &str = "\
name: store
recipe:
  configuration: {target: local}
  service: {type: minio, settings: {root_user: '${S3_USER_}', root_password: '${S3_}'}}
  client: {type: minio_stress, settings: {num_objects: 2, object_size_bytes: 1000}}
  benchmarks: {calibration: 0}
";

const KEYED: &str = "\
name: keyed
recipe:
  configuration: {target: local}
  service:
    type: vllm
    command: 'exec RUNNER agent simulate --host 127.0.0.1 --port $SERVICE_PORT --settings \"{}\"'
    settings: {model: simulator, api_key: '${TOKEN_}'}
  client: {type: vllm_stress, settings: {max_tokens: 2}}
  benchmarks: {num_requests: 3, calibration: 0}
";

const REDIS: &str = "\
name: redis
recipe:
  configuration: {target: local}
  service: {type: redis, settings: {password: '${PLAIN_}'}}
  client: {type: redis_stress, settings: {num_requests: 50}}
  benchmarks: {calibration: 0}
";

/// A password that Redis' own configuration can hold.
const PLAIN: &str = "correct-horse-battery-7";

/// Every form that a value may have been written in.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let in_json = serde_json::Value::from(value).to_string();
    vec![value.as_bytes().to_vec(), in_json.trim_matches('"').as_bytes().to_vec()]
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}

/// Every file below a folder, decompressed where it is; and every object of its repository.
fn everything(project: &Project) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for path in archive::files_below(&project.root()).expect("readable") {
        let bytes = fs::read(&path).unwrap_or_default();
        let name = path.display().to_string();
        if name.ends_with(".zst") {
            let mut text = Vec::new();
            zstd::Decoder::new(&bytes[..]).expect("compressed").read_to_end(&mut text).expect("whole");
            all.push((name, text));
        } else {
            all.push((name, bytes));
        }
    }
    let objects = project.git(&["cat-file", "--batch-check", "--batch-all-objects"]);
    assert!(objects.lines().count() > 2);
    for object in objects.lines() {
        let (oid, rest) = object.split_once(' ').expect("an object");
        let kind = rest.split(' ').next().expect("a type");
        let output =
            std::process::Command::new("git").arg("-C").arg(project.root()).args(["cat-file", kind, oid]).output();
        all.push((format!("git object {oid}"), output.expect("git runs").stdout));
    }
    all
}

#[test]
fn no_secret_is_found_in_anything_that_was_written() {
    let project = Project::new();
    // `minio` is in no package: the store of the tests, which checks every signature, under its name.
    let bin = tempfile::tempdir().expect("a folder");
    let minio = bin.path().join("minio");
    let (python, script) = (root().join("target/test-servers/bin/python"), root().join("runner/tests/servers/s3.py"));
    fs::write(&minio, format!("#!/bin/sh\nexec {} {} \"$@\"\n", python.display(), script.display())).expect("written");
    fs::set_permissions(&minio, fs::Permissions::from_mode(0o755)).expect("set");
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap_or_default());
    // What is written to the system's folder of temporary files, and stays there.
    let temporary = tempfile::tempdir().expect("a folder");
    let variables = [
        ("TMPDIR", temporary.path().to_str().expect("text")),
        ("PW_", PASSWORD),
        ("S3_", S3_SECRET),
        ("S3_USER_", "access-user-1"),
        ("TOKEN_", TOKEN),
        ("PLAIN_", PLAIN),
        ("PATH", &path),
    ];
    let secrets: Vec<Vec<u8>> = [PASSWORD, S3_SECRET, TOKEN, PLAIN].into_iter().flat_map(forms).collect();

    let ended = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        // The command lines of all processes, as long as there are any.
        let watch = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !ended.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").expect("there is a /proc").flatten() {
                    if let Ok(line) = fs::read(entry.path().join("cmdline"))
                        && secrets.iter().any(|secret| contains(&line, secret))
                    {
                        seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        for (name, text, code) in [("chatty", CHATTY, 0), ("store", STORE, 0), ("keyed", KEYED, 0), ("redis", REDIS, 0)]
        {
            let file = format!("{name}.yaml");
            project.write(&file, &text.replace("RUNNER", env!("CARGO_BIN_EXE_runner")));
            // What a kept run folder holds of a service's and a client's own words is as they said it.
            let keep: &[&str] = if name == "chatty" { &[] } else { &["--keep"] };
            let finished = project.runner_with(&variables, &[&["run", file.as_str()][..], keep].concat());
            for said in [finished.stdout(), finished.stderr()] {
                assert!(secrets.iter().all(|secret| !contains(said.as_bytes(), secret)), "{said}");
            }
            finished.code(code);
        }
        ended.store(true, Ordering::Relaxed);
        watch.join().expect("no panic")
    });
    assert_eq!(seen, BTreeSet::new(), "on a command line");
    project.wait_for_silence();
    assert_eq!(project.ids().len(), 4);
    for id in project.ids() {
        assert!(project.run(id).failure.is_none(), "{:?}", project.run(id).failure);
    }
    // They were used: the logs have their names where they stood.
    let logs: String =
        everything(&project).iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    for name in ["service has ${PW_} and ${TOKEN_}", "Authorization: Bearer ${TOKEN_}"] {
        assert!(logs.contains(name), "{name}");
    }
    let left = archive::files_below(temporary.path()).expect("readable");
    let left = left.into_iter().map(|path| (path.display().to_string(), fs::read(path).expect("readable")));
    for (place, bytes) in everything(&project).into_iter().chain(left) {
        for secret in &secrets {
            assert!(!contains(&bytes, secret), "{} is in {place}", String::from_utf8_lossy(secret));
        }
    }
    project.assert_in_order();
}

#[test]
fn what_looks_like_a_key_stays_out_of_git_until_somebody_allows_it() {
    let project = Project::new();
    project.write(
        "leaky.yaml",
        "configuration: {target: local}\nservice: {command: 'echo password=abc123def456; exec sleep 1000'}\nclient: {command: 'true'}\n",
    );
    let commits = || project.git(&["rev-list", "--count", "HEAD"]).trim().to_owned();
    let ran = project.runner(&["run", "leaky.yaml", "--raw-limit", "0"]);
    let said = ran.stderr();
    assert!(
        said.contains("looks like a secret") && said.contains("logs/service.log") && said.contains("a password"),
        "{said}"
    );
    assert!(said.contains(".allowed-secrets") && !said.contains("abc123def456"), "{said}");
    assert_eq!((project.ids().len(), commits().as_str()), (1, "1"), "it is sealed, and in no commit");
    let objects = everything(&project).into_iter().filter(|(place, _)| place.starts_with("git object"));
    assert!(objects.into_iter().all(|(_, bytes)| !contains(&bytes, b"abc123def456")));
    // Nor does it go to a store that others read.
    let push = |args: &[&str]| project.runner(&[&["archive", "push", "--store", "store"], args].concat());
    assert!(push(&[]).code(1).stderr().contains("is in no commit"), "{}", push(&[]).stderr());
    push(&["latest"]).code(2);
    assert!(!project.root().join("store").exists());
    // Every command tries again, and says so.
    assert!(project.runner(&["list"]).stderr().contains("looks like a secret"));

    let digest =
        said.split("digest ").nth(1).expect("told").chars().take_while(char::is_ascii_hexdigit).collect::<String>();
    project.write("results/.allowed-secrets", &format!("{digest}  # a made-up password\n"));
    project.git(&["add", "results/.allowed-secrets"]);
    project.git(&["commit", "-q", "-m", "allow it"]);
    project.runner(&["list"]).code(0);
    assert_eq!(commits(), "3");
    project.wait_for_silence();
    project.assert_in_order();
}

#[test]
fn an_anonymous_benchmark_names_nobody() {
    let project = Project::new();
    project.write(
        "shy.yaml",
        "configuration: {target: local}\nservice: {command: 'echo on $(hostname) by alice; exec sleep 1000'}\n\
         client: {command: 'echo $(hostname) >&2; false'}\n",
    );
    let hostname = nix::unistd::gethostname().expect("known").to_string_lossy().into_owned();
    let variables = [("USER", "alice"), ("LOGNAME", "alice"), ("HOME", "/home/alice")];
    project.runner_with(&variables, &["run", "shy.yaml", "--anonymous"]).code(0);
    project.wait_for_silence();
    let id = project.ids()[0];
    let run = project.run(id);
    assert!(run.nodes.iter().all(|node| node.hostname == "host-1"), "{:?}", run.nodes);
    assert!(run.events.iter().all(|event| event.node.as_deref().is_none_or(|node| node == "host-1")));
    let folder = project.root().join("results").join(id.to_string());
    for path in archive::files_below(&folder).expect("readable") {
        let mut bytes = fs::read(&path).expect("readable");
        if path.extension().is_some_and(|extension| extension == "zst") {
            bytes = zstd::decode_all(&bytes[..]).expect("compressed");
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for name in [hostname.as_str(), "alice"] {
            assert!(!words.contains(name), "{name} is in {}", path.display());
        }
    }
    assert_eq!(project.git(&["log", "-1", "--format=%an %ae %cn"]).trim(), "runner runner@localhost runner");
    project.runner(&["verify"]).code(0);
    // It can be repeated, and is the same recipe.
    project.runner_with(&variables, &["rerun", "latest", "--anonymous"]).code(0);
    let again = project.run(*project.ids().last().expect("a rerun"));
    assert_eq!((again.rerun_of, again.recipe_hash), (Some(id), run.recipe_hash));
    project.assert_in_order();
}
