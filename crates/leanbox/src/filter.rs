//! The system calls a container may make: the default seccomp filter, of the kind Docker ships.
//!
//! In: the capabilities the container will have. Out: the program for seccomp(2), to be loaded
//! as it is. Never: loads it (the launcher does), or decides by anything but architecture,
//! number and integer arguments: a filter cannot follow pointers.
//!
//! It is an allow-list. What is known and dangerous gets EPERM; what this version does not know
//! gets ENOSYS, so that programs fall back as on an older kernel; a foreign architecture (32-bit
//! calls on a 64-bit kernel) is killed, for its numbers mean other things. `table` and
//! `calls` are the policy, `program` turns it into instructions.
//!
//! Only loads of the number and the architecture, constant jumps and returns stand before a
//! plain ALLOW: the kernel (5.11 and later) proves such calls allowed once, at load, and never
//! runs the filter for them again.

mod calls;
mod program;
mod table;

#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod tests;

use crate::Capability;

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    /// Operation, size and mode.
    pub(crate) code: u16,
    /// Instructions to skip when a comparison holds.
    pub(crate) jt: u8,
    /// Instructions to skip when it does not.
    pub(crate) jf: u8,
    /// The constant: an offset to load, a value to compare, a distance, a return value.
    pub(crate) k: u32,
}

/// The filter for a container that will have `caps`: a capability that is granted lifts the
/// denials that only repeat it, as in Docker's profile.
pub(crate) fn compile(caps: &[Capability]) -> Vec<Instruction> {
    program::assemble(&table::policy(caps))
}

/// The filter of a container without capabilities, as the kernel's `struct sock_filter`s: for
/// benchmarks that give the same to other tools.
#[doc(hidden)]
#[must_use]
pub fn default_filter() -> Vec<u8> {
    let bytes = |one: &Instruction| {
        let ([a, b], [w, x, y, z]) = (one.code.to_ne_bytes(), one.k.to_ne_bytes());
        [a, b, one.jt, one.jf, w, x, y, z]
    };
    compile(&[]).iter().flat_map(bytes).collect()
}
