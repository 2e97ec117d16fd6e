//! Calls that alter or stop the machine, or open much of the kernel. Their arguments do nothing:
//! the kernel asks who calls before it looks at them.

use crate::call::{NOTHING, NOWHERE, at, call, minus, nr, text, word};
use crate::stage::Stage;
use crate::verdict::{Blocked, Open, Verdict, all, refused};

pub(crate) fn io_uring(_: &Stage) -> Verdict {
    all([
        refused(call(nr::__NR_io_uring_setup, [0, NOWHERE])),
        refused(call(nr::__NR_io_uring_enter, [minus(1), 0, 0, 0, 0, 0])),
        refused(call(nr::__NR_io_uring_register, [minus(1), 99, 0, 0])),
    ])
}

pub(crate) fn bpf(_: &Stage) -> Verdict {
    let attributes = [0_u64; 8];
    // BPF_MAP_CREATE and BPF_PROG_LOAD of nothing.
    all([0, 5].map(|command| refused(call(nr::__NR_bpf, [command, at(&attributes), 64]))))
}

pub(crate) fn perf(_: &Stage) -> Verdict {
    let mut attributes = [0_u32; 32];
    (attributes[0], attributes[1]) = (1, 128); // PERF_TYPE_SOFTWARE
    let all_processes_on_cpu_0 = [at(&attributes), minus(1), 0, minus(1), 0];
    refused(call(nr::__NR_perf_event_open, all_processes_on_cpu_0))
}

pub(crate) fn userfaultfd(_: &Stage) -> Verdict {
    refused(call(nr::__NR_userfaultfd, [0o2_000_000]))
}

pub(crate) fn kexec(_: &Stage) -> Verdict {
    let no_such_flags = 0xdead;
    all([
        refused(call(nr::__NR_kexec_load, [0, 0, 0, no_such_flags])),
        refused(call(nr::__NR_kexec_file_load, [minus(1), minus(1), 0, 0, no_such_flags])),
    ])
}

pub(crate) fn modules(_: &Stage) -> Verdict {
    all([
        refused(call(nr::__NR_init_module, [NOWHERE, 0, at(c"")])),
        refused(call(nr::__NR_finit_module, [minus(1), at(c""), 0])),
        refused(call(nr::__NR_delete_module, [at(c"leanbox_none"), 0o4000])),
    ])
}

/// settimeofday(2) of nothing; an adjustment whose tick is none.
pub(crate) fn clock(_: &Stage) -> Verdict {
    let mut adjust = [0_u64; 26];
    adjust[0] = 0x4000; // ADJ_TICK, and a tick of 0
    let no_time = [0_i64, -1];
    let set = call(nr::__NR_clock_settime, [0, at(&no_time)]);
    all([
        refused(call(nr::__NR_settimeofday, [0, 0])),
        refused(call(nr::__NR_clock_adjtime, [0, at(&adjust)])),
        refused(set),
    ])
}

pub(crate) fn log(_: &Stage) -> Verdict {
    const READ_ALL: usize = 3;
    let bytes = [0_u8; 64];
    refused(call(nr::__NR_syslog, [READ_ALL, at(&bytes), 64]))
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn io_ports(_: &Stage) -> Verdict {
    all([refused(call(nr::__NR_iopl, [3])), refused(call(nr::__NR_ioperm, [0x80, 1, 1]))])
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn io_ports(_: &Stage) -> Verdict {
    Blocked("this architecture has none".into())
}

pub(crate) fn quotas(_: &Stage) -> Verdict {
    let nothing = text(NOTHING);
    let information = 0x80_0005 << 8;
    let by_path = call(nr::__NR_quotactl, [information, at(&*nothing), 0, 0]);
    all([refused(by_path), refused(call(nr::__NR_quotactl_fd, [minus(1), information, 0, 0]))])
}

pub(crate) fn swap(_: &Stage) -> Verdict {
    let nothing = text(NOTHING);
    all([
        refused(call(nr::__NR_swapon, [at(&*nothing), 0])),
        refused(call(nr::__NR_swapoff, [at(&*nothing)])),
    ])
}

pub(crate) fn reboot(_: &Stage) -> Verdict {
    let wrong_magic = 0xdead;
    refused(call(nr::__NR_reboot, [wrong_magic, wrong_magic, 0, 0]))
}

pub(crate) fn host_name(_: &Stage) -> Verdict {
    all([
        refused(call(nr::__NR_sethostname, [at(c"x"), minus(1)])),
        refused(call(nr::__NR_setdomainname, [at(c"x"), minus(1)])),
    ])
}

pub(crate) fn accounting(_: &Stage) -> Verdict {
    let nothing = text(NOTHING);
    refused(call(nr::__NR_acct, [at(&*nothing)]))
}

pub(crate) fn personality(_: &Stage) -> Verdict {
    const ADDR_NO_RANDOMIZE: usize = 0x4_0000;
    const MMAP_PAGE_ZERO: usize = 0x10_0000;
    all([ADDR_NO_RANDOMIZE, MMAP_PAGE_ZERO]
        .map(|persona| refused(call(nr::__NR_personality, [persona]))))
}

pub(crate) fn memory_places(_: &Stage) -> Verdict {
    all([
        refused(call(nr::__NR_mbind, [0, 0, 0, 0, 0, 0])),
        refused(call(nr::__NR_set_mempolicy, [0, 0, 0])),
        refused(call(nr::__NR_migrate_pages, [0, 0, 0, 0])),
    ])
}

pub(crate) fn watch_the_file_system(_: &Stage) -> Verdict {
    const FAN_CLASS_CONTENT: usize = 4;
    refused(call(nr::__NR_fanotify_init, [FAN_CLASS_CONTENT, 0]))
}

/// A lease makes whoever opens the file wait: other containers on the root, and the host.
pub(crate) fn lease(_: &Stage) -> Verdict {
    const SETLEASE: usize = 1024;
    const READ: usize = 0;
    let Ok(file) = leanbox_sys::fd::open(c"/etc/group", leanbox_sys::fd::O_RDONLY) else {
        return Blocked("not to be opened".into());
    };
    refused(call(nr::__NR_fcntl, [word(&file), SETLEASE, READ]))
}

/// Numbers of the 32-bit table mean other calls (`getpid` here is 20); who gets past is told a
/// pid, who does not is killed.
#[cfg(target_arch = "x86_64")]
pub(crate) fn calls_of_32_bit(_: &Stage) -> Verdict {
    let mut result: i64 = 20;
    // SAFETY: getpid takes nothing and alters nothing.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") result, out("r8") _, out("r9") _,
        out("r10") _, out("r11") _)
    };
    if result > 0 { Open("getpid answers".into()) } else { Blocked("no answer".into()) }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn calls_of_32_bit(_: &Stage) -> Verdict {
    Blocked("this architecture has none".into())
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn calls_of_x32(_: &Stage) -> Verdict {
    refused(call(0x4000_0000 | nr::__NR_getpid, []))
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn calls_of_x32(_: &Stage) -> Verdict {
    Blocked("this architecture has none".into())
}

pub(crate) fn unknown_calls(_: &Stage) -> Verdict {
    let get_pid_with_high_bits = 0x2000_0000 | nr::__NR_getpid;
    all([
        refused(call(1000, [])),
        refused(call(u32::MAX >> 1, [])),
        refused(call(get_pid_with_high_bits, [])),
    ])
}

/// A page at a fixed address, with code to jump to; execute-only it only traps into the filter.
pub(crate) fn vsyscall(_: &Stage) -> Verdict {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    match maps.lines().find(|line| line.contains("[vsyscall]")) {
        None => Blocked("there is none".into()),
        Some(line) if line.contains(" --xp ") => Blocked("execute-only: emulated, filtered".into()),
        Some(line) => Open(line.to_string()),
    }
}
