//! A running container, as `std::process::Child` is a running process: wait, kill, streams,
//! and at the end the outcome.

pub(crate) mod capture;
pub(crate) mod exec;
pub(crate) mod files;
mod limits;
mod network;
mod pause;
mod terminal;

use self::capture::{Captures, wait_readable};
use self::exec::{closed_or_ended, exec_error, word_of};
use crate::deadline::{Deadline, Terms};
use crate::explain::Tracer;
use crate::keeper::{Keeper, has_ended};
use crate::outcome::{Cause, End, Outcome};
use crate::slot::Slot;
use crate::stdio::Ours;
use crate::told::Told;
use crate::{Error, ErrorKind, Pool, Process, Result};
use leanbox_launcher::wire::Go;
use rustix::event::PollFlags;
use rustix::process::{Signal, pidfd_send_signal};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
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
    /// CPU time that it may use.
    pub(crate) cpu: Option<Duration>,
    /// How it is asked to end before it is killed.
    pub(crate) grace: Option<(Signal, Duration)>,
    /// The most it may write to captured streams.
    pub(crate) output_max: Option<u64>,
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
    /// Where it may be that nobody waits, or where not only the clock tells.
    deadline: OnceLock<Deadline>,
    killed: AtomicBool,
    captures: Captures,
    /// Who watches its system calls.
    tracer: Option<Tracer>,
    /// Who opens files inside for others.
    ushers: Mutex<Vec<OwnedFd>>,
    /// The write end of its standard input, where piped.
    pub stdin: Option<File>,
    /// The read end of its standard output, where piped.
    pub stdout: Option<File>,
    /// The read end of its standard error, where piped.
    pub stderr: Option<File>,
    /// The master of its terminal (pty(7)), where its template gives it one: what it prints, and what
    /// it reads. Hostile input, as any output is: a terminal that shows it does what it says. A read
    /// fails with EIO while nobody inside has the terminal open.
    pub terminal: Option<File>,
}

impl Container {
    pub(crate) fn new(
        pool: Pool,
        slot: Slot,
        ours: [Option<Ours>; 3],
        started: Started,
        program: &Arc<str>,
    ) -> Self {
        let (captures, [stdin, stdout, stderr]) = Captures::of(ours, started.output_max);
        Self {
            pool,
            slot: Some(slot),
            started,
            program: Arc::clone(program),
            deadline: OnceLock::new(),
            killed: AtomicBool::new(false),
            captures,
            tracer: None,
            ushers: Mutex::default(),
            stdin,
            stdout,
            stderr,
            terminal: None,
        }
    }

    /// Has its system calls watched from before its start.
    pub(crate) fn explain(&mut self) -> Result<()> {
        let Some(slot) = &self.slot else { return Ok(()) };
        let facts = self.pool.template().inner.facts()?;
        self.tracer = Some(Tracer::begin(slot.container(), facts)?);
        Ok(())
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
    pub(crate) fn end_at_deadline(self) -> Result<Self> {
        let Started { deadline: wall, cpu, grace, .. } = self.started;
        if let (true, Some(slot)) = (wall.is_some() || cpu.is_some(), &self.slot) {
            let _ = self.deadline.set(Deadline::set(Terms { wall, cpu, grace }, slot)?);
        }
        Ok(self)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The program could not be executed (where [`status`](crate::Command::status) started it), or
    /// the kernel's counters could not be read.
    pub fn wait(mut self) -> Result<Outcome> {
        let simple = self.started.deadline.is_none() && self.captures.are_none();
        self.stdin = None;
        let told = match &self.slot {
            Some(slot) if simple => (slot.await_end(self.keeper()), None),
            _ => self.pump(None)?.unwrap_or((Told::Gone, None)),
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

    /// Kills the program with all that it started. The outcome says SIGKILL and
    /// [`Cause::Killed`].
    pub fn kill(&self) {
        if let Some(slot) = &self.slot {
            if !slot.is_dead() {
                self.killed.store(true, Relaxed);
            }
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
    /// for ten seconds, `Exhausted` at its limit of processes;
    /// else as for [`Command::spawn`](crate::Command::spawn).
    pub fn exec(&self, command: &mut crate::Command) -> Result<Process> {
        let slot = self.running("exec")?;
        command.exec_in(&self.pool, slot).map_err(|error| error.during("exec"))
    }

    /// Sends a signal to all processes inside, as kill(2) with -1 would from there; what is forked
    /// meanwhile may be missed. To end all, there is [`kill`](Self::kill).
    ///
    /// # Errors
    /// No such signal; `Gone` if the container has ended, `Unsupported` without resource groups.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        let named = Signal::from_named_raw(signal)
            .ok_or_else(|| Error::invalid(format!("{signal}: no such signal")))?;
        let slot = self.grouped("signal")?;
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

    fn keeper(&self) -> &Keeper {
        &self.pool.template().inner.keeper
    }

    /// Reads captured streams until the end is told, the time is up, or `until`. Why it was killed
    /// here, if it was.
    fn pump(&mut self, until: Option<Instant>) -> Result<Option<(Told, Option<Cause>)>> {
        // With a grace the thread for timeouts does it all.
        let deadline = self.started.deadline.filter(|_| self.started.grace.is_none());
        loop {
            let Some(slot) = &self.slot else { return Ok(Some((Told::Gone, None))) };
            let now = Instant::now();
            let is_late = deadline.is_some_and(|deadline| now >= deadline);
            if is_late || self.captures.are_too_much() {
                let told = slot.try_end();
                let cause = if is_late { Cause::WallTimeout } else { Cause::OutputLimit };
                return Ok(Some(match told {
                    Some(told) => (told, None),
                    None => {
                        slot.kill_now();
                        (slot.await_end(self.keeper()), Some(cause))
                    }
                }));
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(None);
            }
            let next = [deadline, until].into_iter().flatten().min();
            let sleep = next.map_or(LOOK, |next| (next - now).min(LOOK));
            let [ended, stdout, stderr] = wait_readable(slot.ending(), &self.captures, sleep)?;
            self.captures.read([stdout, stderr])?;
            if ended {
                if let Some(told) = slot.try_end() {
                    return Ok(Some((told, None)));
                }
            } else if !stdout && !stderr {
                if has_ended(slot.container(), 0) {
                    return Ok(Some((slot.try_end().unwrap_or(Told::Gone), None)));
                }
                slot.end_with(self.keeper());
            }
        }
    }

    fn finish(&mut self, (told, here): (Told, Option<Cause>)) -> Result<Outcome> {
        let asked = self.deadline.take().and_then(Deadline::call_off).or(here);
        let mut slot =
            self.slot.take().ok_or_else(|| Error::invalid("the outcome was taken already"))?;
        let accounted = slot.group.counts();
        let may_be_killed = !matches!(told, Told::Ended(status) if status & 0x7f != KILLED);
        let usage = slot.group.since(&slot.baseline, may_be_killed).map(|(used, now)| {
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
            Told::Unknown(errno) => Err(Error::syscall("ioctl(PIDFD_GET_INFO)", errno)),
        };
        if !self.captures.are_none() && !self.serves_again(&slot) {
            // Whoever else holds the streams ends now, so that reading them ends too.
            slot.kill_now();
        }
        let drained = self.captures.drain();
        let too_much = self.captures.are_too_much();
        let asked = asked.or(too_much.then_some(Cause::OutputLimit));
        if matches!(told, Told::Gone | Told::Unknown(_)) || asked.is_some() || thawed.is_err() {
            slot.kill_now();
            self.pool.discard(slot);
        } else {
            self.pool.give_back(slot);
        }
        // All that it has left running ends with its slot.
        let explanation = self.tracer.take().map(Tracer::finish);
        let (status, usage, [stdout, stderr]) = (status?, usage?, drained?);
        let (end, oom_killed) = (End::from_status(status), usage.killed_by_own_limit());
        // One that had ended when it was killed has not ended by that.
        let was_killed = end == End::Signaled(KILLED);
        let killed = self.killed.load(Relaxed) && was_killed;
        let warned = self.started.grace.is_some();
        let asked = asked.filter(|cause| !cause.is_timeout() || warned || was_killed);
        let asked = asked.or(killed.then_some(Cause::Killed));
        // What its keeper had open is closed before its slots are killed.
        let orphaned = was_killed && asked.is_none() && !oom_killed && self.keeper().is_gone();
        let cause = Cause::of(end, asked.or(orphaned.then_some(Cause::HostGone)), oom_killed);
        Ok(Outcome {
            end,
            cause,
            timed_out: cause.is_timeout(),
            oom_killed,
            accounted,
            cpu: usage.cpu,
            memory_peak_bytes: usage.memory_peak_bytes,
            start: self.started.start,
            first_instruction,
            wall,
            stdout,
            stderr,
            explanation,
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
        self.deadline = OnceLock::new();
        self.end_files();
        if let Some(slot) = self.slot.take() {
            slot.kill_now();
            self.pool.discard(slot);
        }
    }
}
