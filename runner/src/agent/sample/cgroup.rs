//! Limits and events of a process's control groups, version 1 and 2, mounted where Linux mounts them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use archive::ResourceSample;
use procfs::process::Process;

use super::{since, tenth};

const MOUNT: &str = "/sys/fs/cgroup";
/// Version 1 writes "no limit" as the largest number of pages.
const NO_LIMIT: u64 = 1 << 60;

/// The groups looked at last, and their counters. They outlive the process: a kill for want of memory is read
/// when its victim is gone.
#[derive(Default)]
pub struct Cgroups {
    memory: Option<Group>,
    cpu: Option<Group>,
    oom_kills: Option<u64>,
    throttled: Option<u64>,
    periods: Option<u64>,
}

/// A folder of one controller, below its mount.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    mount: PathBuf,
    folder: PathBuf,
    version: u8,
}

impl Group {
    /// The group and those above it.
    fn ancestry(&self) -> impl Iterator<Item = &Path> {
        let mount = self.mount.clone();
        self.folder.ancestors().take_while(move |folder| folder.starts_with(&mount))
    }
}

impl Cgroups {
    pub fn fill(&mut self, pid: i32, sample: &mut ResourceSample) {
        if let Some((memory, cpu)) = groups_of(pid) {
            if memory.is_some() && memory != self.memory {
                self.oom_kills = None;
                self.memory = memory;
            }
            if cpu.is_some() && cpu != self.cpu {
                (self.throttled, self.periods) = (None, None);
                self.cpu = cpu;
            }
        }
        if let Some(group) = &self.memory {
            let limit = tightest_memory(group);
            if let Some((folder, limit)) = limit {
                sample.cgroup_memory_limit_bytes = Some(limit);
                sample.cgroup_memory_used_bytes = memory_used(folder, group.version);
            }
            let events = if group.version == 1 { "memory.oom_control" } else { "memory.events" };
            sample.cgroup_oom_kills = since(&mut self.oom_kills, keyed(&group.folder.join(events), "oom_kill"));
        }
        if let Some(group) = &self.cpu {
            let tightest = group.ancestry().filter_map(|folder| Some((folder, quota(folder, group.version)?)));
            let Some((folder, cores)) = tightest.min_by(|a, b| a.1.total_cmp(&b.1)) else { return };
            sample.cgroup_cpu_limit_cores = Some(cores);
            let stat = folder.join("cpu.stat");
            let periods = since(&mut self.periods, keyed(&stat, "nr_periods"));
            let throttled = since(&mut self.throttled, keyed(&stat, "nr_throttled"));
            sample.cgroup_cpu_throttled_percent = match (periods, throttled) {
                (Some(0), Some(_)) => Some(0.0),
                (Some(periods), Some(throttled)) => Some(tenth((throttled as f64 / periods as f64 * 100.0).min(100.0))),
                _ => None,
            };
        }
    }
}

/// The groups that hold the memory and the CPU of a process.
fn groups_of(pid: i32) -> Option<(Option<Group>, Option<Group>)> {
    let memberships = Process::new(pid).ok()?.cgroups().ok()?;
    let find = |controller: &str| {
        let named = |membership: &&procfs::ProcessCGroup| membership.controllers.iter().any(|name| name == controller);
        if let Some(membership) = memberships.0.iter().find(named) {
            // Controllers that share a hierarchy may be mounted under both names at once.
            let joined = membership.controllers.join(",");
            let mount =
                [controller, &joined].map(|name| Path::new(MOUNT).join(name)).into_iter().find(|p| p.is_dir())?;
            return group(mount, &membership.pathname, 1);
        }
        let membership = memberships.0.iter().find(|membership| membership.hierarchy == 0)?;
        let unified = Path::new(MOUNT).join("unified");
        let mount = if unified.is_dir() { unified } else { PathBuf::from(MOUNT) };
        group(mount, &membership.pathname, 2)
    };
    Some((find("memory"), find("cpu")))
}

fn group(mount: PathBuf, pathname: &str, version: u8) -> Option<Group> {
    let folder = mount.join(pathname.trim_start_matches('/'));
    // In a container its own group is the mount.
    let folder = if folder.is_dir() { folder } else { mount.clone() };
    folder.is_dir().then_some(Group { mount, folder, version })
}

/// The group with the least memory allowed, from this one up, and its limit.
fn tightest_memory(group: &Group) -> Option<(&Path, u64)> {
    let file = if group.version == 1 { "memory.limit_in_bytes" } else { "memory.max" };
    let limits = group.ancestry().filter_map(|folder| Some((folder, number(&folder.join(file))?)));
    limits.filter(|(_, limit)| *limit < NO_LIMIT).min_by_key(|(_, limit)| *limit)
}

/// What the kubelet calls the working set.
fn memory_used(folder: &Path, version: u8) -> Option<u64> {
    let (used, inactive) = match version {
        1 => ("memory.usage_in_bytes", "total_inactive_file"),
        _ => ("memory.current", "inactive_file"),
    };
    let used = number(&folder.join(used))?;
    Some(used.saturating_sub(keyed(&folder.join("memory.stat"), inactive).unwrap_or(0)))
}

/// Cores that the group may use; `None` without a quota.
fn quota(folder: &Path, version: u8) -> Option<f64> {
    let (quota, period) = if version == 1 {
        (number(&folder.join("cpu.cfs_quota_us"))?, number(&folder.join("cpu.cfs_period_us"))?)
    } else {
        let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        (quota.parse().ok()?, period.parse().ok()?)
    };
    (period > 0).then(|| quota as f64 / period as f64)
}

/// A file with one number; `max` and `-1` are none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number after a key, a line each.
fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let root = tempfile::tempdir().expect("a folder");
        let leaf = root.path().join("job/step");
        fs::create_dir_all(&leaf).expect("created");
        let write = |folder: &Path, name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
        let job = root.path().join("job");
        write(&leaf, "memory.limit_in_bytes", "9223372036854771712\n");
        write(&job, "memory.limit_in_bytes", "1048576\n");
        write(&job, "memory.usage_in_bytes", "900000\n");
        write(&job, "memory.stat", "cache 5\ntotal_inactive_file 100000\n");
        write(&leaf, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        write(&leaf, "cpu.cfs_quota_us", "-1\n");
        write(&leaf, "cpu.cfs_period_us", "100000\n");
        write(&leaf, "memory.max", "max\n");
        write(&job, "memory.max", "2097152\n");
        write(&leaf, "cpu.max", "max 100000\n");
        write(&job, "cpu.max", "150000 100000\n");
        let group = |version| Group { mount: root.path().to_owned(), folder: leaf.clone(), version };
        assert_eq!(tightest_memory(&group(1)), Some((job.as_path(), 1 << 20)));
        assert_eq!(tightest_memory(&group(2)), Some((job.as_path(), 2 << 20)));
        assert_eq!(memory_used(&job, 1), Some(800_000));
        assert_eq!(keyed(&leaf.join("memory.oom_control"), "oom_kill"), Some(3));
        assert_eq!((quota(&leaf, 1), quota(&leaf, 2), quota(&job, 2)), (None, None, Some(1.5)));
    }
}
