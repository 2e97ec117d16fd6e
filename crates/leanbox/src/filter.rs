//! The system calls a container may make: seccomp filters, of the kind Docker ships.
//!
//! In: a profile and the capabilities the container will have. Out: the program for seccomp(2), to
//! be loaded as it is. Never: loads it (the launcher does), or decides by anything but architecture,
//! number and integer arguments: a filter cannot follow pointers.
//!
//! The library's own is an allow-list. What is known and dangerous gets EPERM; what this version does not know
//! gets ENOSYS, so that programs fall back as on an older kernel; a foreign architecture (32-bit
//! calls on a 64-bit kernel) is killed, for its numbers mean other things. `table` and
//! `calls` are its decisions, `oci` reads those of a file; `policy` is what both come to, and
//! `program` turns that into instructions.
//!
//! Only loads of the number and the architecture, constant jumps and returns stand before a
//! plain ALLOW: the kernel (5.11 and later) proves such calls allowed once, at load, and never
//! runs the filter for them again.

mod calls;
mod launcher;
pub(crate) mod names;
mod oci;
mod policy;
mod profile;
mod program;
mod table;

#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod tests;

pub(crate) use policy::Policy;
pub use profile::Profile;

use crate::{Error, Result, Security};

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

/// A program with what it is to be installed with.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(crate) flags: u64,
}

/// The kernel's `BPF_MAXINSNS`.
const INSTRUCTIONS_MAX: usize = 4096;

fn compile(policy: &Policy) -> Result<Filter> {
    let program = program::assemble(policy);
    if program.len() > INSTRUCTIONS_MAX {
        let text = format!("seccomp profile: {} instructions", program.len());
        return Err(Error::invalid(text)
            .remedy(format!("the kernel takes {INSTRUCTIONS_MAX}: write fewer rules")));
    }
    Ok(Filter { program, flags: policy.flags })
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
    let policy = table::policy(Security::Strict, &[]);
    program::assemble(&policy).iter().flat_map(bytes).collect()
}
