//! How processes have ended: of children by waiting, of any by pidfd.

use super::WALL;
use crate::arch::nr;
use crate::errno::{Errno, call, int};
use crate::{Fd, Result};

/// wait4(2), begun again when interrupted: pid and raw status.
#[inline(always)]
pub fn wait(pid: i32, options: i32) -> Result<(i32, i32)> {
    let mut status = 0i32;
    loop {
        let args = [int(pid), &raw mut status as usize, int(options), 0];
        // SAFETY: `status` is valid for writing.
        match unsafe { call(nr::WAIT4, args) } {
            Err(Errno::INTR) => {}
            other => return other.map(|pid| (pid as i32, status)),
        }
    }
}

/// How a child ended that is not waited for yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// How a child of any kind has ended, which it still has to be waited for (waitid(2), `WNOWAIT`);
/// `None` while it lives.
pub fn peek_end(pid: i32) -> Result<Option<End>> {
    const PID: usize = 1;
    /// `WEXITED | WNOHANG | WNOWAIT`.
    const LOOK: i32 = 4 | 1 | 0x0100_0000;
    const CLD_EXITED: i32 = 1;
    // siginfo_t has 128 bytes: si_signo is its first word, si_code its third, si_status its seventh.
    let mut info = [0i32; 32];
    let args = [PID, int(pid), info.as_mut_ptr() as usize, int(LOOK | WALL), 0];
    // SAFETY: the buffer is as long as the structure.
    unsafe { call(nr::WAITID, args) }?;
    Ok(match info {
        [0, ..] => None,
        [_, _, CLD_EXITED, _, _, _, code, ..] => Some(End::Exited(code)),
        [_, _, _, _, _, _, signal, ..] => Some(End::Killed(signal)),
    })
}

/// How the process of a pidfd ended, from the kernel itself (ioctl_pidfd(2), `PIDFD_GET_INFO`
/// with `PIDFD_INFO_EXIT`, Linux 6.15): the raw wait status, or `None` while it is not reaped.
pub fn exit_status(pidfd: Fd) -> Result<Option<i32>> {
    const PIDFD_GET_INFO: usize = 0xc040_ff0b;
    const INFO_EXIT: u64 = 1 << 3;
    /// struct pidfd_info, its first version.
    #[repr(C)]
    struct PidfdInfo {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    let mut info = PidfdInfo { mask: INFO_EXIT, cgroup: 0, ids: [0; 11], exit_code: 0 };
    // SAFETY: the structure is as large as the request says.
    unsafe { crate::fd::ioctl(pidfd, PIDFD_GET_INFO, &raw mut info as usize) }?;
    Ok((info.mask & INFO_EXIT != 0).then_some(info.exit_code))
}
