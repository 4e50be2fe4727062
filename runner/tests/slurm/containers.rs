//! Images in jobs: which is run, how often it is pulled, and what a container sees of its node.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use archive::{Run, Status};

use crate::{
    cluster::{Cluster, redis},
    on_slurm_stopped::execution,
    project::Project,
};

/// A project whose things on the cluster are in a folder of their own, in which no image was ever pulled.
fn anew(cluster: &Cluster, name: &str, more: &str) -> (Project, String) {
    let folder = format!("runner-{name}-{}", std::process::id());
    (cluster.project(&format!("folder: {folder}\n{more}")), folder)
}

/// How often images were pulled into a folder.
fn pulls(cluster: &Cluster, program: &str, folder: &str) -> usize {
    let pulls = fs::read_to_string(cluster.home().join("pulls")).unwrap_or_default();
    pulls.lines().filter(|line| line.starts_with(program) && line.contains(&format!("/{folder}/"))).count()
}

fn runs(project: &Project) -> Vec<Run> {
    project.assert_in_order();
    let runs: Vec<Run> = project.ids().into_iter().map(|id| project.run(id)).collect();
    runs.iter().for_each(|run| assert_eq!(run.status, Status::Completed, "{:?}", run.failure));
    runs
}

/// The only SIF file in a folder's images.
fn sif(cluster: &Cluster, folder: &str) -> std::path::PathBuf {
    let files = fs::read_dir(cluster.home().join(folder).join("images")).expect("there are images").flatten();
    let mut sifs: Vec<_> =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "sif")).collect();
    assert_eq!(sifs.len(), 1, "{sifs:?}");
    sifs.remove(0)
}

fn sha256(path: &Path) -> String {
    archive::sha256_hex(&fs::read(path).expect("readable"))
}

#[test]
fn two_jobs_at_once_pull_an_image_once_and_it_is_named_by_its_digest() {
    let cluster = Cluster::shared();
    let recipe = redis("1, 2", 0.5)
        .replace("redeploy: false", "redeploy: true")
        .replace("type: redis,", "type: redis, image: 'redis:7.4.1',");
    let digest = cluster.image_digest("redis:7.4.1");
    for program in ["apptainer", "singularity"] {
        let (project, folder) = anew(&cluster, program, &format!("container: {program}\nmax_jobs: 4\n"));
        project.write("redis.yaml", &recipe);
        project.runner(&["run", "redis.yaml"]).code(0);
        let sif = sif(&cluster, &folder);
        let all = runs(&project);
        assert_eq!((all.len(), pulls(&cluster, program, &folder)), (2, 1));
        for run in &all {
            let image = run.service.image.as_ref().expect("an image");
            assert_eq!((run.service.started_as.as_str(), image.digest.as_ref()), (program, Some(&digest)));
            assert_eq!(image.sif_sha256.as_ref(), Some(&sha256(&sif)));
        }
        if program == "apptainer" {
            // A file that is no longer what was pulled is not run, though it is as long.
            let mut bytes = fs::read(&sif).expect("readable");
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(&sif, &bytes).expect("written");
            // By its digest, it is another name and another file; a tag beside it is not asked for.
            project.write("redis.yaml", &recipe.replace("[1, 2]", "[1]"));
            project.runner(&["run", "redis.yaml"]).code(0);
            assert_eq!(
                (pulls(&cluster, program, &folder), sha256(&sif)),
                (2, runs(&project)[0].service.image.clone().expect("an image").sif_sha256.expect("a digest"))
            );
            project.write(
                "redis.yaml",
                &recipe.replace("[1, 2]", "[1]").replace("redis:7.4.1", &format!("redis:7@{digest}")),
            );
            project.runner(&["run", "redis.yaml"]).code(0);
            let last = runs(&project).pop().and_then(|run| run.service.image).expect("an image");
            assert_eq!((last.digest, pulls(&cluster, program, &folder)), (Some(digest.clone()), 3));
        }
        fs::remove_dir_all(cluster.home().join(folder)).expect("removed");
    }
}

#[test]
fn a_service_runs_in_podman_in_a_job() {
    let cluster = Cluster::shared();
    let (project, folder) = anew(&cluster, "podman", "container: podman\n");
    project.write("redis.yaml", &redis("1", 0.5).replace("type: redis,", "type: redis, image: 'redis:7.4.1',"));
    project.runner(&["run", "redis.yaml"]).code(0);
    let run = runs(&project).remove(0);
    let image = run.service.image.as_ref().expect("an image");
    assert_eq!(
        (run.service.started_as.as_str(), image.digest.as_ref()),
        ("podman", Some(&cluster.image_digest("redis:7.4.1")))
    );
    assert!(
        image.runtime.as_ref().is_some_and(|runtime| runtime.starts_with("podman version"))
            && image.sif_sha256.is_none()
    );
    fs::remove_dir_all(cluster.home().join(folder)).expect("removed");
}

const SECRET: &str = "b6Yx-not-to-be-seen-9Qz";

#[test]
fn a_container_sees_gpus_binds_and_secrets_and_nobody_else_sees_these() {
    let cluster = Cluster::shared();
    let (site, own) = (cluster.home().join("bound-site"), cluster.home().join("bound-own"));
    for (folder, text) in [(&site, "of the site"), (&own, "of the recipe")] {
        fs::create_dir_all(folder).expect("made");
        fs::write(folder.join("text"), text).expect("written");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("set");
    }
    let (project, folder) =
        anew(&cluster, "binds", &format!("container: apptainer\nvolumes: ['{}:/site']\n", site.display()));
    project.write(
        "redis.yaml",
        &format!(
            "configuration: {{target: testbed}}\n\
             service:\n  type: redis\n  image: redis:7.4.1\n  num_gpus: 1\n  volumes: ['{}:/own:ro']\n  env: {{PASSWORD: '${{TEST_SECRET}}'}}\n  command: >-\n    \
             printf 'nv %s, %s, ' \"$TESTBED_NV\" \"${{#PASSWORD}}\" >&2; cat /site/text /own/text >&2; echo >/site/written;\n    \
             (echo >/own/written) 2>/dev/null || printf ', read only' >&2; (echo >/usr/written) 2>/dev/null || printf ', not writable' >&2;\n    \
             exec redis-server --port $SERVICE_PORT --bind 0.0.0.0 --protected-mode no --save ''\n\
             client: {{type: redis_stress, settings: {{operation_mix: '50:50'}}}}\n\
             benchmarks: {{duration: 4s, calibration: 0}}\n",
            own.display()
        ),
    );
    project.shell(&[("TEST_SECRET", SECRET)], "\"$RUNNER\" run --detach redis.yaml").code(0);
    let execution = execution(&project);
    let there = cluster.home().join(format!("{folder}/run/{execution}-0001"));
    project.wait_until("a service under load", || {
        fs::read_to_string(there.join("events/load.jsonl")).is_ok_and(|events| events.contains("load_begun"))
    });
    let secrets = there.join("secrets.env");
    assert_eq!(fs::metadata(&secrets).expect("there").permissions().mode() & 0o777, 0o600);
    // Nodes share the numbers of processes with this machine: all of them are to be seen here.
    let processes = fs::read_dir("/proc").expect("there is a /proc").flatten();
    for process in processes {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(SECRET), "{:?}", String::from_utf8_lossy(&line));
    }
    for file in ["plan.json", "serve.sh", "load.sh", "service/state.json"] {
        assert!(!fs::read_to_string(there.join(file)).expect("readable").contains(SECRET), "{file}");
    }
    project.runner(&["resume", "--poll", "1"]).code(0);
    let run = runs(&project).remove(0);
    let log = project.archive().folder().join(format!("{}/logs/service.log", run.benchmark_id));
    let log = fs::read_to_string(log).expect("a log");
    let expect = format!("nv 1, {}, of the siteof the recipe, read only, not writable", SECRET.len());
    assert!(log.starts_with(&expect), "{log}");
    assert!(site.join("written").exists() && !there.exists());
    [site, own, cluster.home().join(folder)].iter().for_each(|folder| fs::remove_dir_all(folder).expect("removed"));
}
