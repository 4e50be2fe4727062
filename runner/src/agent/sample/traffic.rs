//! What went over network and disks, and what waits in the sockets between clients and service.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
};

use archive::{DiskSample, InterfaceSample, ResourceSample, Role};
use procfs::{Current, process::Process};

use super::{
    queues, since,
    sockets::{self, Side},
    tenth,
};

const SECTOR_BYTES: f64 = 512.0;

/// The counters read last.
#[derive(Default)]
pub struct Traffic {
    /// Interface → bytes received, bytes sent, packets dropped.
    interfaces: HashMap<String, [u64; 3]>,
    /// Disk → sectors read, sectors written, milliseconds busy.
    disks: HashMap<String, [u64; 3]>,
    retransmits: Option<u64>,
    /// The sockets that listened at the service's port when any did last.
    listening: BTreeSet<u32>,
}

impl Traffic {
    /// Reads the network as `process` sees it, which may live in a network namespace of its own; else as this
    /// program does.
    pub fn fill(&mut self, process: Option<&Process>, port: Option<u16>, sample: &mut ResourceSample, seconds: f64) {
        let ours = process.is_some() && sample.role == Role::Service;
        let own;
        let process = match process {
            Some(process) => process,
            None => {
                let Ok(this) = Process::myself() else { return };
                own = this;
                &own
            }
        };
        let devices = process.dev_status().unwrap_or_default();
        let now: HashMap<String, [u64; 3]> = devices
            .into_values()
            .map(|device| (device.name, [device.recv_bytes, device.sent_bytes, device.recv_drop + device.sent_drop]))
            .collect();
        // Those of a namespace that is not ours cannot be asked.
        let queues = if shares_network(process) { queues::queues().unwrap_or_default() } else { HashMap::new() };
        for (name, grown) in grown(&now, &self.interfaces) {
            let queue = queues.get(&name);
            sample.interfaces.push(InterfaceSample {
                capacity_bytes_per_second: speed(&name),
                queued_bytes: queue.map(|queue| queue.bytes),
                queue_dropped_packets: queue.map(|queue| queue.dropped),
                name,
                received_bytes_per_second: (grown[0] as f64 / seconds).round(),
                sent_bytes_per_second: (grown[1] as f64 / seconds).round(),
                dropped_packets: grown[2],
            });
        }
        self.interfaces = now;
        let retransmits = process.snmp().ok().map(|snmp| snmp.tcp_retrans_segs);
        sample.tcp_retransmits = since(&mut self.retransmits, retransmits);

        let disks = procfs::DiskStats::current().map(|stats| stats.0).unwrap_or_default();
        let now: HashMap<String, [u64; 3]> = disks
            .into_iter()
            .filter(|disk| is_disk(&disk.name))
            .map(|disk| (disk.name, [disk.sectors_read, disk.sectors_written, disk.time_in_progress]))
            .collect();
        for (name, grown) in grown(&now, &self.disks) {
            sample.disks.push(DiskSample {
                name,
                read_bytes_per_second: (grown[0] as f64 * SECTOR_BYTES / seconds).round(),
                written_bytes_per_second: (grown[1] as f64 * SECTOR_BYTES / seconds).round(),
                busy_percent: tenth((grown[2] as f64 / 10.0 / seconds).min(100.0)),
            });
        }
        self.disks = now;

        if let Some(port) = port {
            // A service in a namespace of its own has sockets that cannot be asked from here.
            if shares_network(process) {
                fill_sockets(port, sample);
                if ours && let Ok(now) = sockets::listening(port) {
                    sample.service_restarts = begun_anew(&mut self.listening, now);
                }
            }
        }
    }
}

/// Whether sockets listen now that are all other ones than before; nothing while none has ever been seen. A server
/// that hands its sockets on to the next one has not stopped listening.
fn begun_anew(before: &mut BTreeSet<u32>, now: BTreeSet<u32>) -> Option<u64> {
    let known = !before.is_empty();
    let other = known && !now.is_empty() && before.is_disjoint(&now);
    if !now.is_empty() {
        *before = now;
    }
    (known || !before.is_empty()).then_some(u64::from(other))
}

/// What is told to be here and has grown in any figure, by name.
fn grown(now: &HashMap<String, [u64; 3]>, before: &HashMap<String, [u64; 3]>) -> Vec<(String, [u64; 3])> {
    let mut all: Vec<_> = now
        .iter()
        .filter_map(|(name, now)| {
            let before = before.get(name)?;
            let grown = [0, 1, 2].map(|index: usize| now[index].saturating_sub(before[index]));
            (grown != [0; 3]).then(|| (name.clone(), grown))
        })
        .collect();
    all.sort();
    all
}

/// Whole disks: not their partitions, and nothing that lives in memory or in a file.
fn is_disk(name: &str) -> bool {
    let virtual_disk = ["loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix));
    !virtual_disk && Path::new("/sys/block").join(name.replace('/', "!")).exists()
}

/// The connections of the benchmark: those of the service's port, from the side of `sample.role`.
fn fill_sockets(port: u16, sample: &mut ResourceSample) {
    let side = match sample.role {
        Role::Service => Side::Local(port),
        Role::Client => Side::Remote(port),
    };
    let Ok(waiting) = sockets::waiting(side) else { return };
    sample.socket_count = Some(waiting.connections);
    sample.socket_sending_count = Some(waiting.sending);
    sample.socket_unsent_bytes = Some(waiting.unsent_bytes);
    sample.socket_unread_bytes = Some(waiting.unread_bytes);
}

/// What the hardware can carry; what a virtual interface says of itself is no limit.
fn speed(name: &str) -> Option<f64> {
    let folder = Path::new("/sys/class/net").join(name);
    let megabits: f64 = fs::read_to_string(folder.join("speed")).ok()?.trim().parse().ok()?;
    (folder.join("device").exists() && megabits > 0.0).then_some(megabits * 1e6 / 8.0)
}

/// Whether a process is in the network namespace of this program.
fn shares_network(process: &Process) -> bool {
    let namespace = |pid: &str| fs::read_link(Path::new("/proc").join(pid).join("ns/net")).ok();
    let own = namespace("self");
    own.is_some() && own == namespace(&process.pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_other_sockets_are_a_service_begun_anew() {
        let mut before = BTreeSet::new();
        for (now, expect) in [
            (&[][..], None),
            (&[1, 2], Some(0)),
            (&[2], Some(0)),
            // Handed on one after the other.
            (&[2, 3], Some(0)),
            (&[3], Some(0)),
            (&[], Some(0)),
            (&[3], Some(0)),
            (&[], Some(0)),
            (&[4], Some(1)),
            (&[4], Some(0)),
            (&[5], Some(1)),
        ] {
            assert_eq!(begun_anew(&mut before, now.iter().copied().collect()), expect, "{now:?}");
        }
    }
}
