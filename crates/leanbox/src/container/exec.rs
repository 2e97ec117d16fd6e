//! Whether a program was executed, and why not.

use super::capture::timespec;
use crate::{Error, ErrorKind, Result};
use leanbox_launcher::wire::Step;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// Sleeps until the pipe is closed or has a word in it, the process of the pidfd has ended, or
/// the time is up. What there is of the pipe, and whether the process has ended.
pub(crate) fn closed_or_ended(
    pipe: &OwnedFd,
    pidfd: BorrowedFd<'_>,
    sleep: Duration,
) -> Result<(PollFlags, bool)> {
    let pidfd = PollFd::from_borrowed_fd(pidfd, PollFlags::IN);
    let mut fds = [PollFd::new(pipe, PollFlags::IN), pidfd];
    match poll(&mut fds, Some(&timespec(sleep))) {
        Ok(_) => Ok((fds[0].revents(), !fds[1].revents().is_empty())),
        Err(Errno::INTR) => Ok((PollFlags::empty(), false)),
        Err(errno) => Err(Error::syscall("poll(exec)", errno)),
    }
}

/// The step that a container could not do and why, if it said so before it closed the pipe.
pub(crate) fn word_of(pipe: OwnedFd) -> Option<(u32, i32)> {
    let mut word = [0; 8];
    // One read of what is there: the rest of a word might never come.
    let length = File::from(pipe).read(&mut word).ok()?;
    let word = u64::from_ne_bytes(word);
    let step = u32::try_from(word >> 32).unwrap_or(Step::EXEC);
    let errno = i32::try_from(word & 0xffff).unwrap_or(0);
    (length == size_of_val(&word)).then_some((step, errno))
}

/// Why a program did not start, with a shell's words for it.
pub(crate) fn exec_error(program: &str, step: u32, errno: i32) -> Error {
    let errno = crate::error::told_errno(errno);
    match step {
        Step::EXEC => {
            let error = Error::syscall(format!("exec {program:?}"), errno);
            match errno {
                Errno::NOENT | Errno::NOTDIR => error.remedy(
                    "no such program in the root file system (or its interpreter is missing)",
                ),
                Errno::ACCESS => error
                    .with_kind(ErrorKind::NotExecutable)
                    .remedy("it is there, but not executable for this user"),
                _ => error
                    .with_kind(ErrorKind::NotExecutable)
                    .remedy("not a program for this machine, or a script without #!"),
            }
        }
        Step::WORKDIR => Error::syscall("chdir(working directory)", errno)
            .with_kind(ErrorKind::NotFound)
            .remedy("name a folder of the root file system that this user may enter"),
        Step::IDENTITY => Error::syscall("user and groups", errno),
        Step::LIMITS => Error::syscall("prlimit(ulimits)", errno),
        Step::DESCRIPTOR => Error::syscall("placing a descriptor", errno),
        _ => Error::syscall("receiving the start", errno),
    }
}
