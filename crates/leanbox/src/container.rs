//! A running container, as `std::process::Child` is a running process: wait, kill, streams,
//! and at the end the outcome.

mod exec;
mod pause;

use self::exec::{closed_or_ended, exec_error, word_of};
use crate::deadline::Deadline;
use crate::keeper::{Keeper, has_ended};
use crate::outcome::{Captured, End, Outcome};
use crate::slot::{Slot, Told};
use crate::stdio::Ours;
use crate::{Error, ErrorKind, Pool, Result};
use leanbox_launcher::wire::Go;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a captured stream is still read after the end, should something outside the slot
/// hold it open.
const DRAIN: Duration = Duration::from_secs(1);
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
    /// The write end of its standard input, where piped.
    pub stdin: Option<File>,
    /// The read end of its standard output, where piped.
    pub stdout: Option<File>,
    /// The read end of its standard error, where piped.
    pub stderr: Option<File>,
}

/// A captured stream.
#[derive(Debug)]
struct Capture {
    file: File,
    kept: Captured,
    max_bytes: usize,
    /// Its end has not been reached.
    open: bool,
}

impl Container {
    pub(crate) fn new(
        pool: Pool,
        slot: Slot,
        ours: [Option<Ours>; 3],
        started: Started,
        program: &Arc<str>,
    ) -> Self {
        let [stdin, stdout, stderr] = ours.map(|ours| match ours {
            Some(Ours::Pipe(file)) => (Some(file), None),
            Some(Ours::Capture(file, max_bytes)) => {
                (None, Some(Capture { file, kept: Captured::default(), max_bytes, open: true }))
            }
            None => (None, None),
        });
        Self {
            pool,
            slot: Some(slot),
            started,
            program: Arc::clone(program),
            deadline: None,
            captures: [stdout.1, stderr.1],
            stdin: stdin.0,
            stdout: stdout.0,
            stderr: stderr.0,
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
            Some(slot) if simple => (slot.await_end(self.keeper()), false),
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

    /// Its pidfd, for event loops: readable when the program has ended (pidfd_open(2)).
    ///
    /// # Panics
    /// Never before [`wait_timeout`](Self::wait_timeout) has given an outcome.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.slot.as_ref().expect("the outcome was taken already").container()
    }

    fn keeper(&self) -> &Keeper {
        &self.pool.template().inner.keeper
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
                return Ok(Some((slot.await_end(self.keeper()), true)));
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(None);
            }
            let next = [deadline, until].into_iter().flatten().min();
            let sleep = next.map_or(LOOK, |next| (next - now).min(LOOK));
            let ready = wait_readable(slot, &self.captures, sleep)?;
            for (capture, ready) in self.captures.iter_mut().zip(&ready[1..]) {
                if let Some(capture) = capture.as_mut().filter(|_| *ready) {
                    capture.open = capture.read_some()?;
                }
            }
            if ready[0] {
                if let Some(told) = slot.try_end() {
                    return Ok(Some((told, false)));
                }
            } else if !ready[1] && !ready[2] {
                if has_ended(slot.container(), 0) {
                    return Ok(Some((slot.try_end().unwrap_or(Told::Gone), false)));
                }
                slot.end_with(self.keeper());
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
        let first_instruction = self.started.stamp_ns.map(|before| {
            let begun_ns = self.pool.template().inner.mailboxes.begun_ns(slot.ground.place);
            Duration::from_nanos(begun_ns.saturating_sub(before))
        });
        let status = match told {
            Told::Ended(status) => Ok(status),
            Told::Gone => Ok(Signal::KILL.as_raw()),
            Told::Failed(step, errno) => Err(exec_error(&self.program, step, errno)),
            Told::Unknown(errno) => Err(Error::syscall("ioctl(PIDFD_GET_INFO)", errno)),
        };
        let captured = self.captures.iter().any(Option::is_some);
        if captured && !self.serves_again(&slot) {
            // Whoever else holds the streams ends now, so that reading them ends too.
            slot.kill_now();
        }
        let [stdout, stderr] = self
            .captures
            .each_mut()
            .map(|capture| capture.take().map_or_else(|| Ok(Captured::default()), Capture::drain));
        if matches!(told, Told::Gone | Told::Unknown(_)) || timed_out || thawed.is_err() {
            slot.kill_now();
            self.pool.discard(slot);
        } else {
            self.pool.give_back(slot);
        }
        let (status, usage, stdout, stderr) = (status?, usage?, stdout?, stderr?);
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
        if let Some(slot) = self.slot.take() {
            slot.kill_now();
            self.pool.discard(slot);
        }
    }
}

impl Capture {
    /// Reads what is there; false at the end.
    fn read_some(&mut self) -> Result<bool> {
        use std::io::ErrorKind::{Interrupted, WouldBlock};
        let mut buffer = [0; 16 * 1024];
        match self.file.read(&mut buffer) {
            Ok(0) => Ok(false),
            Err(error) if [Interrupted, WouldBlock].contains(&error.kind()) => Ok(true),
            Err(error) => Err(Error::io("read(captured output)", &error)),
            Ok(length) => {
                let room = self.max_bytes.saturating_sub(self.kept.bytes.len()).min(length);
                self.kept.bytes.extend(&buffer[..room]);
                self.kept.truncated |= room < length;
                Ok(true)
            }
        }
    }

    /// Everything that is left, for a bounded time.
    fn drain(mut self) -> Result<Captured> {
        let until = Instant::now() + DRAIN;
        while self.open {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::syscall("poll(captured output)", errno)),
                Ok(0) => self.open = false,
                Ok(_) => self.open = self.read_some()?,
            }
        }
        Ok(self.kept)
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}

fn wait_readable(
    slot: &Slot,
    captures: &[Option<Capture>; 2],
    sleep: Duration,
) -> Result<[bool; 3]> {
    let mut fds = vec![slot.end_event()];
    let open = captures.iter().flatten().filter(|capture| capture.open);
    fds.extend(open.map(|capture| PollFd::from_borrowed_fd(capture.file.as_fd(), PollFlags::IN)));
    match poll(&mut fds, Some(&timespec(sleep))) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::syscall("poll(container)", errno)),
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut next = |open: bool| open && ready.next().unwrap_or(false);
    let is_open = |capture: &Option<Capture>| capture.as_ref().is_some_and(|c| c.open);
    Ok([next(true), next(is_open(&captures[0])), next(is_open(&captures[1]))])
}
