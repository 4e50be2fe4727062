//! What waits in front of the network interfaces, as the kernel's queueing disciplines tell.
//!
//! Layouts are those of Linux' `rtnetlink.h` and `gen_stats.h`.

use std::{collections::HashMap, io::Result};

use nix::{net::if_::if_nameindex, sys::socket::SockProtocol};

use super::netlink::{attribute, dump, number32};

const NEW_QDISC: u16 = 36;
const GET_QDISC: u16 = 38;
/// The discipline that everything leaving the interface passes.
const ROOT: u32 = u32::MAX;
const STATS2: u16 = 7;
const QUEUE: u16 = 3;

/// The queue of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Waiting to leave.
    pub bytes: u64,
    /// Packets dropped since it was set up.
    pub dropped: u64,
}

/// Interface → its queue. Interfaces that send without one, as the loopback does, are missing.
pub fn queues() -> Result<HashMap<String, Queue>> {
    let mut by_index = HashMap::new();
    dump(SockProtocol::NetlinkRoute, (GET_QDISC, NEW_QDISC), &[0; 20], |message| {
        if number32(message, 12)? == ROOT {
            let queue = attribute(message.get(20..)?, STATS2).and_then(|stats| attribute(stats, QUEUE));
            if let Some(queue) = queue {
                let (bytes, dropped) = (number32(queue, 4)?, number32(queue, 8)?);
                by_index.insert(number32(message, 4)?, Queue { bytes: bytes.into(), dropped: dropped.into() });
            }
        }
        Some(())
    })?;
    let names = if_nameindex()?;
    let named = |interface: &nix::net::if_::Interface| {
        let queue = by_index.get(&interface.index())?;
        Some((interface.name().to_string_lossy().into_owned(), *queue))
    };
    Ok(names.iter().filter_map(named).collect())
}
