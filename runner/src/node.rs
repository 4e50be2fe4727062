//! Facts about the machine this process runs on. A fact that cannot be read is absent.

use std::{collections::BTreeMap, fs, path::Path};

use archive::{GpuFacts, NodeFacts, ToolFacts};
use nvml_wrapper::Nvml;
use procfs::{
    CpuInfo, Current, Meminfo,
    process::{LimitValue, Process},
};

/// The running executable itself, also after the file it came from was replaced by a newer build.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// The host name, as the kernel has it.
pub fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// This program.
pub fn tool() -> ToolFacts {
    let binary = fs::read(OWN_PROGRAM).ok();
    ToolFacts {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        binary_sha256: binary.map(|bytes| archive::sha256_hex(&bytes)),
        git_commit: option_env!("RUNNER_COMMIT").map(str::to_owned),
        changes_sha256: option_env!("RUNNER_CHANGES").map(str::to_owned),
        profile: option_env!("RUNNER_PROFILE").map(str::to_owned),
        other: serde_json::Map::new(),
    }
}

/// Everything about this machine that can bear on a measurement.
pub fn facts(role: &str) -> NodeFacts {
    let cpu = CpuInfo::current().ok();
    NodeFacts {
        hostname: hostname(),
        roles: vec![role.to_owned()],
        kernel: line("/proc/sys/kernel/osrelease"),
        os: os_name(),
        cpu_model: cpu.as_ref().and_then(|cpu| cpu.model_name(0)).map(str::to_owned),
        cpus: std::thread::available_parallelism().ok().map(|cpus| cpus.get() as u32),
        memory_total_bytes: Meminfo::current().ok().map(|memory| memory.mem_total),
        numa_nodes: numa_nodes(),
        cpu_governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        smt: line("/sys/devices/system/cpu/smt/active").map(|text| text == "1"),
        virtualization: cpu
            .as_ref()
            .and_then(|cpu| cpu.flags(0))
            .and_then(|flags| flags.contains(&"hypervisor").then(|| "hypervisor".to_owned())),
        gpus: gpus(),
        limits: limits(),
        ..NodeFacts::default()
    }
}

/// Without NVIDIA's driver there are none.
fn gpus() -> Vec<GpuFacts> {
    let Ok(driver) = Nvml::init() else { return Vec::new() };
    let version = driver.sys_driver_version().ok();
    let facts = |index: u32| {
        let device = driver.device_by_index(index).ok()?;
        Some(GpuFacts {
            index,
            name: device.name().unwrap_or_else(|_| "unknown".to_owned()),
            driver: version.clone(),
            memory_total_bytes: device.memory_info().ok().map(|memory| memory.total),
            power_limit_w: device.enforced_power_limit().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0),
            ..GpuFacts::default()
        })
    };
    (0..driver.device_count().unwrap_or(0)).filter_map(facts).collect()
}

fn limits() -> BTreeMap<String, Option<u64>> {
    let Ok(limits) = Process::myself().and_then(|process| process.limits()) else { return BTreeMap::new() };
    let soft = [
        ("open_files", limits.max_open_files),
        ("processes", limits.max_processes),
        ("locked_memory_bytes", limits.max_locked_memory),
        ("stack_bytes", limits.max_stack_size),
    ];
    let value = |limit: LimitValue| match limit {
        LimitValue::Value(value) => Some(value),
        LimitValue::Unlimited => None,
    };
    soft.into_iter().map(|(name, limit)| (name.to_owned(), value(limit.soft_limit))).collect()
}

fn line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}

fn os_name() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

fn numa_nodes() -> Option<u32> {
    let entries = fs::read_dir(Path::new("/sys/devices/system/node")).ok()?;
    let is_node = |name: &str| name.strip_prefix("node").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let count = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_node)).count();
    (count > 0).then_some(count as u32)
}
