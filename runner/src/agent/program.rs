//! From what a service type wants started to programs of this machine.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use archive::ImageFacts;

use super::{
    ServicePlan,
    account::Account,
    container::{Image, PODMAN, Runtime, has_gpus, version_of},
};
use crate::{
    node::OWN_PROGRAM,
    services::{Launch, LaunchRequest, of_recipe},
};

/// A program of this machine and its arguments.
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    /// `child`, `podman`, `apptainer` or `singularity`.
    pub started_as: &'static str,
    /// Absent for what runs in a container.
    pub sha256: Option<String>,
    pub image: Option<ImageFacts>,
}

impl Program {
    /// The program itself if it is here and shall not run in an image, else the image in podman if that is here.
    pub fn locate(launch: &Launch, plan: &ServicePlan, scratch: &Path, account: Option<Account>) -> Result<Self> {
        if let Some(path) = find(&launch.program, launch.folders).filter(|_| !plan.only_in_image) {
            // A service may be started hundreds of times; its program is read once each, from the page cache.
            let sha256 = fs::read(&path).ok().map(|bytes| archive::sha256_hex(&bytes));
            let args = launch.args.clone();
            return Ok(Self { path, args, started_as: "child", sha256, image: None });
        }
        let name = &launch.program;
        let Some(image) = &plan.image else {
            bail!("`{name}` is not on PATH: install it, or give `service.endpoint` of one that runs");
        };
        let Some(podman) = find("podman", &[]) else {
            if plan.only_in_image {
                bail!("`podman` is not on PATH, and the service ran in the image {image}: install it");
            }
            bail!(
                "neither `{name}` nor `podman` is on PATH: install one of them, or give `service.endpoint` of one that runs"
            );
        };
        let args = podman_args(launch, plan, image, scratch, account, &[]);
        let digest = in_podman(&podman, image)?;
        let runtime = version_of(&podman);
        let image = Some(ImageFacts { reference: image.clone(), digest, sif_sha256: None, runtime });
        Ok(Self { path: podman, args, started_as: "podman", sha256: None, image })
    }

    /// The program of an image that a job has pulled.
    pub fn in_image(
        launch: &Launch,
        plan: &ServicePlan,
        scratch: &Path,
        runtime: &Runtime,
        image: &Image,
    ) -> Result<Self> {
        let (started_as, args) = match runtime.program.as_str() {
            PODMAN => {
                let mut more: Vec<String> = runtime.volumes.iter().map(|volume| format!("--volume={volume}")).collect();
                if has_gpus() {
                    more.push("--device=nvidia.com/gpu=all".to_owned());
                }
                (PODMAN, podman_args(launch, plan, &image.name, scratch, None, &more))
            }
            "singularity" => ("singularity", runtime.args(launch, plan, &image.name, scratch)),
            _ => ("apptainer", runtime.args(launch, plan, &image.name, scratch)),
        };
        Ok(Self { path: runtime.located()?, args, started_as, sha256: None, image: Some(image.facts.clone()) })
    }

    /// Program and arguments without the folders of this machine, which mean nothing anywhere else: the program by
    /// its name, its working folder as `SCRATCH`.
    pub fn without_places(&self, scratch: &Path) -> Vec<String> {
        let name = match self.path == Path::new(OWN_PROGRAM) {
            true => OsStr::new(env!("CARGO_PKG_NAME")),
            false => self.path.file_name().unwrap_or(self.path.as_os_str()),
        };
        let scratch = scratch.display().to_string();
        let args = self.args.iter().map(|argument| argument.replace(&scratch, "SCRATCH"));
        std::iter::once(name.to_string_lossy().into_owned()).chain(args).collect()
    }
}

/// Has podman get an image that is not here yet; returns its digest, which is known only then.
pub fn in_podman(podman: &Path, image: &str) -> Result<Option<String>> {
    let inspected = || {
        let mut inspect = Command::new(podman);
        inspect.args(["image", "inspect", "--format", "{{.Digest}}", image]).stdin(Stdio::null());
        let output = inspect.output().with_context(|| format!("cannot start {}", podman.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        anyhow::Ok(output.status.success().then_some(text))
    };
    let digest = match inspected()? {
        Some(digest) => digest,
        None => {
            let output = Command::new(podman).args(["pull", "--quiet", image]).stdin(Stdio::null()).output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let reason = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
                bail!("cannot pull the image {image}: {}", reason.unwrap_or("podman gives no reason"));
            }
            inspected()?.with_context(|| format!("podman pulled the image {image} and does not have it"))?
        }
    };
    // Of an image that was built here and never pushed there may be none.
    Ok(Some(digest).filter(|digest| digest.starts_with("sha256:")))
}

/// Errs when what a service needs to be started on this machine is not here and cannot be had. An image is pulled.
pub fn obtain(plan: &ServicePlan) -> Result<()> {
    if plan.endpoint.is_some() || plan.command.is_some() {
        return Ok(());
    }
    let scratch = Path::new("SCRATCH");
    let request = LaunchRequest { settings: &plan.settings, host: "127.0.0.1", port: 1, scratch, command: None };
    let launch = of_recipe(&plan.kind)?.launch(&request)?;
    Program::locate(&launch, plan, scratch, None).map(drop)
}

/// `podman run`, with the working folder in the same place. The program is named past the image's own script, so
/// that what starts is what would start without a container.
fn podman_args(
    launch: &Launch,
    plan: &ServicePlan,
    image: &str,
    scratch: &Path,
    account: Option<Account>,
    more: &[String],
) -> Vec<String> {
    let scratch = scratch.display();
    let mut args: Vec<String> =
        ["run", "--rm", "--interactive", "--network=host", "--pull=never"].map(str::to_owned).to_vec();
    args.extend([format!("--volume={scratch}:{scratch}"), format!("--workdir={scratch}")]);
    match account {
        Some(account) => args.push(format!("--user={account}")),
        // Without root, the folder's owner is the same inside.
        None if launch.refuses_root => args.push("--userns=keep-id".to_owned()),
        None => {}
    }
    // By name: the values stay in the environment, out of the argument list.
    for variable in launch.env.keys().chain(plan.env.keys()) {
        args.extend(["--env".to_owned(), variable.clone()]);
    }
    for volume in &plan.volumes {
        args.extend(["--volume".to_owned(), volume.clone()]);
    }
    args.extend_from_slice(more);
    args.push(format!("--entrypoint={}", launch.program_in_image.unwrap_or(&launch.program)));
    args.push(image.to_owned());
    args.extend(launch.args.iter().cloned());
    args
}

/// The executable file that `name` means, as a shell would find it; else the newest in `folders`.
pub fn find(name: &str, folders: &[&str]) -> Option<PathBuf> {
    on_path(name).or_else(|| {
        let candidates = folders.iter().flat_map(|folder| versions(folder));
        let found = candidates.filter(|(_, folder)| runs(&folder.join(name)));
        found.max_by_key(|(version, _)| *version).map(|(_, folder)| folder.join(name))
    })
}

/// The folders that a path with one `*` means, with the version that stands for it.
fn versions(pattern: &str) -> Vec<(u64, PathBuf)> {
    let Some((above, below)) = pattern.split_once('*') else { return vec![(0, pattern.into())] };
    let entries = fs::read_dir(above).into_iter().flatten().flatten();
    let versions: BTreeMap<u64, PathBuf> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    versions.into_iter().map(|(version, path)| (version, path.join(below.trim_start_matches('/')))).collect()
}

fn on_path(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| runs(path));
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| runs(path))
}

fn runs(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_newest_version_is_found_where_distributions_keep_it() {
        let root = tempfile::tempdir().expect("a folder");
        let pattern = format!("{}/*/bin", root.path().display());
        let folders: &[&str] = &[&pattern];
        assert_eq!(find("serve-nothing", folders), None);
        for (version, mode) in [("9", 0o755), ("15", 0o755), ("16", 0o644), ("old", 0o755)] {
            let program = root.path().join(version).join("bin/serve-nothing");
            fs::create_dir_all(program.parent().expect("a folder")).expect("made");
            fs::write(&program, "#!/bin/sh\n").expect("written");
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("set");
        }
        assert_eq!(find("serve-nothing", folders), Some(root.path().join("15/bin/serve-nothing")));
        assert!(find("sh", folders).is_some_and(|path| path.ends_with("bin/sh")));
    }

    proptest! {
        /// Whatever a recipe says is one argument of a container's command line, as it was written; the values of variables
        /// are none.
        #[test]
        fn text_of_a_recipe_is_one_argument(text in "(\\PC|[\n '\"$`\\\\;&|-]){0,30}") {
            let plan: ServicePlan = serde_json::from_value(serde_json::json!({"name": "", "kind": "command", "settings": {},
                "env": {"FROM_RECIPE": format!("env§{text}")}, "pre_run_commands": [], "volumes": [format!("/a§{text}:/b")],
                "ready_timeout_s": 1}))
            .expect("a plan");
            let launch = Launch { env: [("OWN".to_owned(), format!("env§{text}"))].into(), ..Launch::shell(&format!("-c§{text}")) };
            let runtime = Runtime {
                program: "apptainer".to_owned(),
                volumes: vec![format!("/site§{text}:/c")],
                images: PathBuf::new(),
            };
            let scratch = Path::new("/scratch");
            for args in [
                podman_args(&launch, &plan, "image", scratch, None, &[format!("--volume=/site§{text}:/c")]),
                runtime.args(&launch, &plan, "image.sif", scratch),
            ] {
                let holds = |word: &str| args.iter().filter(|argument| argument.contains(word)).count();
                let is = |word: &str| args.iter().filter(|argument| **argument == word).count();
                prop_assert_eq!((is(&format!("-c§{text}")), holds("-c§")), (1, 1));
                prop_assert_eq!((is(&format!("/a§{text}:/b")), holds("/a§")), (1, 1));
                prop_assert_eq!((holds(&format!("/site§{text}:/c")), holds("/site§"), holds("env§")), (1, 1, 0));
            }
        }
    }
}
