//! Dumps from the kernel over netlink: a question, then messages of attributes.
//!
//! Layouts are those of Linux' `netlink.h`, which never change. Sees the network namespace of this program only.

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

const REQUEST_AND_DUMP: u16 = 0x301;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const HEADER: usize = 16;
/// The kernel answers at once; what does not come is not waited for.
const PATIENCE_US: i64 = 200_000;

/// Asks for a dump and hands each message of `answer`'s kind, without its header, to `each`, which returns `None` for
/// one that is cut off.
pub fn dump(
    protocol: SockProtocol,
    (question, answer): (u16, u16),
    body: &[u8],
    mut each: impl FnMut(&[u8]) -> Option<()>,
) -> Result<()> {
    let broken = || Error::new(ErrorKind::InvalidData, "a broken message over netlink");
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, PATIENCE_US))?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(u32::try_from(HEADER + body.len()).map_err(|_| broken())?.to_ne_bytes());
    message.extend(question.to_ne_bytes());
    message.extend(REQUEST_AND_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut messages = &buffer[..length];
        if messages.is_empty() {
            return Err(broken());
        }
        while !messages.is_empty() {
            let length = number32(messages, 0).ok_or_else(broken)? as usize;
            let kind = number16(messages, 4).ok_or_else(broken)?;
            let message = messages.get(HEADER..length).ok_or_else(broken)?;
            match kind {
                MESSAGE_DONE => return Ok(()),
                MESSAGE_ERROR => {
                    let code = number32(message, 0).map_or(0, |code| (code as i32).saturating_neg());
                    return Err(Error::from_raw_os_error(code));
                }
                _ if kind == answer => each(message).ok_or_else(broken)?,
                _ => {}
            }
            messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The content of the attribute of that kind.
pub fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let length = usize::from(number16(attributes, 0)?).max(4);
        // The upper bits say how it is nested.
        if number16(attributes, 2)? & 0x3fff == wanted {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

pub fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
