//! Why a call was refused: from the policy, the errno, what the call was about, and the limits that
//! its process has.

use super::place::{self, Mount, shown};
use super::{Lift, Reason};
use crate::filter::Policy;
use crate::security::Rights;
use crate::{Capability, Network, Profile, Result, Security, limits};
use rustix::io::Errno;

/// What a template was asked for that decides what is refused.
#[derive(Debug)]
pub(crate) struct Facts {
    capabilities: Vec<Capability>,
    profile: Profile,
    policy: Option<Policy>,
    loopback_only: bool,
    refuses_addresses: bool,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failed<'a> {
    pub(super) pid: i32,
    pub(super) nr: u32,
    pub(super) name: &'a str,
    pub(super) args: &'a [u64; 6],
    pub(super) errno: Errno,
    pub(super) path: Option<&'a str>,
    pub(super) mount: Option<Mount>,
}

/// What every C library tries first, and goes on without.
const TRIED_FIRST: &str = "clone3";

impl Facts {
    pub(crate) fn new(rights: &Rights, network: &Network) -> Result<Self> {
        let capabilities = rights.capabilities();
        let profile = rights.profile();
        Ok(Self {
            policy: profile.policy(&capabilities)?,
            capabilities,
            profile,
            loopback_only: *network == Network::None,
            refuses_addresses: matches!(network, Network::Nat(_)),
        })
    }

    /// `None` of what is no refusal: a file that is not there, a wrong argument.
    pub(super) fn reason(&self, failed: &Failed<'_>) -> Option<Reason> {
        if !passes(self.policy.as_ref(), failed.nr, failed.args) {
            return match right_for(failed.name) {
                _ if failed.name == TRIED_FIRST => None,
                // Past the filter the kernel would refuse it.
                Some(Right::Machine) => Some(Reason::Machine),
                _ => Some(Reason::Filter(self.lift(failed))),
            };
        }
        let at =
            || failed.mount.as_ref().map_or_else(|| "/".to_string(), |mount| shown(&mount.point));
        let path = failed.path.unwrap_or_default();
        match failed.errno {
            Errno::NOSYS => Some(Reason::Kernel),
            Errno::ROFS => Some(Reason::ReadOnly(at())),
            Errno::PERM | Errno::ACCESS => self.of_rights(failed),
            Errno::NOENT if path.starts_with("/dev/") => Some(Reason::NoDevice(shown(path))),
            Errno::NOENT if path == "/sys" || path.starts_with("/sys/") => Some(Reason::NoSysfs),
            Errno::NXIO if path == "/dev/tty" => Some(Reason::NoTerminal),
            Errno::NETUNREACH if self.loopback_only => Some(Reason::NoNetwork),
            Errno::HOSTUNREACH if self.refuses_addresses => Some(Reason::RefusedAddress),
            Errno::AGAIN if is_clone(failed.name) => Some(Reason::Processes),
            Errno::NOSPC => Some(Reason::Full(at())),
            errno => ulimit(failed, errno).map(Reason::Ulimit),
        }
    }

    fn of_rights(&self, failed: &Failed<'_>) -> Option<Reason> {
        let name = failed.name;
        match &failed.mount {
            Some(mount) if mount.no_exec && name.starts_with("execve") => {
                return Some(Reason::NoExec(shown(&mount.point)));
            }
            Some(mount) if mount.is_mask => return Some(Reason::Masked(shown(&mount.point))),
            _ if matches!(name, "connect" | "sendto") && self.refuses_addresses => {
                return Some(Reason::RefusedAddress);
            }
            _ => {}
        }
        if let "setrlimit" | "prlimit64" = name {
            let at = usize::from(name == "prlimit64");
            return limits::name_of_rlimit(failed.args[at]).map(Reason::HardLimit);
        }
        if let Some(limit) = ulimit(failed, failed.errno) {
            return Some(Reason::Ulimit(limit));
        }
        if name == "ptrace" {
            return Some(Reason::Watched);
        }
        if let Some(owner) = failed.path.and_then(owner_in_proc) {
            return Some(owner);
        }
        match right_for(name) {
            Some(Right::Slot(capability)) if !self.capabilities.contains(&capability) => {
                Some(Reason::Capability(capability))
            }
            Some(Right::Machine) => Some(Reason::Machine),
            _ if failed.path.is_some() => Some(Reason::Permission),
            _ => None,
        }
    }

    /// What it would take for the filter to let the call pass: the least of it.
    fn lift(&self, failed: &Failed<'_>) -> Lift {
        let would = |profile: &Profile, more: &[Capability]| {
            let held = [&self.capabilities[..], more].concat();
            profile
                .policy(&held)
                .is_ok_and(|policy| passes(policy.as_ref(), failed.nr, failed.args))
        };
        let by = Capability::ALL.iter().find(|one| would(&self.profile, &[**one]));
        match by {
            Some(capability) => Lift::Capability(*capability),
            None if would(&Security::Docker.into(), Capability::DOCKER_DEFAULT) => Lift::Docker,
            None => Lift::Profile,
        }
    }
}

fn passes(policy: Option<&Policy>, nr: u32, args: &[u64; 6]) -> bool {
    policy.is_none_or(|policy| policy.decide(nr, args).allows())
}

/// The limit of a process that such a failure is for (getrlimit(2)).
fn ulimit(failed: &Failed<'_>, errno: Errno) -> Option<&'static str> {
    let has = |name: &str| place::is_limited(failed.pid, name);
    match (errno, failed.name) {
        (Errno::MFILE, "mq_open") => Some("msgqueue"),
        (Errno::MFILE, _) => Some("nofile"),
        (Errno::FBIG, _) if has("Max file size") => Some("fsize"),
        (Errno::NOMEM | Errno::PERM | Errno::AGAIN, "mlock" | "mlock2" | "mlockall") => {
            Some("memlock")
        }
        (Errno::NOMEM, "mmap" | "mremap") if has("Max address space") => Some("as"),
        (Errno::NOMEM, "mmap" | "mprotect") if has("Max data size") => Some("data"),
        (Errno::AGAIN, "timer_create" | "rt_sigqueueinfo" | "timerfd_create") => Some("sigpending"),
        (Errno::ACCESS, "setpriority") => Some("nice"),
        (Errno::PERM, "sched_setscheduler" | "sched_setattr" | "sched_setparam") => Some("rtprio"),
        _ => None,
    }
}

/// Whose a file in `/proc` is that the program may not open: a process's, or the machine's.
fn owner_in_proc(path: &str) -> Option<Reason> {
    let name = path.strip_prefix("/proc/")?.split('/').next().filter(|name| !name.is_empty())?;
    match name.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Some(Reason::OtherProcess),
        false if matches!(name, "self" | "thread-self" | "sys") => None,
        false => Some(Reason::Machine),
    }
}

fn is_clone(name: &str) -> bool {
    matches!(name, "clone" | "clone3" | "fork" | "vfork")
}

/// Over what a capability is wanted.
enum Right {
    /// Over the slot's own user namespace: it can be had.
    Slot(Capability),
    /// Over the initial one (`capable` in the kernel's source).
    Machine,
}

/// Of capabilities(7), for calls that fail without.
fn right_for(name: &str) -> Option<Right> {
    use Capability as C;
    Some(match name {
        "chown" | "fchown" | "lchown" | "fchownat" => Right::Slot(C::Chown),
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" | "utime" | "utimes" | "utimensat" => {
            Right::Slot(C::Fowner)
        }
        "setuid" | "setreuid" | "setresuid" | "setfsuid" => Right::Slot(C::Setuid),
        "setgid" | "setregid" | "setresgid" | "setfsgid" | "setgroups" => Right::Slot(C::Setgid),
        "kill" | "tkill" | "tgkill" => Right::Slot(C::Kill),
        "bind" => Right::Slot(C::NetBindService),
        "socket" => Right::Slot(C::NetRaw),
        "chroot" => Right::Slot(C::SysChroot),
        "process_vm_readv" | "process_vm_writev" | "kcmp" | "pidfd_getfd" => {
            Right::Slot(C::SysPtrace)
        }
        "mount" | "umount2" | "pivot_root" | "setns" | "unshare" | "sethostname"
        | "setdomainname" | "open_tree" | "move_mount" | "fsopen" | "mount_setattr" => {
            Right::Slot(C::SysAdmin)
        }
        "capset" => Right::Slot(C::Setpcap),
        "mknod" | "mknodat" | "settimeofday" | "clock_settime" | "clock_adjtime" | "adjtimex"
        | "reboot" | "syslog" | "init_module" | "finit_module" | "delete_module" | "bpf"
        | "iopl" | "ioperm" | "swapon" | "swapoff" | "acct" | "setpriority" | "perf_event_open"
        | "kexec_load" => Right::Machine,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::names;

    fn facts(security: Security, added: &[Capability]) -> Facts {
        let rights = Rights { security, added: added.to_vec(), ..Rights::default() };
        Facts::new(&rights, &Network::None).unwrap()
    }

    fn failed(name: &'static str, args: &'static [u64; 6], errno: Errno) -> Failed<'static> {
        let nr = names::number(name).unwrap();
        Failed { pid: 0, nr, name, args, errno, path: None, mount: None }
    }

    #[test]
    fn what_the_filter_refuses_is_lifted_by_the_least_that_lets_it_pass() {
        let strict = facts(Security::Strict, &[]);
        let lift = |name, args| match strict.reason(&failed(name, args, Errno::PERM)) {
            Some(Reason::Filter(lift)) => lift,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(lift("mount", &[0; 6]), Lift::Capability(Capability::SysAdmin));
        assert_eq!(lift("io_uring_setup", &[0; 6]), Lift::Profile);
        // AF_RDS, which Docker has.
        assert_eq!(lift("socket", &[21, 5, 0, 0, 0, 0]), Lift::Docker);
    }

    #[test]
    fn what_the_filter_lets_pass_is_told_by_the_right_that_it_takes() {
        let strict = facts(Security::Strict, &[]);
        let chown = failed("fchownat", &[0; 6], Errno::PERM);
        assert_eq!(strict.reason(&chown), Some(Reason::Capability(Capability::Chown)));
        // A packet socket.
        let packet = failed("socket", &[17, 3, 0, 0, 0, 0], Errno::PERM);
        assert_eq!(strict.reason(&packet), Some(Reason::Capability(Capability::NetRaw)));
        let with = facts(Security::Strict, &[Capability::Chown]);
        assert_eq!(with.reason(&chown), None);
        // Its own children, too: they are traced for this.
        let trace = failed("ptrace", &[0; 6], Errno::PERM);
        assert_eq!(strict.reason(&trace), Some(Reason::Watched));
        let unreachable = failed("connect", &[0; 6], Errno::NETUNREACH);
        assert_eq!(strict.reason(&unreachable), Some(Reason::NoNetwork));
    }

    #[test]
    fn limits_of_a_process_are_told_by_their_names() {
        let strict = facts(Security::Strict, &[]);
        let reason = |name, args, errno| strict.reason(&failed(name, args, errno));
        let files = reason("openat", &[0; 6], Errno::MFILE);
        assert_eq!(files, Some(Reason::Ulimit("nofile")));
        let raised = reason("prlimit64", &[0, 7, 0, 0, 0, 0], Errno::PERM);
        assert_eq!(raised, Some(Reason::HardLimit("nofile")));
        assert_eq!(reason("setpriority", &[0; 6], Errno::ACCESS), Some(Reason::Ulimit("nice")));
        // Nobody set a limit.
        assert_eq!(reason("write", &[1, 0, 0, 0, 0, 0], Errno::FBIG), None);
    }

    #[test]
    fn what_is_in_proc_is_a_process_s_or_the_machine_s() {
        assert_eq!(owner_in_proc("/proc/1/environ"), Some(Reason::OtherProcess));
        assert_eq!(owner_in_proc("/proc/kmsg"), Some(Reason::Machine));
        assert_eq!(owner_in_proc("/proc/self/mem"), None);
        assert_eq!(owner_in_proc("/etc/shadow"), None);
    }

    #[test]
    fn a_call_that_libraries_only_try_is_no_refusal() {
        let strict = facts(Security::Strict, &[]);
        assert_eq!(strict.reason(&failed("clone3", &[0; 6], Errno::NOSYS)), None);
    }
}
