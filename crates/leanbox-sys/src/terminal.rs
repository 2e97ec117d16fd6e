//! Terminals: pairs of a pty(7), and what a session has to do with one (ioctl_tty(2)).

use crate::errno::Errno;
use crate::fd::{self, ioctl};
use crate::{Fd, Result};
use core::ffi::CStr;

/// A new pair of the devpts instance whose `ptmx` is named: master, slave.
pub fn new_pair(ptmx: &CStr) -> Result<(Fd, Fd)> {
    let master = fd::open(ptmx, fd::O_RDWR | fd::O_NOCTTY | fd::O_CLOEXEC)?;
    slave_of(master).map(|slave| (master, slave)).inspect_err(|_: &Errno| fd::close(master))
}

fn slave_of(master: Fd) -> Result<Fd> {
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTPEER: usize = 0x5441;
    let unlocked = 0i32;
    // SAFETY: the argument is a pointer to an int.
    unsafe { ioctl(master, TIOCSPTLCK, &raw const unlocked as usize) }?;
    let flags = fd::O_RDWR | fd::O_NOCTTY | fd::O_CLOEXEC;
    // SAFETY: the argument is a number: flags of open(2).
    unsafe { ioctl(master, TIOCGPTPEER, flags as usize) }.map(|slave| slave as Fd)
}

/// Makes a terminal that of the caller's session, which has none and which the caller leads.
pub fn make_controlling(terminal: Fd) -> Result<()> {
    const TIOCSCTTY: usize = 0x540e;
    // SAFETY: the argument is a number: nobody else's terminal is taken away.
    unsafe { ioctl(terminal, TIOCSCTTY, 0) }.map(drop)
}
