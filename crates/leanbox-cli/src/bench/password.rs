//! `-p [PASSWORD]`: asked for once at the terminal, or taken from the command line, out of which it
//! is gone at once, since everybody can read that.
//!
//! The kernel keeps a process's words as they were, so a password among them is handed on in memory
//! to this same program, executed again without it.

use leanbox::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The options, as they stand on a command line.
const NAMES: [&str; 3] = ["-p", "--pwd", "--password"];
/// Longer is no password.
const PASSWORD_MAX_BYTES: usize = 4096;
/// How often an interrupt is looked for.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The options that have to do with passwords.
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// The user on the hosts
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// The password there, for sudo too; without PASSWORD it is asked for
    #[arg(short, long = "pwd", alias = "password", value_name = "PASSWORD", num_args = 0..=1)]
    password: Option<Option<String>>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password")]
    password_stdin: bool,
}

impl Login {
    /// The password, if one is given. Executes this program again where it stands in its words.
    ///
    /// # Errors
    /// There is no terminal to ask at, or no password was typed.
    pub(crate) fn password(&self) -> Result<Option<String>> {
        let password = match &self.password {
            Some(Some(password)) => return Err(again(password)),
            Some(None) => ask()?,
            None if self.password_stdin => of_stdin()?,
            None => return Ok(None),
        };
        if password.is_empty() || password.contains(['\n', '\r', '\0']) {
            return Err(Error::invalid("a password is one line that is not empty"));
        }
        Ok(Some(password))
    }
}

/// Returns only where it fails.
fn again(password: &str) -> Error {
    crate::tell(
        "leanbox: -p PASSWORD: your shell's history keeps it, and others may have seen it; \
         -p alone asks for it",
    );
    let memory = match in_memory(password) {
        Ok(file) => file,
        Err(error) => return error,
    };
    let words: Vec<OsString> = std::env::args_os().collect();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = words.first() {
        command.arg0(name);
    }
    command.args(without(&words[1.min(words.len())..], password));
    command.arg("--password-stdin").stdin(memory);
    Error::io("/proc/self/exe", &command.exec())
}

fn in_memory(password: &str) -> Result<File> {
    let fd = memfd_create("leanbox", MemfdFlags::CLOEXEC)
        .map_err(|errno| Error::syscall("memfd_create", errno))?;
    let mut file = File::from(fd);
    file.write_all(password.as_bytes())
        .and_then(|()| file.rewind())
        .map_err(|error| Error::io("memfd", &error))?;
    Ok(file)
}

/// The words without the password and its option.
fn without(words: &[OsString], password: &str) -> Vec<OsString> {
    let is_joined = |word: &OsStr| {
        NAMES.iter().any(|name| {
            let rest = word.as_bytes().strip_prefix(name.as_bytes());
            let rest = rest.map(|rest| rest.strip_prefix(b"=").unwrap_or(rest));
            rest == Some(password.as_bytes())
        })
    };
    let mut kept = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let is_option = NAMES.iter().any(|name| word == name);
        if is_option && words.next_if(|next| *next == password).is_some() {
            continue;
        }
        if is_option || !is_joined(word) {
            kept.push(word.clone());
        }
    }
    kept
}

/// All of standard input, which is empty from then on: what is begun later does not get it.
fn of_stdin() -> Result<String> {
    let wrap = |error: std::io::Error| Error::io("--password-stdin", &error);
    let mut text = String::new();
    std::io::stdin().take(PASSWORD_MAX_BYTES as u64).read_to_string(&mut text).map_err(wrap)?;
    let empty = File::open("/dev/null").map_err(wrap)?;
    rustix::stdio::dup2_stdin(&empty)
        .map_err(|errno| Error::syscall("dup2(standard input)", errno))?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_string())
}

/// A line from the terminal, unseen.
fn ask() -> Result<String> {
    let wrap = |error: std::io::Error| {
        Error::io("/dev/tty", &error).remedy("-p asks at a terminal, and there is none")
    };
    let open = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = open.map_err(wrap)?;
    super::original::heed_interrupts()?;
    let quiet = Quiet::make(&terminal)?;
    (&terminal).write_all(b"password: ").map_err(wrap)?;
    let line = line(&terminal);
    drop(quiet);
    let _ = (&terminal).write_all(b"\n");
    line
}

fn line(mut terminal: &File) -> Result<String> {
    let mut bytes = Vec::new();
    loop {
        let mut ready = [PollFd::new(&terminal, PollFlags::IN)];
        let come = matches!(poll(&mut ready, Some(&LOOK)), Ok(count) if count > 0);
        if leanbox_bench::interrupted() {
            return Err(Error::invalid("interrupted"));
        }
        let mut byte = [0];
        if !come {
            continue;
        }
        let count = terminal.read(&mut byte).map_err(|error| Error::io("/dev/tty", &error))?;
        if count == 0 || byte[0] == b'\n' || bytes.len() >= PASSWORD_MAX_BYTES {
            return String::from_utf8(bytes).map_err(|_| Error::invalid("-p: not UTF-8"));
        }
        bytes.push(byte[0]);
    }
}

/// A terminal that shows nothing of what is typed, until this goes.
struct Quiet {
    terminal: OwnedFd,
    before: Termios,
}

impl Quiet {
    fn make(terminal: &File) -> Result<Self> {
        let wrap = |errno| Error::syscall("tcsetattr(/dev/tty)", errno);
        let terminal: OwnedFd =
            terminal.try_clone().map_err(|error| Error::io("/dev/tty", &error))?.into();
        let before = tcgetattr(&terminal).map_err(wrap)?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &now).map_err(wrap)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_out_of_the_words_however_it_is_written() {
        let kept = |text: &str| {
            let words: Vec<OsString> = text.split(' ').map(Into::into).collect();
            without(&words, "word").join(OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(kept("bench cluster -p word -f word"), "bench cluster -f word");
        for text in ["-f x -pword", "-f x -p=word", "-f x --pwd word", "-f x --pwd=word"] {
            assert_eq!(kept(text), "-f x", "{text}");
        }
    }
}
