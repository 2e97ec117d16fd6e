//! Raw Linux system calls by inline assembly: all that the launcher, the keeper and forked
//! children need. No std, no allocator, no dependency; x86_64 and aarch64.
//!
//! What comes in: plain numbers, [`core::ffi::CStr`]s, descriptors as [`Fd`]. What goes out:
//! `Result<_, Errno>`. Nothing here allocates, locks, formats or panics, so all of it may be
//! called between `clone` and `execve`. It never interprets an argument: what a call means is
//! in its manual page, section 2.
#![no_std]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers, pointers and errors travel through registers"
)]

#[cfg(target_arch = "aarch64")]
#[path = "arch/aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "arch/x86_64.rs"]
mod arch;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("leanbox runs on x86_64 and aarch64");

mod errno;
pub mod fd;
pub mod fork;
pub mod landlock;
pub mod memory;
pub mod mount;
pub mod process;
pub mod seccomp;
pub mod socket;
pub mod spawn;
pub mod sync;
pub mod terminal;
pub mod trace;

pub use errno::{Errno, Result};

/// An open descriptor, by number. The launcher owns its few descriptors by construction;
/// where ownership matters, the library uses `OwnedFd` and passes numbers down here.
pub type Fd = i32;

/// "The current directory" for the `*at` calls (openat(2)).
pub const AT_FDCWD: Fd = -100;
/// Act on the descriptor itself (openat(2)).
pub const AT_EMPTY_PATH: u32 = 0x1000;
