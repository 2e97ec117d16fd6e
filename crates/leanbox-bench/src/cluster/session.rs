//! One command that runs, here or on a host: what it says comes out as messages, with their time.

use super::plan::Task;
use super::script;
use super::ssh::Ssh;
use leanbox::{Error, Result};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

/// A longer line is cut in two.
const LINE_MAX_BYTES: usize = 16 << 10;
/// A prompt is shorter.
const PROMPT_MAX_BYTES: usize = 256;

/// Something a session said.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) session: usize,
    pub(super) at: Instant,
    pub(super) event: Event,
}

/// What it was.
#[derive(Debug)]
pub(super) enum Event {
    /// A line of the program.
    Line(String),
    /// The beginning of a line that may be a prompt.
    Open(String),
    /// A line of ssh's.
    Said(String),
    /// The program's output has ended.
    Closed,
    /// ssh's own has.
    Silent,
}

/// A running command, killed with this value.
#[derive(Debug)]
pub(super) struct Session {
    child: Child,
    input: File,
}

impl Session {
    /// Begins it; `index` comes with its messages.
    pub(super) fn start(
        task: &Task,
        ssh: &Ssh,
        index: usize,
        messages: &SyncSender<Message>,
    ) -> Result<Self> {
        let (mut command, terminal) = match &task.target {
            Some(target) => {
                let line = script::command_line(task);
                (ssh.command(target, &task.secrets, true, &line), None)
            }
            None => here(task)?,
        };
        if terminal.is_none() {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| {
            Error::io(&name, &error)
                .remedy("install the OpenSSH client: apt-get install openssh-client")
        })?;
        // The child's ends of a terminal are closed here, or its end would never be seen.
        drop(command);
        let (input, output) = match terminal {
            Some(terminal) => {
                let wrap = |error: std::io::Error| Error::io("terminal", &error);
                (terminal.try_clone().map_err(wrap)?, terminal)
            }
            None => {
                let pipes = child.stdin.take().zip(child.stdout.take());
                let (input, output) =
                    pipes.ok_or_else(|| Error::invalid(format!("{name}: no pipes")))?;
                (File::from(OwnedFd::from(input)), File::from(OwnedFd::from(output)))
            }
        };
        let session = Self { child, input };
        read_on(output, index, messages.clone(), false);
        Ok(session.with_errors(index, messages))
    }

    fn with_errors(mut self, index: usize, messages: &SyncSender<Message>) -> Self {
        match self.child.stderr.take() {
            Some(errors) => {
                read_on(File::from(OwnedFd::from(errors)), index, messages.clone(), true);
            }
            None => read_on(std::io::empty(), index, messages.clone(), true),
        }
        self
    }

    /// Types a line; whoever is gone does not read it, which is seen elsewhere.
    pub(super) fn type_line(&mut self, text: &str) {
        let _ = self.input.write_all(format!("{text}\n").as_bytes());
    }

    /// Types Ctrl-C.
    pub(super) fn interrupt(&mut self) {
        let _ = self.input.write_all(b"\x03");
    }

    /// Ends ssh, and so the connection, and so the terminal and what runs in it.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without ssh, at a terminal of its own, since `sudo` may want one; `setsid -c` makes it that.
fn here(task: &Task) -> Result<(Command, Option<File>)> {
    let wrap = |errno| Error::syscall("openpt", errno);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).map_err(wrap)?;
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).map_err(wrap)?;
    let end = ioctl_tiocgptpeer(&terminal, flags).map_err(wrap)?;
    let clone = || end.try_clone().map_err(|error| Error::io("terminal", &error));
    let mut command = Command::new("setsid");
    command.args(["-c", "/bin/sh", "-c", &script::script(task)]).arg0("setsid");
    command.stdin(clone()?).stdout(clone()?).stderr(clone()?);
    Ok((command, Some(File::from(terminal))))
}

/// Reads to the end in a thread of its own: ends with the process whose output it is.
fn read_on(
    mut file: impl Read + Send + 'static,
    session: usize,
    messages: SyncSender<Message>,
    is_ssh: bool,
) {
    std::thread::spawn(move || {
        let send = |event| messages.send(Message { session, at: Instant::now(), event }).is_ok();
        let line = |text| if is_ssh { Event::Said(text) } else { Event::Line(text) };
        let (mut chunk, mut rest) = ([0; 4096], Vec::new());
        // A terminal whose other end is gone gives EIO.
        while let Ok(count @ 1..) = file.read(&mut chunk) {
            rest.extend_from_slice(&chunk[..count]);
            while let Some(end) = line_end(&rest) {
                let whole: Vec<u8> = rest.drain(..end).collect();
                if !send(line(clean(&whole))) {
                    return;
                }
            }
            if !is_ssh && !rest.is_empty() && rest.len() < PROMPT_MAX_BYTES {
                send(Event::Open(clean(&rest)));
            }
        }
        if !rest.is_empty() {
            send(line(clean(&rest)));
        }
        send(if is_ssh { Event::Silent } else { Event::Closed });
    });
}

/// Behind the end of the first line.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    end.or((bytes.len() >= LINE_MAX_BYTES).then_some(bytes.len()))
}

/// Text without what would move our own terminal's cursor.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}
