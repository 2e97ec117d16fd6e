//! A running container, as `std::process::Child` is a running process: wait, kill, streams,
//! and at the end the outcome.

pub(crate) mod capture;
pub(crate) mod exec;
pub(crate) mod files;
mod pause;

use self::capture::{Capture, split, wait_readable};
use self::exec::{closed_or_ended, exec_error, word_of};
use crate::deadline::Deadline;
use crate::outcome::{End, Outcome};
use crate::slot::Slot;
use crate::stdio::Ours;
use crate::told::Told;
use crate::{Error, ErrorKind, Pool, Process, Result};
use leanbox_launcher::wire::Go;
use rustix::event::PollFlags;
use rustix::process::{Signal, pidfd_send_signal};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a start may take until the program is executed: with the least CPU limit some seconds.
const EXEC_PATIENCE: Duration = Duration::from_secs(60);
/// The longest sleep between two looks at a container that says nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Of a raw wait status (wait(2)): by SIGKILL.
const KILLED: i32 = 9;

/// When it began, and until when it may run.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) began: Instant,
    pub(crate) start: Duration,
    pub(crate) deadline: Option<Instant>,
    /// The clock just before the start, where the container tells when it woke.
    pub(crate) stamp_ns: Option<u64>,
}

/// A running container. Dropping it kills it: what nobody waits for must not run on.
#[derive(Debug)]
pub struct Container {
    pool: Pool,
    slot: Option<Slot>,
    started: Started,
    program: Arc<str>,
    /// Where it may be that nobody waits.
    deadline: Option<Deadline>,
    captures: [Option<Capture>; 2],
    /// Who opens files inside for others.
    ushers: Mutex<Vec<OwnedFd>>,
    /// The write end of its standard input, where piped.
    pub stdin: Option<File>,
    /// The read end of its standard output, where piped.
    pub stdout: Option<File>,
    /// The read end of its standard error, where piped.
    pub stderr: Option<File>,
}

impl Container {
    pub(crate) fn new(
        pool: Pool,
        slot: Slot,
        ours: [Option<Ours>; 3],
        started: Started,
        program: &Arc<str>,
    ) -> Self {
        let ([stdin, stdout, stderr], captures) = split(ours);
        Self {
            pool,
            slot: Some(slot),
            started,
            program: Arc::clone(program),
            deadline: None,
            captures,
            ushers: Mutex::default(),
            stdin,
            stdout,
            stderr,
        }
    }

    /// Hands the start to its slot.
    pub(crate) fn start(&mut self, go: Go, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let Some(slot) = &mut self.slot else { return Ok(()) };
        let mailboxes = &self.pool.template().inner.mailboxes;
        let stamp = self.started.stamp_ns.is_some();
        match slot.start(mailboxes, go, message, fds, stamp) {
            // All that were ready in shared namespaces have died at once: there are new ones.
            Err(error) if error.kind() == ErrorKind::Gone && slot.ground.shared => {
                self.pool.discard_dead();
                let dead = std::mem::replace(slot, self.pool.take(Instant::now())?);
                self.pool.discard(dead);
                slot.start(mailboxes, go, message, fds, stamp)?;
            }
            started => started?,
        }
        self.started.start = self.started.began.elapsed();
        Ok(())
    }

    /// Waits until the program was executed: its end of the pipe is closed then. Whoever holds it
    /// open (a container that was frozen, a launcher that was taken over) holds nobody up.
    pub(crate) fn confirm_exec(self, tell: OwnedFd) -> Result<Self> {
        let patience = self.started.began + EXEC_PATIENCE;
        let until = self.started.deadline.map_or(patience, |deadline| deadline.min(patience));
        let Some(slot) = &self.slot else { return Ok(self) };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (mut told, ended) = closed_or_ended(&tell, slot.container(), left)?;
            if ended && told.is_empty() {
                // What was written before the end is there by now.
                (told, _) = closed_or_ended(&tell, slot.container(), Duration::ZERO)?;
            }
            if told.contains(PollFlags::IN) {
                return match word_of(tell) {
                    Some((step, errno)) => Err(exec_error(&self.program, step, errno)),
                    None => Ok(self),
                };
            }
            if ended || !told.is_empty() {
                return Ok(self);
            }
            if left.is_zero() {
                break;
            }
        }
        if self.started.deadline == Some(until) {
            // Killed in a moment; its outcome says why.
            return Ok(self);
        }
        let text = format!("exec {:?}: nothing happened for {EXEC_PATIENCE:?}", self.program);
        Err(Error::new(ErrorKind::Gone, text)
            .remedy("is its CPU limit too small, or is it frozen?"))
    }

    /// From now on it ends in time whether it is waited for or not.
    pub(crate) fn end_at_deadline(mut self) -> Result<Self> {
        if let (Some(due), Some(slot)) = (self.started.deadline, &self.slot) {
            self.deadline = Some(Deadline::set(due, slot)?);
        }
        Ok(self)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The program could not be executed (where [`status`](crate::Command::status) started it), or
    /// the kernel's counters could not be read.
    pub fn wait(mut self) -> Result<Outcome> {
        let simple = self.started.deadline.is_none() && self.captures.iter().all(Option::is_none);
        self.stdin = None;
        let told = match &self.slot {
            Some(slot) if simple => (slot.await_end(), false),
            _ => self.pump(None)?.unwrap_or((Told::Gone, false)),
        };
        self.finish(told)
    }

    /// Waits for the end, but not longer than `timeout`; `None` if it runs on.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Outcome>> {
        match self.pump(Some(Instant::now() + timeout))? {
            Some(told) => self.finish(told).map(Some),
            None => Ok(None),
        }
    }

    /// Kills the program with all that it started. The outcome says SIGKILL.
    pub fn kill(&self) {
        if let Some(slot) = &self.slot {
            slot.kill_now();
        }
    }

    /// Sends a signal to the program (pidfd_send_signal(2)).
    ///
    /// # Errors
    /// No such signal, or the program has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let named = Signal::from_named_raw(signal)
            .ok_or_else(|| Error::invalid(format!("{signal}: no such signal")))?;
        let Some(slot) = &self.slot else { return Ok(()) };
        pidfd_send_signal(slot.container(), named)
            .map_err(|errno| Error::syscall(format!("pidfd_send_signal({signal})"), errno))
    }

    /// Starts a second program inside: in the container's namespaces, group, root, limits and
    /// filter, as its user or another ([`Command::user`](crate::Command::user)), with its
    /// environment and working directory unless the command has its own. It is brought in from
    /// outside, so that nothing inside has a part in it, and ends with the container at the
    /// latest; a container that ends by itself does not wait for it. Streams are inherited unless
    /// set. The container's limits hold for both together: for a moment it needs room for two
    /// more processes. A timeout of the command holds while the process is waited for.
    ///
    /// # Errors
    /// `Gone` if the container has ended, `Busy` while it is paused or if nothing happens in it
    /// for ten seconds, `Exhausted` at its limit of processes, `Unsupported` with policy shared;
    /// else as for [`Command::spawn`](crate::Command::spawn).
    pub fn exec(&self, command: &mut crate::Command) -> Result<Process> {
        let slot = self.running("exec")?;
        command.exec_in(&self.pool, slot).map_err(|error| error.during("exec"))
    }

    /// Sends a signal to all processes inside, as kill(2) with -1 would from there; what is forked
    /// meanwhile may be missed. To end all, there is [`kill`](Self::kill).
    ///
    /// # Errors
    /// No such signal, or `Gone` if the container has ended.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        let named = Signal::from_named_raw(signal)
            .ok_or_else(|| Error::invalid(format!("{signal}: no such signal")))?;
        let slot = self.running("signal")?;
        let launcher = Some(slot.launcher()).filter(|_| !slot.ground.shared);
        slot.group.members().signal(named, launcher);
        Ok(())
    }

    /// Its pidfd, for event loops: readable when the program has ended (pidfd_open(2)).
    ///
    /// # Panics
    /// Never before [`wait_timeout`](Self::wait_timeout) has given an outcome.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.slot.as_ref().expect("the outcome was taken already").container()
    }

    /// Reads captured streams until the end is told, the time is up, or `until`.
    fn pump(&mut self, until: Option<Instant>) -> Result<Option<(Told, bool)>> {
        loop {
            let Some(slot) = &self.slot else { return Ok(Some((Told::Gone, false))) };
            let now = Instant::now();
            let deadline = self.started.deadline;
            if deadline.is_some_and(|deadline| now >= deadline) {
                if let Some(told) = slot.try_end() {
                    return Ok(Some((told, false)));
                }
                slot.kill_now();
                return Ok(Some((slot.await_end(), true)));
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(None);
            }
            let next = [deadline, until].into_iter().flatten().min();
            let sleep = next.map_or(LOOK, |next| (next - now).min(LOOK));
            let ready = wait_readable(slot.ending(), &self.captures, sleep)?;
            for (capture, ready) in self.captures.iter_mut().zip(&ready[1..]) {
                if let Some(capture) = capture.as_mut().filter(|_| *ready) {
                    capture.open = capture.read_some();
                }
            }
            if ready[0] {
                if let Some(told) = slot.try_end() {
                    return Ok(Some((told, false)));
                }
            } else if !ready[1] && !ready[2] && crate::keeper::has_ended(slot.container(), 0) {
                return Ok(Some((slot.try_end().unwrap_or(Told::Gone), false)));
            }
        }
    }

    fn finish(&mut self, (told, timed_out): (Told, bool)) -> Result<Outcome> {
        let timed_out = self.deadline.take().is_some_and(Deadline::call_off) || timed_out;
        let mut slot =
            self.slot.take().ok_or_else(|| Error::invalid("the outcome was taken already"))?;
        let was_killed = !matches!(told, Told::Ended(status) if status & 0x7f != KILLED);
        let usage = slot.group.since(&slot.baseline, was_killed).map(|(used, now)| {
            slot.baseline = now;
            used
        });
        // Killed by the kernel or from outside while it was paused: the launcher is frozen yet.
        let thawed = slot.group.freezer().map_or(Ok(()), |freezer| freezer.thaw());
        let wall = self.started.began.elapsed();
        self.end_files();
        let first_instruction = self.started.stamp_ns.map(|before| {
            let begun_ns = self.pool.template().inner.mailboxes.begun_ns(slot.ground.place);
            Duration::from_nanos(begun_ns.saturating_sub(before))
        });
        let status = match told {
            Told::Ended(status) => Ok(status),
            Told::Gone => Ok(Signal::KILL.as_raw()),
            Told::Failed(step, errno) => Err(exec_error(&self.program, step, errno)),
        };
        let captured = self.captures.iter().any(Option::is_some);
        if captured && !self.serves_again(&slot) {
            // Whoever else holds the streams ends now, so that reading them ends too.
            slot.kill_now();
        }
        let [stdout, stderr] = self
            .captures
            .each_mut()
            .map(|capture| capture.take().map(Capture::drain).unwrap_or_default());
        if matches!(told, Told::Gone) || timed_out || thawed.is_err() {
            slot.kill_now();
            self.pool.discard(slot);
        } else {
            self.pool.give_back(slot);
        }
        let (status, usage) = (status?, usage?);
        Ok(Outcome {
            end: End::from_status(status),
            timed_out,
            oom_killed: usage.killed_by_own_limit(),
            cpu: usage.cpu,
            memory_peak_bytes: usage.memory_peak_bytes,
            start: self.started.start,
            first_instruction,
            wall,
            stdout,
            stderr,
        })
    }

    /// Whether a slot might: not with processes left behind.
    fn serves_again(&self, slot: &Slot) -> bool {
        let alone = || slot.group.processes().is_ok_and(|count| count == 1);
        self.pool.policy() == crate::Policy::Reuse && alone()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Before its group may serve another.
        self.deadline = None;
        self.end_files();
        if let Some(slot) = self.slot.take() {
            slot.kill_now();
            self.pool.discard(slot);
        }
    }
}
