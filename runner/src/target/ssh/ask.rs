//! Asks a person for the passphrase of a key, as SSH does: by the program that `SSH_ASKPASS` names, or on the terminal.

use std::{
    fs::File,
    io::{BufRead, BufReader, IsTerminal, Write},
    os::fd::AsFd,
    process::{Command, Stdio},
};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

/// Whether the program answers in place of the terminal; SSH's own rules.
pub fn by_program() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !is_set("SSH_ASKPASS") {
        return false;
    }
    let screen = is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    match std::env::var("SSH_ASKPASS_REQUIRE").as_deref() {
        Ok("force") => true,
        Ok("never") => false,
        Ok("prefer") => screen,
        _ => screen && !std::io::stdin().is_terminal(),
    }
}

/// The answer to the question; `None` when nobody can be asked, or answers.
pub fn passphrase(question: &str) -> Option<String> {
    if by_program() {
        let mut program = Command::new(std::env::var_os("SSH_ASKPASS")?);
        let output = program.arg(question).stdin(Stdio::null()).stderr(Stdio::inherit()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        return output.status.success().then(|| text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    let usual = tcgetattr(terminal.as_fd()).ok()?;
    let mut silent = usual.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    (&terminal).write_all(question.as_bytes()).ok()?;
    tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &silent).ok()?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    // Whatever came, the terminal must show again what is typed.
    tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &usual).ok()?;
    (&terminal).write_all(b"\n").ok();
    (read.ok()? > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
