//! How a program in a slot ended: the kernel's word, or on older kernels that of the launcher (of a
//! second program, of who brought it in). What comes out of a slot is hostile input.

use crate::keeper::has_ended;
use crate::probe;
use leanbox_launcher::wire::{Report, message_of};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv};
use std::os::fd::{AsRawFd, BorrowedFd};

/// How the container in a slot ended: the kernel's word, or on older kernels the launcher's.
#[derive(Debug)]
pub(crate) enum Told {
    /// With this raw wait status.
    Ended(i32),
    /// It never began: the step and why.
    Failed(u32, i32),
    /// The launcher is gone.
    Gone,
    /// The kernel did not tell.
    Unknown(Errno),
}

/// Where the end of one program is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) pidfd: BorrowedFd<'a>,
    /// A blocking look at it takes no longer than its own time limit.
    pub(crate) socket: BorrowedFd<'a>,
}

impl<'a> Ending<'a> {
    /// Waits for it; `silence` is called each second that brings no word.
    pub(crate) fn wait(self, silence: impl Fn()) -> Told {
        loop {
            if !probe::kernel_tells_ends() {
                // A blocking look: the socket's own time limit is our patience.
                if let Some(told) = self.reported(RecvFlags::empty()) {
                    return told;
                }
            } else if wait_reaped(self.pidfd) {
                return self.look().unwrap_or(Told::Gone);
            }
            // No word for a while: a frozen or hijacked launcher must not hold the host.
            if has_ended(self.pidfd, 0) {
                return self.look().unwrap_or(Told::Gone);
            }
            silence();
        }
    }

    /// The end, if it is known already.
    pub(crate) fn look(self) -> Option<Told> {
        if !probe::kernel_tells_ends() {
            return self.reported(RecvFlags::DONTWAIT);
        }
        match leanbox_sys::process::exit_status(self.pidfd.as_raw_fd()) {
            Ok(Some(status)) if status == EXEC_FAILED => {
                match self.reported(RecvFlags::DONTWAIT) {
                    Some(failed @ Told::Failed(..)) => Some(failed),
                    // The program's exec has closed the socket: in shared namespaces, and that of
                    // a second program.
                    _ => Some(Told::Ended(status)),
                }
            }
            Ok(Some(status)) => Some(Told::Ended(status)),
            Ok(None) => None,
            // Seen in the moment between its end and that of its number: it is about to be known.
            Err(errno) if errno.0 == Errno::SRCH.raw_os_error() => None,
            Err(errno) => Some(Told::Unknown(Errno::from_raw_os_error(errno.0))),
        }
    }

    /// What came out of the slot: at most that the program could not be executed, or, on older
    /// kernels, how it ended.
    fn reported(self, flags: RecvFlags) -> Option<Told> {
        let mut bytes = [0u8; size_of::<Report>()];
        // CONNRESET is told once, and before what was sent: it ended without having read all that it
        // was given. Whatever else fails once is tried again, too.
        let mut receive = || retry_on_intr(|| recv(self.socket, &mut bytes, flags));
        let came = match receive() {
            Err(errno) if errno != Errno::AGAIN => receive(),
            other => other,
        };
        let length = match came {
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return None,
            Err(_) => 0,
        };
        let Some(report) = message_of::<Report>(&bytes[..length]) else { return Some(Told::Gone) };
        if report.step == 0 {
            Some(Told::Ended(report.status))
        } else {
            Some(Told::Failed(report.step, report.errno))
        }
    }

    /// What to poll for it.
    pub(crate) fn event(self) -> PollFd<'a> {
        if probe::kernel_tells_ends() {
            PollFd::from_borrowed_fd(self.pidfd, REAPED)
        } else {
            PollFd::from_borrowed_fd(self.socket, PollFlags::IN)
        }
    }
}

/// Nothing asked for, so that only POLLHUP wakes: a pidfd's process was reaped, and its exit
/// status is known (pidfd_open(2), Linux 6.9).
const REAPED: PollFlags = PollFlags::empty();
/// The raw wait status of a container that could not execute its program; a program may exit with
/// 127 as well, but sends no report before.
const EXEC_FAILED: i32 = 127 << 8;

/// Sleeps until the process of the pidfd was reaped; false when patience ended first.
fn wait_reaped(pidfd: BorrowedFd<'_>) -> bool {
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(pidfd, REAPED)];
    poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready > 0)
}
