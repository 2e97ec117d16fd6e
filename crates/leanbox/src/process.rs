//! A second program in a running container, as `std::process::Child` is a running process: it ends
//! with its container at the latest.

mod enter;

use crate::container::capture::{Captures, wait_readable};
use crate::container::exec::exec_error;
use crate::outcome::{Captured, End};
use crate::stdio::Ours;
use crate::told::{Ending, Told};
use crate::{Error, ErrorKind, Result};
pub(crate) use enter::Entered;
use rustix::process::{Signal, pidfd_send_signal};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest sleep between two looks at a process that says nothing.
const LOOK: Duration = Duration::from_secs(1);

/// A second program in a container ([`Container::exec`](crate::Container::exec)). Dropping it kills
/// it; what it has started goes on until the container ends.
#[derive(Debug)]
pub struct Process {
    entered: Entered,
    program: Arc<str>,
    began: Instant,
    deadline: Option<Instant>,
    captures: Captures,
    is_over: bool,
    /// The write end of its standard input, where piped.
    pub stdin: Option<File>,
    /// The read end of its standard output, where piped.
    pub stdout: Option<File>,
    /// The read end of its standard error, where piped.
    pub stderr: Option<File>,
}

/// How a second program ended. What it used counts as its container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How the program ended; killed by SIGKILL where the container ended first.
    pub end: End,
    /// It was killed because its time was up.
    pub timed_out: bool,
    /// From the call of `exec` until the end was known.
    pub wall: Duration,
    /// Standard output, where captured.
    pub stdout: Captured,
    /// Standard error, where captured.
    pub stderr: Captured,
}

impl Process {
    pub(crate) fn new(
        entered: Entered,
        ours: [Option<Ours>; 3],
        began: Instant,
        deadline: Option<Instant>,
        program: &Arc<str>,
    ) -> Self {
        let (captures, [stdin, stdout, stderr]) = Captures::of(ours, None);
        let (program, is_over) = (Arc::clone(program), false);
        Self { entered, program, began, deadline, captures, is_over, stdin, stdout, stderr }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// poll(2) failed.
    pub fn wait(mut self) -> Result<Exit> {
        self.stdin = None;
        let told = self.pump(None)?.unwrap_or((Told::Gone, false));
        self.finish(told)
    }

    /// Waits for the end, but not longer than `timeout`; `None` if it runs on.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait), or the end was told already.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Exit>> {
        match self.pump(Some(Instant::now() + timeout))? {
            Some(told) => self.finish(told).map(Some),
            None => Ok(None),
        }
    }

    /// Kills the program; what it has started goes on.
    pub fn kill(&self) {
        let _ = self.signal(Signal::KILL.as_raw());
    }

    /// Sends a signal to the program (pidfd_send_signal(2)).
    ///
    /// # Errors
    /// No such signal, or the program has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let named = Signal::from_named_raw(signal)
            .ok_or_else(|| Error::invalid(format!("{signal}: no such signal")))?;
        pidfd_send_signal(self.ending()?.pidfd, named)
            .map_err(|errno| Error::syscall(format!("pidfd_send_signal({signal})"), errno))
    }

    /// Its pidfd, for event loops: readable when the program has ended (pidfd_open(2)).
    ///
    /// # Panics
    /// Never: whoever has a process has its pidfd.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.entered.ending().expect("it is inside").pidfd
    }

    fn ending(&self) -> Result<Ending<'_>> {
        let gone = || Error::new(ErrorKind::Gone, "the program has ended");
        self.entered.ending().ok_or_else(gone)
    }

    /// Reads captured streams until the end is told, the time is up, or `until`.
    fn pump(&mut self, until: Option<Instant>) -> Result<Option<(Told, bool)>> {
        if self.is_over {
            return Err(Error::invalid("the exit was taken already"));
        }
        let mut timed_out = false;
        loop {
            let now = Instant::now();
            let before = self.entered.told.take();
            let ending = self.ending()?;
            if let Some(told) = before.or_else(|| ending.look()) {
                return Ok(Some((told, timed_out)));
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(None);
            }
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                let _ = pidfd_send_signal(ending.pidfd, Signal::KILL);
                timed_out = true;
            }
            let deadline = self.deadline.filter(|_| !timed_out);
            let next = [deadline, until].into_iter().flatten().min();
            let sleep = next.map_or(LOOK, |next| (next - now).min(LOOK));
            let ready @ [_, stdout, stderr] = wait_readable(ending, &self.captures, sleep)?;
            self.captures.read([stdout, stderr])?;
            let is_silent = !ready.contains(&true);
            if is_silent && crate::keeper::has_ended(self.pidfd(), 0) {
                let told = self.ending()?.look().unwrap_or(Told::Gone);
                return Ok(Some((told, timed_out)));
            }
        }
    }

    fn finish(&mut self, (told, timed_out): (Told, bool)) -> Result<Exit> {
        self.is_over = true;
        let wall = self.began.elapsed();
        let drained = self.captures.drain();
        let status = match told {
            Told::Ended(status) => status,
            Told::Gone => Signal::KILL.as_raw(),
            Told::Failed(step, errno) => return Err(exec_error(&self.program, step, errno)),
            Told::Unknown(errno) => return Err(Error::syscall("ioctl(PIDFD_GET_INFO)", errno)),
        };
        let [stdout, stderr] = drained?;
        Ok(Exit { end: End::from_status(status), timed_out, wall, stdout, stderr })
    }
}

impl Exit {
    /// Whether the program exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.end == End::Exited(0)
    }

    /// The exit code a shell would show: the code, or 128 and the signal.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.end.shell_code()
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}
