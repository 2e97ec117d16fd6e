//! The fork mode: a call that returns twice, as the original's `setup_container` did. The child
//! is a copy of the caller with all its memory, so this is no security boundary; it is for
//! callers who isolate their own code. One clone and one setns.

use crate::cgroup::Group;
use crate::floor::Floor;
use crate::network::Attachments;
use crate::outcome::End;
use crate::packet::{packet_pair, receive_with_fds};
use crate::plan::step_error;
use crate::template::Inner;
use crate::{Error, ErrorKind, Result, Template};
use leanbox_launcher::wire::{Ask, Kind, Report, Request, message_of};
use leanbox_sys::fork::fork_into;
use leanbox_sys::process::{self, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A template's cached namespaces, kept by a process that only sleeps, already pivoted into the
/// root where there is one, and the group that forked children join.
#[derive(Debug)]
pub(crate) struct Holder {
    process: OwnedFd,
    namespaces: u64,
    group: Group,
    /// Its closing ends the process.
    _socket: OwnedFd,
    /// As many processes as groups are joined one after the other.
    _asleep: Vec<OwnedFd>,
    /// The numbers of the group's files: no allocation in the child.
    limiting: Vec<i32>,
}

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The caller, with its child.
    Parent(ForkedChild),
    /// The child, inside.
    Child(Inside),
}

/// The child's side of a fork.
#[derive(Debug)]
pub struct Inside(());

impl Inside {
    /// Ends the child at once, without the destructors and buffers it has copies of (_exit(2)).
    #[inline(always)]
    pub fn exit(self, code: i32) -> ! {
        process::exit(code)
    }
}

/// A forked child: a child process of the caller, with SIGCHLD at its end.
#[derive(Debug)]
pub struct ForkedChild {
    pid: i32,
}

impl ForkedChild {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A pidfd of it, for event loops (pidfd_open(2)).
    ///
    /// # Errors
    /// No descriptor is left, or somebody else has waited for it already.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        let wrap = |errno| Error::syscall(format!("pidfd_open({})", self.pid), errno);
        let pid = rustix::process::Pid::from_raw(self.pid).ok_or_else(|| wrap(Errno::SRCH))?;
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(wrap)
    }

    /// Waits for its end (wait4(2)).
    ///
    /// # Errors
    /// Somebody else has waited for it already.
    pub fn wait(self) -> Result<End> {
        process::wait(self.pid, 0)
            .map(|(_, status)| End::from_status(status))
            .map_err(|errno| Error::syscall("wait4", Errno::from_raw_os_error(errno.0)))
    }
}

impl Holder {
    pub(crate) fn make(inner: &Inner) -> Result<Self> {
        if inner.plan.holder.is_empty() {
            return Err(Error::invalid("a writable root or a terminal cannot be forked into"));
        }
        if !matches!(inner.attachments, Attachments::Nothing) {
            return Err(Error::invalid("fork mode: network none or host, not join or nat"));
        }
        let group = inner.group("fork")?;
        let (process, socket) = ask_for_sleeper(inner, Ask::Hold, &[])?;
        // Joining a set of groups in which nobody is makes that set anew in the kernel, and so
        // for each hierarchy on the way. With somebody asleep in each, it is only looked up.
        let limiting = group.limiting_fds();
        let asleep = (1..=limiting.len())
            .map(|count| ask_for_sleeper(inner, Ask::Keep, &limiting[..count]).map(|(_, s)| s))
            .collect::<Result<_>>()?;
        let namespaces =
            inner.plan.namespaces & (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET);
        let limiting = limiting.iter().map(AsRawFd::as_raw_fd).collect();
        Ok(Self { process, namespaces, group, _socket: socket, _asleep: asleep, limiting })
    }

    fn inside(&self) -> leanbox_sys::fork::Inside<'_> {
        leanbox_sys::fork::Inside {
            group: self.group.into_dir().map(|dir| dir.as_raw_fd()),
            tasks: &self.limiting,
            process: self.process.as_raw_fd(),
            namespaces: self.namespaces,
        }
    }
}

/// Has the keeper make a process that sleeps until the socket that is returned closes.
fn ask_for_sleeper(
    inner: &Inner,
    ask: Ask,
    groups: &[BorrowedFd<'_>],
) -> Result<(OwnedFd, OwnedFd)> {
    let (socket, theirs) = packet_pair()?;
    let fds: Vec<BorrowedFd<'_>> = [theirs.as_fd()].into_iter().chain(groups.to_vec()).collect();
    inner.keeper.send(Request { ask: ask as u32, ..Request::default() }, &fds)?;
    drop(theirs);
    let answer = inner.keeper.answer(0)?;
    let fail = |step, errno| step_error(&inner.plan, step, errno, true).during("fork mode");
    let process = answer.fd.ok_or_else(|| fail(answer.reply.step, answer.reply.errno))?;
    let mut bytes = [0; size_of::<Report>()];
    let (length, _) = receive_with_fds(&socket, &mut bytes)
        .map_err(|errno| Error::syscall("recvmsg(holder)", errno))?;
    let report = message_of::<Report>(&bytes[..length])
        .ok_or_else(|| Error::new(ErrorKind::Gone, "the namespaces' process died"))?;
    if report.kind != Kind::Ready as u32 {
        return Err(fail(report.step, report.errno));
    }
    Ok((process, socket))
}

impl Template {
    /// Forks the caller into the template's cached namespaces and group; returns twice. All
    /// children of a template share these namespaces and the group's limits.
    ///
    /// The child enters before its side of the call returns, and only while the template lives.
    /// Keep the template until the child has said that it is inside (or has ended): one that comes
    /// too late ends with 125, as one that cannot enter.
    ///
    /// # Safety
    /// As after any fork(2): if the caller has other threads, the child may only use what is
    /// safe in a signal handler (signal-safety(7)). This library makes one thread, with the first
    /// container that is spawned with a timeout, has a CPU time or a grace, or is told to stop. The child has all of the caller's memory and
    /// descriptors.
    ///
    /// # Errors
    /// In the parent: the namespaces or the clone failed. A child that cannot enter ends
    /// with 125.
    #[allow(unsafe_code, reason = "a call that returns twice cannot be safe")]
    pub unsafe fn fork(&self) -> Result<Forked> {
        let holder = self.inner.holder()?;
        // SAFETY: the caller answers for what the child does.
        let pid = unsafe { fork_into(&holder.inside()) }
            .map_err(|errno| Error::syscall("clone3", Errno::from_raw_os_error(errno.0)))?;
        if pid > 0 {
            return Ok(Forked::Parent(ForkedChild { pid }));
        }
        Ok(Forked::Child(Inside(())))
    }

    /// Measures [`fork`](Self::fork), child and wait as the small process of the floors does them,
    /// who is of the size of `classic`: for benchmarks.
    ///
    /// # Errors
    /// As for [`fork`](Self::fork).
    #[doc(hidden)]
    pub fn measure_fork(&self, floor: &Floor, count: usize) -> Result<Vec<Duration>> {
        let holder = self.inner.holder()?;
        let tasks = holder.group.limiting_fds();
        let group = holder.group.into_dir();
        let fds: Vec<_> = [holder.process.as_fd()].into_iter().chain(group).chain(tasks).collect();
        floor.measure_fork(count, holder.namespaces, group.is_some(), &fds)
    }

    /// A forked child that exits at once: the original's critical path, for benchmarks.
    ///
    /// # Errors
    /// As for [`fork`](Self::fork).
    #[doc(hidden)]
    #[inline(never)]
    #[allow(unsafe_code, reason = "the child does nothing that could be unsafe")]
    pub fn fork_noop(&self) -> Result<ForkedChild> {
        // SAFETY: the child only ends.
        match unsafe { self.fork() }? {
            Forked::Parent(child) => Ok(child),
            Forked::Child(inside) => inside.exit(0),
        }
    }
}
