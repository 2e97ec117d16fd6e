//! What was refused to a program, and what would allow it: for people who wonder why it does not run.
//!
//! In: a parked container, before its start. Out: at its end, what was refused, each with its
//! reason. A thread watches every system call of it (ptrace(2)), which makes them many times slower;
//! nothing in the slot is different, so what is refused is what is refused without. Never: on the
//! way of a start that does not ask for it; and it allows nothing.
//!
//! Everything that is read of the program is hostile: lengths are bounded, texts are escaped.

mod call;
mod place;
mod reason;
mod tracer;

use crate::Capability;
pub(crate) use reason::Facts;
use std::fmt;
pub(crate) use tracer::Tracer;

/// What was refused to a program and its descendants, in the order of the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Each thing once.
    pub refusals: Vec<Refusal>,
    /// How many more there were than are kept.
    pub more: u64,
}

/// A refused system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// As strace(1) has it, with what matters of its arguments: `mkdir("/data")`.
    pub call: String,
    /// The errno's name; `SIGSYS` of one that was killed for it, `ok` of one that succeeded and
    /// did less than it does elsewhere.
    pub error: String,
    /// How often.
    pub count: u64,
    /// Why.
    pub reason: Reason,
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The seccomp profile.
    Filter(Lift),
    /// The kernel wants this capability, over the slot's user namespace.
    Capability(Capability),
    /// The kernel wants a capability over the machine, which no container has.
    Machine,
    /// What is mounted at this place is read-only.
    ReadOnly(String),
    /// No program is executed from what is mounted at this place.
    NoExec(String),
    /// What is at this place in `/proc` tells of the machine, and is hidden.
    Masked(String),
    /// The permission bits of a file: the program's user is not who may.
    Permission,
    /// What is in `/proc` of a process that is not the program's to look into.
    OtherProcess,
    /// Set-user-id and set-group-id bits of a program have no effect (`no_new_privs`).
    NoSetId,
    /// A device that is not in `/dev`.
    NoDevice(String),
    /// There is no `/sys`.
    NoSysfs,
    /// There is no terminal.
    NoTerminal,
    /// There is no way there: its network has a loopback device only.
    NoNetwork,
    /// Its network refuses that address.
    RefusedAddress,
    /// Its limit of processes.
    Processes,
    /// This limit of each process, by its name of `--ulimit`.
    Ulimit(&'static str),
    /// This one's hard limit, which no process may raise.
    HardLimit(&'static str),
    /// What is mounted at this place is full.
    Full(String),
    /// This kernel has no such call.
    Kernel,
    /// It would trace what is traced already, for this explanation.
    Watched,
}

/// What a seccomp profile would have to be for a call to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lift {
    /// The same for a container that has this capability.
    Capability(Capability),
    /// Docker's ([`Security::Docker`](crate::Security::Docker)).
    Docker,
    /// One of the caller's.
    Profile,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(_) => out.write_str("the seccomp profile"),
            Self::Capability(capability) => write!(out, "it takes {capability}"),
            Self::Machine => out.write_str("it takes a right over the machine"),
            Self::ReadOnly(mount) if mount == "/" => out.write_str("the root is read-only"),
            Self::ReadOnly(mount) => write!(out, "{mount} is read-only"),
            Self::NoExec(mount) => write!(out, "nothing is executed from {mount}"),
            Self::Masked(path) => write!(out, "{path} tells of the machine, and is masked"),
            Self::Permission => out.write_str("the file's permission bits"),
            Self::OtherProcess => out.write_str("the process is another user's"),
            Self::NoSetId => out.write_str("its set-user-id bits have no effect"),
            Self::NoDevice(path) => write!(out, "{path} is not there"),
            Self::NoSysfs => out.write_str("there is no /sys"),
            Self::NoTerminal => out.write_str("there is no terminal"),
            Self::NoNetwork => out.write_str("its network is loopback only"),
            Self::RefusedAddress => out.write_str("its network refuses that address"),
            Self::Processes => out.write_str("the limit of processes"),
            Self::Ulimit(name) => write!(out, "the limit {name} of a process (setrlimit(2))"),
            Self::HardLimit(name) => write!(out, "the hard limit {name} of a process"),
            Self::Full(mount) => write!(out, "{mount} is full"),
            Self::Kernel => out.write_str("this kernel has no such call"),
            Self::Watched => out.write_str("it is traced already, to explain"),
        }
    }
}

impl fmt::Display for Refusal {
    /// `3 x mkdir("/data") EROFS: the root is read-only`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, error, count, reason } = self;
        write!(out, "{count} x {call} {error}: {reason}")
    }
}
