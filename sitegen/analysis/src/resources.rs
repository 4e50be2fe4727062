//! The sampled series of a benchmark by name, for tables and plots, and what its processes used in all.

use archive::{ResourceSample, Role};
use serde::Serialize;

/// One figure over time, of one role on one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceSeries {
    #[serde(skip)]
    pub role: Role,
    pub of: &'static str,
    pub node: String,
    /// For people: `busiest thread`.
    pub name: String,
    pub unit: SeriesUnit,
    /// Seconds from the benchmark's start, and the value; every sample that has it.
    pub points: Vec<(f64, f64)>,
    /// Over the samples within the window; absent when none is.
    pub mean: Option<f64>,
    pub max: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesUnit {
    /// Of what there is: 0–100.
    Percent,
    /// 100 is one core.
    PercentOfCore,
    Bytes,
    BytesPerSecond,
    PerSecond,
    Count,
    Watts,
    Megahertz,
    Celsius,
}

/// What the processes of a role used in all, as far as it was sampled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accounting {
    pub of: &'static str,
    pub node: String,
    /// From the first sample to the last.
    pub elapsed_s: f64,
    pub cpu_s: f64,
    pub max_rss_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
}

type Figure = (&'static str, SeriesUnit, fn(&ResourceSample) -> Option<f64>);

const FIGURES: &[Figure] = &[
    ("CPU", SeriesUnit::PercentOfCore, |s| s.process_cpu_percent),
    ("busiest thread, running", SeriesUnit::PercentOfCore, |s| s.busiest_thread_cpu_percent),
    ("busiest thread, waiting for a core", SeriesUnit::PercentOfCore, |s| s.busiest_thread_wait_percent),
    ("quota: periods stopped", SeriesUnit::Percent, |s| s.cgroup_cpu_throttled_percent),
    ("memory", SeriesUnit::Bytes, |s| s.process_rss_bytes.map(|bytes| bytes as f64)),
    ("memory under its limit", SeriesUnit::Bytes, |s| s.cgroup_memory_used_bytes.map(|bytes| bytes as f64)),
    ("memory limit", SeriesUnit::Bytes, |s| s.cgroup_memory_limit_bytes.map(|bytes| bytes as f64)),
    ("major page faults", SeriesUnit::PerSecond, |s| s.process_major_faults_per_second),
    ("OOM kills", SeriesUnit::Count, |s| s.cgroup_oom_kills.map(|kills| kills as f64)),
    ("threads", SeriesUnit::Count, |s| s.process_thread_count.map(|threads| threads as f64)),
    ("read from disk", SeriesUnit::BytesPerSecond, |s| s.process_read_bytes_per_second),
    ("written to disk", SeriesUnit::BytesPerSecond, |s| s.process_written_bytes_per_second),
    ("connections", SeriesUnit::Count, |s| s.socket_count.map(|count| count as f64)),
    ("unsent", SeriesUnit::Bytes, |s| s.socket_unsent_bytes.map(|bytes| bytes as f64)),
    ("unread", SeriesUnit::Bytes, |s| s.socket_unread_bytes.map(|bytes| bytes as f64)),
    ("TCP segments sent again", SeriesUnit::Count, |s| s.tcp_retransmits.map(|count| count as f64)),
    ("node: all cores", SeriesUnit::Percent, |s| s.node_cpu_percent),
    ("node: busiest core", SeriesUnit::Percent, |s| s.node_cpu_max_core_percent),
    ("node: run queue", SeriesUnit::Count, |s| s.node_run_queue.map(|queue| queue as f64)),
    ("node: CPU pressure", SeriesUnit::Percent, |s| s.node_cpu_pressure_percent),
    ("node: memory in use", SeriesUnit::Bytes, |s| s.node_memory_used_bytes.map(|bytes| bytes as f64)),
    ("node: memory pressure", SeriesUnit::Percent, |s| s.node_memory_pressure_percent),
    ("node: disk pressure", SeriesUnit::Percent, |s| s.node_io_pressure_percent),
];

/// Every series that was sampled, the service's first. Levels of zero throughout are left out of counts and faults:
/// what never happened needs no row.
pub fn resource_series(samples: &[ResourceSample], window_s: [f64; 2]) -> Vec<ResourceSeries> {
    let mut all = Vec::new();
    for (role, node) in sources(samples) {
        let mine: Vec<&ResourceSample> =
            samples.iter().filter(|sample| sample.role == role && sample.node == node).collect();
        let mut add = |name: &str, unit: SeriesUnit, of: &dyn Fn(&ResourceSample) -> Option<f64>| {
            let points: Vec<(f64, f64)> =
                mine.iter().filter_map(|sample| Some((sample.offset_s?, of(sample)?))).collect();
            let silent = matches!(unit, SeriesUnit::Count | SeriesUnit::PerSecond | SeriesUnit::BytesPerSecond)
                && points.iter().all(|(_, value)| *value == 0.0);
            if points.is_empty() || silent {
                return;
            }
            let [start, end] = window_s;
            let inside: Vec<f64> = mine
                .iter()
                .filter(|sample| {
                    let interval = sample.interval_s.unwrap_or(1.0);
                    sample.offset_s.is_some_and(|offset| (start..=end).contains(&(offset - interval / 2.0)))
                })
                .filter_map(|sample| of(sample))
                .collect();
            all.push(ResourceSeries {
                role,
                of: word(role),
                node: node.clone(),
                name: name.to_owned(),
                unit,
                mean: (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64),
                max: inside.iter().copied().reduce(f64::max),
                points,
            });
        };
        for (name, unit, of) in FIGURES {
            add(name, *unit, of);
        }
        for name in names(&mine, |sample| sample.interfaces.iter().map(|interface| interface.name.clone()).collect()) {
            let of =
                |sample: &ResourceSample| sample.interfaces.iter().find(|interface| interface.name == name).cloned();
            add(&format!("{name}: received"), SeriesUnit::BytesPerSecond, &|s| Some(of(s)?.received_bytes_per_second));
            add(&format!("{name}: sent"), SeriesUnit::BytesPerSecond, &|s| Some(of(s)?.sent_bytes_per_second));
            add(&format!("{name}: queued"), SeriesUnit::Bytes, &|s| of(s)?.queued_bytes.map(|bytes| bytes as f64));
            add(&format!("{name}: packets dropped"), SeriesUnit::Count, &|s| Some(of(s)?.dropped_packets as f64));
        }
        for name in names(&mine, |sample| sample.disks.iter().map(|disk| disk.name.clone()).collect()) {
            let of = |sample: &ResourceSample| sample.disks.iter().find(|disk| disk.name == name).cloned();
            add(&format!("{name}: busy"), SeriesUnit::Percent, &|s| Some(of(s)?.busy_percent));
        }
        for index in names(&mine, |sample| sample.gpus.iter().map(|gpu| gpu.index).collect()) {
            let of = |sample: &ResourceSample| sample.gpus.iter().find(|gpu| gpu.index == index).cloned();
            add(&format!("GPU {index}: busy"), SeriesUnit::Percent, &|s| of(s)?.utilization_percent);
            add(&format!("GPU {index}: memory"), SeriesUnit::Bytes, &|s| of(s)?.memory_used_bytes.map(|b| b as f64));
            add(&format!("GPU {index}: power"), SeriesUnit::Watts, &|s| of(s)?.power_w);
            add(&format!("GPU {index}: clock"), SeriesUnit::Megahertz, &|s| of(s)?.sm_clock_mhz.map(f64::from));
            add(&format!("GPU {index}: temperature"), SeriesUnit::Celsius, &|s| of(s)?.temperature_c);
        }
        for name in names(&mine, |sample| sample.service_figures.keys().cloned().collect()) {
            let unit = if name.ends_with("_percent") { SeriesUnit::Percent } else { SeriesUnit::Count };
            add(&format!("says: {}", name.replace('_', " ")), unit, &|s| s.service_figures.get(&name).copied());
        }
    }
    all
}

/// One entry a role and node whose processes were sampled.
pub fn accounting(samples: &[ResourceSample]) -> Vec<Accounting> {
    let of_source = |(role, node): (Role, String)| {
        let mine: Vec<&ResourceSample> =
            samples.iter().filter(|sample| sample.role == role && sample.node == node).collect();
        let cpu: Vec<f64> = mine
            .iter()
            .filter_map(|sample| Some(sample.process_cpu_percent? / 100.0 * sample.interval_s.unwrap_or(1.0)))
            .collect();
        let (first, last) = (mine.first()?, mine.last()?);
        (!cpu.is_empty()).then(|| Accounting {
            of: word(role),
            elapsed_s: last.time.seconds_since(first.time) + first.interval_s.unwrap_or(1.0),
            cpu_s: cpu.iter().sum(),
            max_rss_bytes: mine.iter().filter_map(|sample| sample.process_rss_bytes).max(),
            oom_kills: mine.iter().filter_map(|sample| sample.cgroup_oom_kills).reduce(|sum, kills| sum + kills),
            node,
        })
    };
    sources(samples).into_iter().filter_map(of_source).collect()
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Service => "service",
        Role::Client => "load generator",
    }
}

/// Roles and nodes, the service first.
fn sources(samples: &[ResourceSample]) -> Vec<(Role, String)> {
    let of_role = |role: Role| {
        let mut nodes: Vec<&str> =
            samples.iter().filter(|sample| sample.role == role).map(|sample| sample.node.as_str()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().map(move |node| (role, node.to_owned())).collect::<Vec<_>>()
    };
    [Role::Service, Role::Client].into_iter().flat_map(of_role).collect()
}

fn names<T: Ord>(samples: &[&ResourceSample], of: impl Fn(&ResourceSample) -> Vec<T>) -> Vec<T> {
    let mut names: Vec<T> = samples.iter().flat_map(|sample| of(sample)).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_sums() {
        let start: archive::Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        let sample = |second: f64, role: Role, cpu: f64| {
            let mut sample = ResourceSample::new(start.plus_seconds(second), "n", role);
            sample.offset_s = Some(second);
            sample.interval_s = Some(1.0);
            sample.process_cpu_percent = Some(cpu);
            sample.process_rss_bytes = Some(second as u64);
            sample.process_major_faults_per_second = Some(0.0);
            sample.service_figures = [("requests_waiting".to_owned(), second)].into();
            sample
        };
        let samples: Vec<_> = (1..=4).map(|n| sample(f64::from(n), Role::Service, f64::from(n) * 10.0)).collect();
        let series = resource_series(&samples, [1.0, 3.0]);
        let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["CPU", "memory", "says: requests waiting"]);
        // Of the window are the samples whose second lies in it: those at 2 and 3.
        assert_eq!((series[0].mean, series[0].max, series[0].points.len()), (Some(25.0), Some(30.0), 4));
        let used = accounting(&samples);
        assert_eq!((used[0].cpu_s, used[0].elapsed_s, used[0].max_rss_bytes), (1.0, 4.0, Some(4)));
        assert_eq!(accounting(&[]), []);
    }
}
