//! Bringing a second program into a slot: asked of the keeper, told who it is, started when it is
//! inside. The slot may be hostile, starved or on its way out: every wait has a bound, and what was
//! not brought to its program is killed.

use crate::container::exec::{closed_or_ended, exec_error, word_of};
use crate::identity::Identity;
use crate::keeper::has_ended;
use crate::making::slot_sockets;
use crate::packet::{receive_with_sender, send_with_fds};
use crate::plan::step_error;
use crate::slot::Slot;
use crate::template::Inner;
use crate::told::{Ending, Told};
use crate::{Error, ErrorKind, Result, probe};
use leanbox_launcher::wire::{
    Ask, ENTRY_GROUPS_MAX, Entry, Kind, Report, Request, Step, bytes_of, message_of,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the way in and the exec may take together: with the least CPU limit some seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a killed usher may take to be gone before the slot's group alone tells.
const USHER_MS: i64 = 1000;

/// A program that is inside, or on its way to it; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Entered {
    /// Whoever brought it in. Before Linux 6.15 it stays and reports.
    usher: OwnedFd,
    socket: OwnedFd,
    pidfd: Option<OwnedFd>,
    until: Instant,
    /// Its end, where that was told before the exec was known.
    pub(crate) told: Option<Told>,
}

impl Entered {
    /// Brings one in, up to where it waits for its start.
    pub(crate) fn into(
        slot: &Slot,
        inner: &Inner,
        identity: &Identity,
        terminal: bool,
    ) -> Result<Self> {
        let (socket, theirs) = slot_sockets()?;
        let entry = Entry { terminal: terminal.into(), ..entry(identity)? };
        send_with_fds(&socket, bytes_of(&entry), &[])
            .map_err(|errno| Error::syscall("send(entry)", errno))?;
        let mut fds = vec![theirs.as_fd(), slot.launcher()];
        let into = slot.group.into_dir();
        fds.extend(into.into_iter().chain(slot.group.join_fds().iter().map(AsFd::as_fd)));
        let into_group = u32::from(into.is_some());
        let number = inner.number();
        let request = Request { slot: number, into_group, ..slot.ground.request(Ask::Enter) };
        // From now on there may be one more in the group than the launcher's end tells of.
        slot.ground.entered.store(true, Ordering::Relaxed);
        inner.keeper.send(request, &fds)?;
        drop(theirs);
        let answer = inner.keeper.answer(number)?;
        let (step, errno) = (answer.reply.step, answer.reply.errno);
        let usher = answer.fd.ok_or_else(|| entry_error(inner, step, errno))?;
        let until = Instant::now() + PATIENCE;
        let mut entered = Self { usher, socket, pidfd: None, until, told: None };
        entered.pidfd = Some(entered.await_ready(inner)?);
        slot.group.hold_cpuset()?;
        Ok(entered)
    }

    fn await_ready(&self, inner: &Inner) -> Result<OwnedFd> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match poll(&mut fds, Some(&left)) {
                Err(Errno::INTR) => {}
                Ok(0) => return Err(nothing_happened()),
                Ok(_) => break,
                Err(errno) => return Err(Error::syscall("poll(entry)", errno)),
            }
        }
        let mut bytes = [0; size_of::<Report>()];
        let (length, mut fds, _) = receive_with_sender(&self.socket, &mut bytes)
            .map_err(|errno| Error::syscall("recvmsg(entry)", errno))?;
        match (message_of::<Report>(&bytes[..length]), fds.pop()) {
            (Some(Report { kind, .. }), Some(pidfd)) if kind == Kind::Ready as u32 => Ok(pidfd),
            (Some(Report { step, errno, .. }), _) => Err(entry_error(inner, step, errno)),
            (None, _) => Err(killed_on_its_way()),
        }
    }

    /// Hands the start over.
    pub(crate) fn start(self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Self> {
        match send_with_fds(&self.socket, message, fds) {
            Ok(()) => Ok(self),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(killed_on_its_way()),
            Err(errno) => Err(Error::syscall("sendmsg(start)", errno)),
        }
    }

    /// Waits until the program was executed.
    pub(crate) fn confirm_exec(mut self, program: &str, tell: OwnedFd) -> Result<Self> {
        let Some(pidfd) = &self.pidfd else { return Ok(self) };
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            let (mut told, ended) = closed_or_ended(&tell, pidfd.as_fd(), left)?;
            if ended && told.is_empty() {
                (told, _) = closed_or_ended(&tell, pidfd.as_fd(), Duration::ZERO)?;
            }
            if told.contains(PollFlags::IN) {
                return match word_of(tell) {
                    Some((step, errno)) => Err(exec_error(program, step, errno)),
                    None => Ok(self),
                };
            }
            if ended || !told.is_empty() {
                break;
            }
            if left.is_zero() {
                return Err(nothing_happened());
            }
        }
        if has_ended(pidfd, 0) {
            // What it could not become before its start it has said over the socket.
            self.told = self.ending().and_then(Ending::look);
            if let Some(Told::Failed(step, errno)) = self.told {
                return Err(exec_error(program, step, errno));
            }
        }
        if probe::kernel_tells_ends() {
            // The usher has nothing more to do, and is not to be taken for what a run left.
            let _ = has_ended(&self.usher, USHER_MS);
        }
        Ok(self)
    }

    /// Where its end is told, once it is inside.
    pub(crate) fn ending(&self) -> Option<Ending<'_>> {
        let socket = self.socket.as_fd();
        self.pidfd.as_ref().map(|pidfd| Ending { pidfd: pidfd.as_fd(), socket })
    }
}

impl Drop for Entered {
    /// Whoever is not inside yet finds the socket closed, and gets no start.
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        } else {
            let _ = pidfd_send_signal(&self.usher, Signal::KILL);
            let _ = has_ended(&self.usher, USHER_MS);
        }
    }
}

fn entry(identity: &Identity) -> Result<Entry> {
    let Identity { uid, gid, groups, .. } = identity;
    let mut entry = Entry { uid: *uid, gid: *gid, ..Entry::default() };
    let most = || Error::invalid(format!("{} groups: at most {ENTRY_GROUPS_MAX}", groups.len()));
    entry.groups.get_mut(..groups.len()).ok_or_else(most)?.copy_from_slice(groups);
    entry.count = u32::try_from(groups.len()).unwrap_or(0);
    Ok(entry)
}

/// Why it did not come in, in words of what the container is about.
fn entry_error(inner: &Inner, step: u32, errno: i32) -> Error {
    let call = step_error(&inner.plan, step, errno, false);
    match (step, crate::error::told_errno(errno)) {
        (Step::CLONE | Step::PARK, Errno::AGAIN) => {
            call.remedy("the container is at its limit of processes")
        }
        (Step::ENTER, Errno::SRCH) => Error::new(ErrorKind::Gone, "the container has ended"),
        (Step::PARK | Step::JOIN | Step::ENTER, Errno::NOMEM | Errno::NODEV) => {
            Error::new(ErrorKind::Gone, "the container is ending, or at its memory limit")
        }
        _ => call,
    }
}

fn killed_on_its_way() -> Error {
    Error::new(ErrorKind::Gone, "it was killed on its way in")
        .remedy("has the container ended, or is it at its memory limit?")
}

fn nothing_happened() -> Error {
    Error::new(ErrorKind::Busy, format!("nothing happened for {PATIENCE:?}"))
        .remedy("is the container frozen, or its CPU limit too small?")
}
