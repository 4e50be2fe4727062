//! From what a service type wants started to a program of this machine.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use archive::ImageFacts;

use super::ServicePlan;
use crate::{node::OWN_PROGRAM, services::Launch};

/// A program of this machine and its arguments.
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    /// `child` or `podman`.
    pub started_as: &'static str,
    /// Absent for what runs in a container.
    pub sha256: Option<String>,
    pub image: Option<ImageFacts>,
}

impl Program {
    /// The program itself if it is here, else the image in podman if that is here.
    pub fn locate(launch: &Launch, plan: &ServicePlan, scratch: &Path) -> Result<Self> {
        if let Some(path) = on_path(&launch.program) {
            // A service may be started hundreds of times; its program is read once each, from the page cache.
            let sha256 = fs::read(&path).ok().map(|bytes| archive::sha256_hex(&bytes));
            let args = launch.args.clone();
            return Ok(Self { path, args, started_as: "child", sha256, image: None });
        }
        let name = &launch.program;
        let Some(image) = &plan.image else {
            bail!("`{name}` is not on PATH: install it, or give `service.endpoint` of one that runs");
        };
        let Some(podman) = on_path("podman") else {
            bail!(
                "neither `{name}` nor `podman` is on PATH: install one of them, or give `service.endpoint` of one that runs"
            );
        };
        let mut args: Vec<String> = ["run", "--rm", "--network=host", "--pull=missing"].map(str::to_owned).to_vec();
        // By name: the values stay in the environment, out of the argument list.
        for variable in launch.env.keys().chain(plan.env.keys()) {
            args.extend(["--env".to_owned(), variable.clone()]);
        }
        args.push(format!("--volume={0}:{0}", scratch.display()));
        for volume in &plan.volumes {
            args.extend(["--volume".to_owned(), volume.clone()]);
        }
        // Images differ in what their own entry point adds to a command.
        args.push(format!("--entrypoint={}", launch.program_in_image.unwrap_or(name)));
        args.push(image.clone());
        args.extend(launch.args.iter().cloned());
        let digest = std::process::Command::new(&podman)
            .args(["image", "inspect", "--format", "{{.Digest}}", image])
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let image = Some(ImageFacts { reference: image.clone(), digest });
        Ok(Self { path: podman, args, started_as: "podman", sha256: None, image })
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

/// The executable file that `name` means, as a shell would find it.
fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs =
        |path: &Path| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| runs(path));
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| runs(path))
}
