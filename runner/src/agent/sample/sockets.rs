//! What waits in the TCP connections between clients and service, as the kernel's socket diagnostics tell.
//!
//! Sees the network namespace of this program only. Layouts are those of Linux' `inet_diag.h` and `tcp.h`, which only
//! ever grow at their ends.

use std::{
    io::{Error, ErrorKind, Result},
    os::fd::AsRawFd,
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
        sockopt,
    },
    time::TimeVal,
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const STATE_ESTABLISHED: u32 = 1 << 1;
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
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 200_000))?;
    let mut total = Waiting::default();
    for family in [nix::libc::AF_INET as u8, nix::libc::AF_INET6 as u8] {
        let question = question(family, side);
        sendto(socket.as_raw_fd(), &question, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            if add(&buffer[..length], side, &mut total)? {
                break;
            }
        }
    }
    Ok(total)
}

/// A dump of the connections whose port fits; the kernel leaves out the others.
fn question(family: u8, side: Side) -> Vec<u8> {
    let mut message = Vec::with_capacity(72);
    message.extend(72u32.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_AND_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, TCP, 1 << (INFO - 1), 0]);
    message.extend(STATE_ESTABLISHED.to_ne_bytes());
    let (local, remote) = match side {
        Side::Local(port) => (port, 0),
        Side::Remote(port) => (0, port),
    };
    message.extend(local.to_be_bytes());
    message.extend(remote.to_be_bytes());
    // Addresses, interface and cookie: any.
    message.extend([0; 44]);
    message
}

/// Adds the messages of one read; whether the last was among them.
fn add(mut messages: &[u8], side: Side, total: &mut Waiting) -> Result<bool> {
    let broken = || Error::new(ErrorKind::InvalidData, "a broken answer of the socket diagnostics");
    while !messages.is_empty() {
        let length = number32(messages, 0).ok_or_else(broken)? as usize;
        let kind = number16(messages, 4).ok_or_else(broken)?;
        let message = messages.get(16..length).ok_or_else(broken)?;
        match kind {
            MESSAGE_DONE => return Ok(true),
            MESSAGE_ERROR => {
                let code = number32(message, 0).map_or(0, |code| (code as i32).saturating_neg());
                return Err(Error::from_raw_os_error(code));
            }
            SOCK_DIAG_BY_FAMILY => add_connection(message, side, total).ok_or_else(broken)?,
            _ => {}
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn add_connection(message: &[u8], side: Side, total: &mut Waiting) -> Option<()> {
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
    let mut attributes = message.get(72..)?;
    while attributes.len() >= 4 {
        let length = usize::from(number16(attributes, 0)?).max(4);
        if number16(attributes, 2)? == INFO {
            let unsent = number32(attributes.get(4..length)?, NOT_SENT_AT).unwrap_or(0);
            total.unsent_bytes += u64::from(unsent);
            total.sending += u64::from(unsent > 0);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(())
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
