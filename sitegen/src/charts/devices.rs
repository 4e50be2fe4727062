//! What GPUs, network and disks did while a benchmark ran, on the time axis of its requests.
//!
//! A node's devices are told once: by the service's samples where it has any there, else by the load generator's.

use std::collections::{BTreeMap, BTreeSet};

use archive::{ResourceSample, Role, Summary};

use super::{
    Chart, Panel, color, dashed, height, line, plot,
    timeline::{FEW_POINTS, MOST_ROWS, PANEL_PX, outside, step_note, time_axis},
};
use crate::{
    pages::table::{Cell, Column, Table},
    units,
};

/// Devices of a kind that are drawn: the busiest; a node with containers has an interface for each of them.
const MOST_DEVICES: usize = 8;

const GIB: f64 = (1_u64 << 30) as f64;

/// One device: its name as the page says it, and its figures by sample, in the order of the panels.
struct Device<const N: usize> {
    node: String,
    name: String,
    /// Seconds from the start of the load, and the figures then; `None` where nothing was told.
    samples: Vec<(f64, [Option<f64>; N])>,
}

/// How the chart of one kind of device is made.
struct Kind<const N: usize> {
    id: &'static str,
    title: &'static str,
    /// Of the table.
    device: &'static str,
    /// Name and unit of every figure.
    figures: [(&'static str, &'static str); N],
    /// Panels: name of the axis, and the figures that it shows, the second dashed.
    panels: Vec<(String, Vec<usize>)>,
}

/// Charts of the GPUs, the network and the disks, as far as they were sampled.
pub fn charts(summary: &Summary, samples: &[ResourceSample]) -> Vec<Chart> {
    let end = time_axis(summary).max.unwrap_or(f64::INFINITY);
    let shown: Vec<&ResourceSample> =
        samples.iter().filter(|sample| sample.offset_s.is_some_and(|offset| (0.0..=end).contains(&offset))).collect();
    [gpus(summary, &shown), network(summary, &shown), disks(summary, &shown)].into_iter().flatten().collect()
}

fn gpus(summary: &Summary, samples: &[&ResourceSample]) -> Option<Chart> {
    let devices = devices(
        samples,
        |sample| !sample.gpus.is_empty(),
        |sample| {
            let figures = sample.gpus.iter().map(|gpu| {
                let memory = gpu.memory_used_bytes.map(|bytes| bytes as f64 / GIB);
                let clock = gpu.sm_clock_mhz.map(f64::from);
                (format!("GPU {}", gpu.index), [gpu.utilization_percent, memory, gpu.power_w, clock, gpu.temperature_c])
            });
            (figures.collect(), None)
        },
    );
    let kind = Kind {
        id: "gpus",
        title: "GPUs",
        device: "GPU",
        figures: [("busy", "%"), ("memory", "GiB"), ("power", "W"), ("SM clock", "MHz"), ("temperature", "°C")],
        panels: vec![
            ("GPU busy, %".to_owned(), vec![0]),
            ("memory, GiB".to_owned(), vec![1]),
            ("power, W".to_owned(), vec![2]),
        ],
    };
    chart(summary, &kind, devices, |mean| Some(format!("busy for {} % of the time", units::number(mean(0)?))))
}

fn network(summary: &Summary, samples: &[&ResourceSample]) -> Option<Chart> {
    let mut devices = devices(
        samples,
        |sample| !sample.interfaces.is_empty(),
        |sample| {
            let figures = sample.interfaces.iter().map(|one| {
                let (received, sent) = (one.received_bytes_per_second, one.sent_bytes_per_second);
                (one.name.clone(), [Some(received), Some(sent), Some(one.dropped_packets as f64)])
            });
            // One that carried nothing is not listed.
            (figures.collect(), (!sample.interfaces.is_empty()).then_some([Some(0.0); 3]))
        },
    );
    let unit = in_rate_unit(&mut devices, 2);
    let kind = Kind {
        id: "network",
        title: "Network",
        device: "interface",
        figures: [("received", unit), ("sent", unit), ("packets dropped", "")],
        panels: vec![(format!("received, {unit}"), vec![0]), (format!("sent, {unit}"), vec![1])],
    };
    chart(summary, &kind, devices, |mean| {
        Some(format!("{} {unit} received and {} {unit} sent", units::number(mean(0)?), units::number(mean(1)?)))
    })
}

fn disks(summary: &Summary, samples: &[&ResourceSample]) -> Option<Chart> {
    let mut devices = devices(
        samples,
        |sample| !sample.disks.is_empty(),
        |sample| {
            let figures = sample.disks.iter().map(|disk| {
                let (read, written) = (disk.read_bytes_per_second, disk.written_bytes_per_second);
                (disk.name.clone(), [Some(read), Some(written), Some(disk.busy_percent)])
            });
            // One that did nothing is not listed; the interfaces, the loopback among them, tell whether it was asked.
            let asked = !sample.disks.is_empty() || !sample.interfaces.is_empty();
            (figures.collect(), asked.then_some([Some(0.0); 3]))
        },
    );
    let unit = in_rate_unit(&mut devices, 2);
    let kind = Kind {
        id: "disks",
        title: "Disks",
        device: "disk",
        figures: [("read", unit), ("written", unit), ("busy", "%")],
        panels: vec![(format!("read, written, {unit}"), vec![0, 1]), ("disk busy, %".to_owned(), vec![2])],
    };
    chart(summary, &kind, devices, |mean| {
        Some(format!("{} {unit} read and {} {unit} written", units::number(mean(0)?), units::number(mean(1)?)))
    })
}

/// The devices that the samples name. `tells` says whether a sample has any; `of` gives them with their figures, and
/// what holds for those that it leaves out.
fn devices<const N: usize>(
    samples: &[&ResourceSample],
    tells: impl Fn(&ResourceSample) -> bool,
    of: impl Fn(&ResourceSample) -> (BTreeMap<String, [Option<f64>; N]>, Option<[Option<f64>; N]>),
) -> Vec<Device<N>> {
    let nodes: BTreeSet<&str> = samples.iter().map(|sample| sample.node.as_str()).collect();
    let mut all = Vec::new();
    for node in nodes {
        let by = |role: Role| samples.iter().filter(move |sample| sample.role == role && sample.node == node);
        let Some(role) = [Role::Service, Role::Client].into_iter().find(|role| by(*role).any(|sample| tells(sample)))
        else {
            continue;
        };
        let told: Vec<_> = by(role).map(|sample| (sample.offset_s.unwrap_or_default(), of(sample))).collect();
        let names: BTreeSet<&String> = told.iter().flat_map(|(_, (figures, _))| figures.keys()).collect();
        for name in names {
            let samples = told.iter().map(|(offset, (figures, left_out))| {
                (*offset, figures.get(name).copied().or(*left_out).unwrap_or([None; N]))
            });
            all.push(Device { node: node.to_owned(), name: name.clone(), samples: samples.collect() });
        }
    }
    all
}

/// Brings the first `rates` figures, in bytes a second, to the unit that suits the largest, and names it.
fn in_rate_unit<const N: usize>(devices: &mut [Device<N>], rates: usize) -> &'static str {
    let figures = devices.iter().flat_map(|device| &device.samples).flat_map(|(_, figures)| figures.iter().take(rates));
    let largest = figures.flatten().copied().fold(0.0, f64::max);
    let (unit, bytes) = match largest {
        bytes if bytes >= GIB => ("GiB/s", GIB),
        bytes if bytes >= 1024.0 * 1024.0 => ("MiB/s", 1024.0 * 1024.0),
        _ => ("KiB/s", 1024.0),
    };
    for (_, figures) in devices.iter_mut().flat_map(|device| &mut device.samples) {
        figures.iter_mut().take(rates).flatten().for_each(|figure| *figure /= bytes);
    }
    unit
}

/// Mean of a figure over the samples whose time lies within the measurement window.
fn mean<const N: usize>(device: &Device<N>, figure: usize, [start, end]: [f64; 2]) -> Option<f64> {
    let inside = device.samples.iter().filter(|(offset, _)| *offset > start && *offset <= end);
    let values: Vec<f64> = inside.filter_map(|(_, figures)| figures[figure]).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn chart<const N: usize>(
    summary: &Summary,
    kind: &Kind<N>,
    mut devices: Vec<Device<N>>,
    // What the means of the figures come to.
    says: impl Fn(&dyn Fn(usize) -> Option<f64>) -> Option<String>,
) -> Option<Chart> {
    if devices.is_empty() {
        return None;
    }
    // The first panel's figures decide who is busy.
    let load = |device: &Device<N>| -> f64 {
        kind.panels[0].1.iter().filter_map(|figure| mean(device, *figure, summary.window_s)).sum()
    };
    devices.sort_by(|a, b| load(b).total_cmp(&load(a)));
    let left_out = devices.len().saturating_sub(MOST_DEVICES);
    devices.truncate(MOST_DEVICES);
    let busiest = &devices[0];
    let finding = match says(&|figure| mean(busiest, figure, summary.window_s)) {
        Some(words) => {
            let others = if devices.len() > 1 { ", the busiest" } else { "" };
            format!("Within the measurement window, {}{others}: {words} on average.", busiest.name)
        }
        None => "No sample lies within the measurement window.".to_owned(),
    };
    devices.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));

    let x = time_axis(summary);
    let several = devices.iter().map(|device| &device.node).collect::<BTreeSet<_>>().len() > 1;
    let panel = |(place, (name, figures)): (usize, &(String, Vec<usize>))| {
        let lines = devices.iter().enumerate().flat_map(|(index, device)| {
            let name = if several { format!("{} ({})", device.name, device.node) } else { device.name.clone() };
            figures.iter().enumerate().map(move |(order, figure)| {
                let points = device.samples.iter().map(|(offset, figures)| (*offset, figures[*figure]));
                let markers = device.samples.len() <= FEW_POINTS;
                let name =
                    if figures.len() > 1 { format!("{name}: {}", kind.figures[*figure].0) } else { name.clone() };
                let drawn = line(&name, &color(index), points, markers);
                if order > 0 { dashed(drawn) } else { drawn }
            })
        });
        let marks = outside(summary, &x, place == 0);
        Panel { y_name: name.clone(), series: lines.collect(), marks, ..Panel::default() }
    };
    let told = |figure: usize| {
        devices.iter().any(|device| device.samples.iter().any(|(_, figures)| figures[figure].is_some()))
    };
    let drawn = kind.panels.iter().filter(|(_, figures)| figures.iter().any(|figure| told(*figure)));
    let panels: Vec<Panel> = drawn.enumerate().map(panel).collect();
    if panels.is_empty() {
        return None;
    }

    let mut columns = vec![Column::number("second", "s"), Column::text("node"), Column::text(kind.device)];
    columns.extend(kind.figures.iter().map(|(name, unit)| Column::number(name, unit)));
    let step = devices.iter().map(|device| device.samples.len()).sum::<usize>().div_ceil(MOST_ROWS).max(1);
    let rows = devices.iter().flat_map(|device| {
        device.samples.iter().step_by(step).map(move |(offset, figures)| {
            let mut row = vec![Cell::number(*offset), Cell::text(&device.node), Cell::text(&device.name)];
            row.extend(figures.iter().map(|figure| Cell::optional(*figure)));
            row
        })
    });
    let fewer = (left_out > 0).then(|| format!("The busiest {MOST_DEVICES}; {left_out} more are left out."));
    let notes: Vec<String> = fewer.into_iter().chain(step_note(step)).collect();
    let count = panels.len();
    Some(Chart {
        id: kind.id.to_owned(),
        title: kind.title.to_owned(),
        finding,
        table: Table::new(columns, rows.collect()).with_note((!notes.is_empty()).then(|| notes.join(" "))),
        option: plot(&x, panels, PANEL_PX),
        height_px: height(count, PANEL_PX),
        group: Some("time"),
        still: None,
    })
}

#[cfg(test)]
mod tests {
    use archive::{DiskSample, InterfaceSample, Timestamp};
    use serde_json::json;

    use super::*;

    fn sample(second: f64, role: Role, disk: Option<f64>) -> ResourceSample {
        let time: Timestamp = "2026-03-01T09:00:00Z".parse().expect("a time");
        let mut sample = ResourceSample::new(time.plus_seconds(second), "node-1", role);
        sample.offset_s = Some(second);
        sample.disks.extend(disk.map(|bytes| DiskSample {
            name: "vda".into(),
            read_bytes_per_second: bytes,
            written_bytes_per_second: 0.0,
            busy_percent: 10.0,
        }));
        sample
    }

    fn listing(mut sample: ResourceSample) -> ResourceSample {
        let lo = json!({ "name": "lo", "received_bytes_per_second": 1024.0, "sent_bytes_per_second": 0.0, "dropped_packets": 0 });
        sample.interfaces = vec![serde_json::from_value::<InterfaceSample>(lo).expect("an interface")];
        sample
    }

    #[test]
    fn what_did_nothing_is_zero_and_what_was_not_told_is_a_gap() {
        let samples = [
            sample(1.0, Role::Service, Some(2048.0)),
            listing(sample(2.0, Role::Service, None)),
            sample(3.0, Role::Service, None),
            // The same node again, as the other role sees it.
            sample(1.0, Role::Client, Some(4096.0)),
        ];
        let samples: Vec<&ResourceSample> = samples.iter().collect();
        let tells = |sample: &ResourceSample| !sample.disks.is_empty();
        let mut found = devices(&samples, tells, |sample| {
            let all = sample.disks.iter().map(|disk| (disk.name.clone(), [Some(disk.read_bytes_per_second)]));
            (all.collect(), (!sample.interfaces.is_empty()).then_some([Some(0.0)]))
        });
        assert_eq!(in_rate_unit(&mut found, 1), "KiB/s");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].samples, [(1.0, [Some(2.0)]), (2.0, [Some(0.0)]), (3.0, [None])]);
        assert_eq!(mean(&found[0], 0, [1.0, 3.0]), Some(0.0));
        assert_eq!(mean(&found[0], 0, [0.0, 3.0]), Some(1.0));
        assert_eq!(mean(&found[0], 0, [4.0, 5.0]), None);
    }
}
