//! The static program inside every leanbox container, as bytes ([`LAUNCHER`]), and the
//! messages it exchanges with the host ([`wire`]).
//!
//! The program is begun in two roles: the keeper makes slots, by clones of itself that become
//! their launchers, and the floor runs the benchmark's floors. It has no std, no allocator, no C
//! library, and is meant to be read in one sitting: `program.rs`, `roles.rs`, `keeper.rs`,
//! `launcher.rs`, `container.rs`. The same sources are compiled twice: as this library, so that
//! clippy, rustdoc and the tests see them, and by the build script as the program.
#![cfg_attr(not(test), no_std)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers, pointers and errors travel through registers"
)]

pub mod wire;

// Run by the program only; here they are checked.
#[allow(dead_code)]
mod blocks;
#[allow(dead_code)]
mod classic;
#[allow(dead_code)]
mod container;
#[allow(dead_code)]
mod crowd;
#[allow(dead_code)]
mod enter;
#[allow(dead_code)]
mod files;
#[allow(dead_code)]
mod floor;
#[allow(dead_code)]
mod frozen;
#[allow(dead_code)]
mod ground;
#[allow(dead_code)]
mod keeper;
#[allow(dead_code)]
mod launcher;
#[allow(dead_code)]
mod making;
#[allow(dead_code)]
mod nets;
#[allow(dead_code)]
mod pages;
#[allow(dead_code)]
mod roles;
#[allow(dead_code)]
mod text;

/// The static program. Its first argument is its role.
pub static LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

/// A static program without a C library that only ends: the benchmark's `exec` workload.
pub static NOTHING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nothing"));

/// The same, but it writes a byte to `/tmp/dirty` first: what a reset has to clean.
pub static DIRTY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dirty"));

/// The same, but it sleeps until it is killed, as many processes as its argument says: the
/// benchmark's live containers.
pub static SLEEP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sleep"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_stay_small() {
        assert!(LAUNCHER.len() <= 64 * 1024, "the launcher has {} bytes", LAUNCHER.len());
        for workload in [NOTHING, DIRTY, SLEEP] {
            assert!(workload.len() <= 4 * 1024, "a workload has {} bytes", workload.len());
        }
    }
}
