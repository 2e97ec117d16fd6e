//! The kernel's error number, and the one place where a raw result becomes one.

use crate::arch;

/// An error number of the kernel (errno(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const PERM: Self = Self(1);
    /// No such file or directory.
    pub const NOENT: Self = Self(2);
    /// No such process.
    pub const SRCH: Self = Self(3);
    /// Interrupted system call.
    pub const INTR: Self = Self(4);
    /// No child processes.
    pub const CHILD: Self = Self(10);
    /// Nothing there just now.
    pub const AGAIN: Self = Self(11);
    /// Permission denied.
    pub const ACCES: Self = Self(13);
    /// Device or resource busy.
    pub const BUSY: Self = Self(16);
    /// File exists.
    pub const EXIST: Self = Self(17);
    /// On another mount.
    pub const XDEV: Self = Self(18);
    /// Not a directory.
    pub const NOTDIR: Self = Self(20);
    /// Invalid argument.
    pub const INVAL: Self = Self(22);
    /// Too many open files.
    pub const MFILE: Self = Self(24);
    /// Function not implemented.
    pub const NOSYS: Self = Self(38);
}

/// The result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

/// One call; `-errno` becomes `Err`.
///
/// # Safety
/// As for the architecture's `syscall`: the arguments must be what the call demands.
#[inline(always)]
pub(crate) unsafe fn call<const N: usize>(number: usize, args: [usize; N]) -> Result<usize> {
    let mut six = [0; 6];
    six[..N].copy_from_slice(&args);
    // SAFETY: passed on to the caller.
    let result = unsafe { arch::syscall(number, six) };
    if result < 0 { Err(Errno(-(result as i32))) } else { Ok(result as usize) }
}

/// Sign-extends a descriptor or another C `int` into a register.
#[inline(always)]
pub(crate) fn int(value: i32) -> usize {
    value as isize as usize
}
