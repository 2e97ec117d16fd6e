//! The rights of root, one by one: capabilities(7).
//!
//! In: names as people write them (`CHOWN`, `cap_net_raw`). Out: the kernel's numbers and the
//! kernel's names. Never: applies anything; the launcher does that with the numbers.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// One capability of Linux, named as in capabilities(7) without `CAP_`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Capability {
            $($(#[$doc])* $variant = $number,)*
        }

        impl Capability {
            /// Every capability this library knows, in the kernel's order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name without its `CAP_`: `SYS_ADMIN`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

capabilities! {
    /// Change the owner of any file.
    Chown = 0 "CHOWN",
    /// Pass by the permission bits of files.
    DacOverride = 1 "DAC_OVERRIDE",
    /// Read every file and search every folder.
    DacReadSearch = 2 "DAC_READ_SEARCH",
    /// Act as the owner of any file.
    Fowner = 3 "FOWNER",
    /// Keep set-user-ID bits when a file changes.
    Fsetid = 4 "FSETID",
    /// Signal any process.
    Kill = 5 "KILL",
    /// Become any group.
    Setgid = 6 "SETGID",
    /// Become any user.
    Setuid = 7 "SETUID",
    /// Hand on or drop capabilities.
    Setpcap = 8 "SETPCAP",
    /// Set the append-only and immutable flags of files.
    LinuxImmutable = 9 "LINUX_IMMUTABLE",
    /// Listen on ports below 1024.
    NetBindService = 10 "NET_BIND_SERVICE",
    /// Broadcast and listen to multicasts (unused by the kernel).
    NetBroadcast = 11 "NET_BROADCAST",
    /// Configure the network.
    NetAdmin = 12 "NET_ADMIN",
    /// Use raw and packet sockets.
    NetRaw = 13 "NET_RAW",
    /// Lock memory without a limit.
    IpcLock = 14 "IPC_LOCK",
    /// Pass by the permissions of System V IPC objects.
    IpcOwner = 15 "IPC_OWNER",
    /// Load and unload kernel modules.
    SysModule = 16 "SYS_MODULE",
    /// Use I/O ports and raw memory.
    SysRawio = 17 "SYS_RAWIO",
    /// Use chroot(2).
    SysChroot = 18 "SYS_CHROOT",
    /// Trace and read any process.
    SysPtrace = 19 "SYS_PTRACE",
    /// Switch process accounting.
    SysPacct = 20 "SYS_PACCT",
    /// Mount, make namespaces, and a hundred other things.
    SysAdmin = 21 "SYS_ADMIN",
    /// Reboot.
    SysBoot = 22 "SYS_BOOT",
    /// Raise priorities, place memory.
    SysNice = 23 "SYS_NICE",
    /// Go past resource limits.
    SysResource = 24 "SYS_RESOURCE",
    /// Set the clock.
    SysTime = 25 "SYS_TIME",
    /// Configure terminals.
    SysTtyConfig = 26 "SYS_TTY_CONFIG",
    /// Make device files.
    Mknod = 27 "MKNOD",
    /// Take leases on any file.
    Lease = 28 "LEASE",
    /// Write to the audit log.
    AuditWrite = 29 "AUDIT_WRITE",
    /// Configure auditing.
    AuditControl = 30 "AUDIT_CONTROL",
    /// Give files capabilities.
    Setfcap = 31 "SETFCAP",
    /// Pass by mandatory access control.
    MacOverride = 32 "MAC_OVERRIDE",
    /// Configure mandatory access control.
    MacAdmin = 33 "MAC_ADMIN",
    /// Read and clear the kernel's log.
    Syslog = 34 "SYSLOG",
    /// Set alarms that wake the machine.
    WakeAlarm = 35 "WAKE_ALARM",
    /// Keep the machine awake.
    BlockSuspend = 36 "BLOCK_SUSPEND",
    /// Read the audit log.
    AuditRead = 37 "AUDIT_READ",
    /// Observe performance.
    Perfmon = 38 "PERFMON",
    /// Load BPF programs.
    Bpf = 39 "BPF",
    /// Checkpoint and restore processes.
    CheckpointRestore = 40 "CHECKPOINT_RESTORE",
}

impl Capability {
    /// The 14 that Docker gives a container by default. They are what images expect of root.
    pub const DOCKER_DEFAULT: &[Self] = &[
        Self::Chown,
        Self::DacOverride,
        Self::Fowner,
        Self::Fsetid,
        Self::Kill,
        Self::Setgid,
        Self::Setuid,
        Self::Setpcap,
        Self::NetBindService,
        Self::NetRaw,
        Self::SysChroot,
        Self::Mknod,
        Self::AuditWrite,
        Self::Setfcap,
    ];

    /// The kernel's number, as in `linux/capability.h`.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Capability {
    /// As the kernel spells it: `CAP_SYS_ADMIN`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CAP_{}", self.name())
    }
}

impl FromStr for Capability {
    type Err = Error;

    /// Reads `SYS_ADMIN`, `CAP_SYS_ADMIN` and both in any case.
    ///
    /// # Errors
    /// No capability has that name.
    fn from_str(text: &str) -> Result<Self> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Self::ALL.iter().copied().find(|capability| capability.name() == name).ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a capability"))
                .remedy("write a name of capabilities(7), as in NET_RAW")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_cap_in_any_case() {
        for text in ["CHOWN", "CAP_CHOWN", "cap_chown", "Chown"] {
            assert_eq!(text.parse::<Capability>().unwrap(), Capability::Chown);
        }
    }

    #[test]
    fn every_capability_reads_back_from_what_it_prints() {
        for &capability in Capability::ALL {
            assert_eq!(capability.to_string().parse::<Capability>().unwrap(), capability);
        }
    }

    #[test]
    fn numbers_run_from_0_to_40_in_the_kernels_order() {
        let numbers: Vec<u32> = Capability::ALL.iter().map(|one| one.number()).collect();
        assert_eq!(numbers, (0..=40).collect::<Vec<u32>>());
        assert_eq!(Capability::SysAdmin.number(), 21);
    }

    #[test]
    fn an_unknown_name_is_refused_in_one_line_with_a_remedy() {
        let error = "CAP_FLY".parse::<Capability>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"CAP_FLY\" is not a capability; write a name of capabilities(7), as in NET_RAW"
        );
    }
}
