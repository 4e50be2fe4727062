//! What waits in the TCP connections between clients and service, and which sockets listen for them, as the kernel's
//! socket diagnostics tell.
//!
//! Layouts are those of Linux' `inet_diag.h` and `tcp.h`, which only ever grow at their ends.

use std::{collections::BTreeSet, io::Result};

use nix::sys::socket::SockProtocol;

use super::netlink::{attribute, dump, number32};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const STATE_ESTABLISHED: u32 = 1 << 1;
const STATE_LISTEN: u32 = 1 << 10;
const TCP: u8 = 6;
/// Asks for, and names, the attribute that holds `tcp_info`.
const INFO: u16 = 2;
/// `tcp_info.tcpi_notsent_bytes`
const NOT_SENT_AT: usize = 144;

/// Connections of one port, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub connections: u64,
    /// Bytes that have arrived and nobody has read.
    pub unread_bytes: u64,
    /// Bytes that the program has written and the kernel has not sent.
    pub unsent_bytes: u64,
    /// Connections with such bytes.
    pub sending: u64,
}

/// Which end of the connections is meant by the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Local(u16),
    Remote(u16),
}

/// Adds up all established connections of that port.
pub fn waiting(side: Side) -> Result<Waiting> {
    let mut total = Waiting::default();
    for family in [nix::libc::AF_INET as u8, nix::libc::AF_INET6 as u8] {
        let kinds = (SOCK_DIAG_BY_FAMILY, SOCK_DIAG_BY_FAMILY);
        dump(SockProtocol::NetlinkSockDiag, kinds, &question(family, side, STATE_ESTABLISHED), |message| {
            add(message, side, &mut total)
        })?;
    }
    Ok(total)
}

/// The inodes of the sockets that listen at a port. A process that begins to listen there makes a new one.
pub fn listening(port: u16) -> Result<BTreeSet<u32>> {
    let mut inodes = BTreeSet::new();
    for family in [nix::libc::AF_INET as u8, nix::libc::AF_INET6 as u8] {
        let kinds = (SOCK_DIAG_BY_FAMILY, SOCK_DIAG_BY_FAMILY);
        let question = question(family, Side::Local(port), STATE_LISTEN);
        dump(SockProtocol::NetlinkSockDiag, kinds, &question, |message| {
            let found = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
            if found == port {
                inodes.insert(number32(message, 68)?);
            }
            Some(())
        })?;
    }
    Ok(inodes)
}

/// The connections whose port fits; the kernel leaves out the others.
fn question(family: u8, side: Side, states: u32) -> Vec<u8> {
    let (local, remote) = match side {
        Side::Local(port) => (port, 0),
        Side::Remote(port) => (0, port),
    };
    let mut body = vec![family, TCP, 1 << (INFO - 1), 0];
    body.extend(states.to_ne_bytes());
    body.extend(local.to_be_bytes());
    body.extend(remote.to_be_bytes());
    // Addresses, interface and cookie: any.
    body.extend([0; 44]);
    body
}

fn add(message: &[u8], side: Side, total: &mut Waiting) -> Option<()> {
    let port = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let (wanted, found) = match side {
        Side::Local(wanted) => (wanted, port(4)?),
        Side::Remote(wanted) => (wanted, port(6)?),
    };
    if wanted != found {
        return Some(());
    }
    total.connections += 1;
    total.unread_bytes += u64::from(number32(message, 56)?);
    let unsent = attribute(message.get(72..)?, INFO).and_then(|info| number32(info, NOT_SENT_AT)).unwrap_or(0);
    total.unsent_bytes += u64::from(unsent);
    total.sending += u64::from(unsent > 0);
    Some(())
}
