//! The policy as data: which calls are allowed, denied, or depend on an argument.
//!
//! In: whose decisions, and the capabilities granted. Out: a verdict per call number. A number in
//! no list has none, and looks absent. The lists follow the default profile of Docker
//! (moby/profiles, `seccomp/default_linux.go`), which is what images are tested against. Where
//! ours is stricter, the comment at the list says so and why.

use super::calls::ALLOWED;
use super::policy::{
    Action, Comparison, Condition, EAFNOSUPPORT, ENOSYS, EPERM, Policy, Rule, Verdict,
};
use crate::{Capability, Security};
use linux_raw_sys::general::*;

/// A rule on one argument.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) calls: &'static [u32],
    pub(super) argument: u32,
    pub(super) test: Test,
    /// The errno when the test fails.
    pub(super) errno: u16,
    /// With this capability the call is allowed unchecked.
    pub(super) lifted_by: Option<Capability>,
    /// Whose containers it is made in; `None`: in all.
    pub(super) only_in: Option<Security>,
}

/// What the argument must be for the call to pass. Of most arguments the kernel reads the low 32
/// bits only: looking at the high ones would let a caller get past by setting them.
#[derive(Debug)]
pub(super) enum Test {
    /// The low 32 bits, without these.
    WithoutBits(u32),
    /// The low 32 bits are one of these.
    Among(&'static [u32]),
    /// The low 32 bits are none of these.
    NotAmong(&'static [u32]),
    /// All 64 bits are one of these.
    Exactly(&'static [u64]),
}

impl Check {
    fn verdict(&self) -> Verdict {
        let low = u64::from(u32::MAX);
        let refuse = Action::Errno(self.errno);
        let masked = |mask, value: u32| (Comparison::Masked(mask), u64::from(value));
        let rule = |action, (comparison, value)| {
            let condition = Condition { argument: self.argument, comparison, value };
            Rule { conditions: vec![condition], action }
        };
        let allow = |what| rule(Action::Allow, what);
        let (rules, otherwise) = match self.test {
            Test::WithoutBits(bits) => (vec![allow(masked(u64::from(bits), 0))], refuse),
            Test::Among(values) => {
                (values.iter().map(|&value| allow(masked(low, value))).collect(), refuse)
            }
            Test::NotAmong(values) => {
                let refused = values.iter().map(|&value| rule(refuse, masked(low, value)));
                (refused.collect(), Action::Allow)
            }
            Test::Exactly(values) => {
                let allowed = values.iter().map(|&value| allow((Comparison::Equal, value)));
                (allowed.collect(), refuse)
            }
        };
        Verdict { rules, otherwise }
    }
}

/// The verdict on every call that is in one of the lists.
pub(super) fn policy(security: Security, caps: &[Capability]) -> Policy {
    let mut calls = std::collections::BTreeMap::new();
    let mut set = |numbers: &[u32], verdict: &Verdict| {
        calls.extend(numbers.iter().map(|&nr| (nr, verdict.clone())));
    };
    let [allow, refuse, absent] =
        [Action::Allow, Action::Errno(EPERM), Action::Errno(ENOSYS)].map(Verdict::from);
    set(DENIED, &refuse);
    set(DENIED_OF_ARCH, &refuse);
    set(ABSENT, &absent);
    for numbers in ALLOWED {
        set(numbers, &allow);
    }
    for check in CHECKED.iter().filter(|check| check.only_in.is_none_or(|only| only == security)) {
        let lifted = check.lifted_by.is_some_and(|capability| caps.contains(&capability));
        set(check.calls, &if lifted { allow.clone() } else { check.verdict() });
    }
    if security == Security::Docker {
        set(&[__NR_socketpair], &allow);
    }
    for (capability, numbers) in GRANTED {
        let granted = caps.contains(capability);
        set(numbers, if granted { &allow } else { &refuse });
    }
    for (_, numbers) in GRANTED.iter().filter(|(capability, _)| caps.contains(capability)) {
        set(numbers, &allow); // a call may be in two lists: one grant is enough
    }
    if caps.contains(&Capability::SysAdmin) {
        set(ABSENT, &allow);
    }
    Policy { calls, default: Action::Errno(EPERM), unknown: Action::Errno(ENOSYS), flags: 0 }
}

/// Calls whose flags are behind a pointer, out of a filter's sight: absent, so that libc takes
/// the older call, which can be checked. CAP_SYS_ADMIN lifts this too.
const ABSENT: &[u32] = &[__NR_clone3];

/// Bits of clone(2) that make new namespaces: a door to kernel code that otherwise only root
/// reaches. CLONE_NEWTIME is not among them, for clone(2) uses that bit for the exit signal.
const NEW_NAMESPACES: u32 = CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET;

pub(super) const CHECKED: &[Check] = &[
    Check {
        calls: &[__NR_clone],
        argument: 0,
        test: Test::WithoutBits(NEW_NAMESPACES),
        errno: EPERM,
        lifted_by: Some(Capability::SysAdmin),
        only_in: None,
    },
    // Linux, Linux with 32-bit addresses, both with UNAME26, and the query. Others change how
    // memory is laid out (no randomisation, pages at 0) and weaken a program that runs later.
    Check {
        calls: &[__NR_personality],
        argument: 0,
        test: Test::Among(&[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]),
        errno: EPERM,
        lifted_by: None,
        only_in: None,
    },
    // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET. Docker refuses AF_ALG (38: the kernel's
    // cryptography, a source of escapes) and AF_VSOCK (40: reaches the hypervisor and other
    // machines from inside any network namespace). We refuse the other rare families too: in a
    // network namespace with loopback only they reach nobody, and asking for one makes the
    // kernel load its module.
    Check {
        calls: &[__NR_socket, __NR_socketpair],
        argument: 0,
        test: Test::Exactly(&[1, 2, 10, 16, 17]),
        errno: EAFNOSUPPORT,
        lifted_by: None,
        only_in: Some(Security::Strict),
    },
    // Docker refuses DECnet, Econet, ATM SVC, IrDA, WANPIPE, ISDN, CAIF, AF_ALG, VSOCK and newer ones.
    Check {
        calls: &[__NR_socket],
        argument: 0,
        test: Test::Exactly(&[
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28,
            29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
        ]),
        errno: EPERM,
        lifted_by: None,
        only_in: Some(Security::Docker),
    },
    // TIOCSTI and TIOCLINUX type into the terminal, which the container may share with whoever
    // started it. Docker leaves this to the kernel's settings; older kernels have none.
    Check {
        calls: &[__NR_ioctl],
        argument: 1,
        test: Test::NotAmong(&[0x5412, 0x541c]),
        errno: EPERM,
        lifted_by: None,
        only_in: None,
    },
    // F_SETLEASE and F_SETDELEG: root inside owns the files of its root file system, which other
    // slots and the host read too. Whoever opens a leased file waits until the holder gives it
    // back, up to 45 s each time (fcntl(2), `lease-break-time`). Docker allows it, for its
    // containers have no inode in common.
    Check {
        calls: &[__NR_fcntl],
        argument: 1,
        test: Test::NotAmong(&[1024, 1040]),
        errno: EPERM,
        lifted_by: None,
        only_in: None,
    },
];

/// Calls that one capability opens. Without it the kernel would refuse most of them too; the
/// filter spares its code from being tried.
const GRANTED: &[(Capability, &[u32])] = &[
    (Capability::SysChroot, &[__NR_chroot]),
    (Capability::DacReadSearch, &[__NR_open_by_handle_at]),
    (Capability::SysAdmin, ADMIN),
    (Capability::SysBoot, &[__NR_reboot]),
    (Capability::SysModule, &[__NR_init_module, __NR_finit_module, __NR_delete_module]),
    (Capability::SysPacct, &[__NR_acct]),
    (Capability::SysPtrace, &[__NR_kcmp, __NR_pidfd_getfd, __NR_process_madvise]),
    (Capability::SysTime, &[__NR_settimeofday, __NR_clock_settime]),
    (Capability::SysTtyConfig, &[__NR_vhangup]),
    (Capability::SysNice, MEMORY_PLACES),
    (Capability::Syslog, &[__NR_syslog]),
    (Capability::Bpf, &[__NR_bpf]),
    (Capability::Perfmon, &[__NR_perf_event_open]),
    #[cfg(target_arch = "x86_64")]
    (Capability::SysRawio, &[__NR_iopl, __NR_ioperm]),
];

const ADMIN: &[u32] = &[
    __NR_bpf,
    __NR_fanotify_init,
    __NR_fsconfig,
    __NR_fsmount,
    __NR_fsopen,
    __NR_fspick,
    __NR_lookup_dcookie,
    __NR_lsm_get_self_attr,
    __NR_lsm_list_modules,
    __NR_lsm_set_self_attr,
    __NR_mount,
    __NR_mount_setattr,
    __NR_move_mount,
    __NR_open_tree,
    __NR_open_tree_attr,
    __NR_perf_event_open,
    __NR_quotactl,
    __NR_quotactl_fd,
    __NR_setdomainname,
    __NR_sethostname,
    __NR_setns,
    __NR_syslog,
    __NR_umount2,
    __NR_unshare,
];

const MEMORY_PLACES: &[u32] =
    &[__NR_get_mempolicy, __NR_mbind, __NR_set_mempolicy, __NR_set_mempolicy_home_node];

/// Known, dangerous or obsolete, and opened by no capability.
const DENIED: &[u32] = &[
    // Keys: the keyrings are not namespaced in all their parts.
    __NR_add_key,
    __NR_keyctl,
    __NR_request_key,
    // Submits any call past this filter; a frequent source of kernel escapes.
    __NR_io_uring_enter,
    __NR_io_uring_register,
    __NR_io_uring_setup,
    // Stops the kernel in the middle of a copy, which makes its races easy to win.
    __NR_userfaultfd,
    // Replaces the kernel, the root, the swap.
    __NR_kexec_file_load,
    __NR_kexec_load,
    __NR_pivot_root,
    __NR_swapoff,
    __NR_swapon,
    // Moves other processes' memory; NUMA placement is the host's.
    __NR_migrate_pages,
    __NR_move_pages,
    // Gone from current kernels.
    __NR_nfsservctl,
];

#[cfg(target_arch = "x86_64")]
const DENIED_OF_ARCH: &[u32] =
    &[__NR__sysctl, __NR_create_module, __NR_sysfs, __NR_uselib, __NR_ustat];
#[cfg(target_arch = "aarch64")]
const DENIED_OF_ARCH: &[u32] = &[];
