//! Files of `/proc` and `/sys` that steer the host or tell about it. Opened, never written.

use super::status;
use crate::call::{at, call, nr};
use crate::stage::Stage;
use crate::verdict::{Blocked, Open, Verdict, all, opens, refused};
use leanbox_sys::fd::{O_RDONLY, O_WRONLY};
use std::fs;

pub(crate) fn core_pattern(_: &Stage) -> Verdict {
    opens("/proc/sys/kernel/core_pattern", O_WRONLY)
}

pub(crate) fn modprobe_path(_: &Stage) -> Verdict {
    opens("/proc/sys/kernel/modprobe", O_WRONLY)
}

pub(crate) fn uevent_helper(_: &Stage) -> Verdict {
    let sys = at_sysfs();
    all([
        opens("/proc/sys/kernel/hotplug", O_WRONLY),
        opens("/sys/kernel/uevent_helper", O_WRONLY),
        opens(&format!("{sys}/kernel/uevent_helper"), O_WRONLY),
    ])
}

pub(crate) fn binfmt_misc(_: &Stage) -> Verdict {
    let _ = fs::create_dir("/tmp/binfmt");
    let mounted = call(nr::__NR_mount, [at(c"none"), at(c"/tmp/binfmt"), at(c"binfmt_misc"), 0, 0]);
    let mounted = match mounted {
        Err(leanbox_sys::Errno(19)) => Blocked("ENODEV".into()),
        other => refused(other),
    };
    all([opens("/proc/sys/fs/binfmt_misc/register", O_WRONLY), mounted])
}

pub(crate) fn sysrq(_: &Stage) -> Verdict {
    all(["/proc/sysrq-trigger", "/proc/sys/kernel/sysrq"].map(|file| opens(file, O_WRONLY)))
}

pub(crate) fn settings(_: &Stage) -> Verdict {
    let files = "kernel/hostname kernel/domainname kernel/panic kernel/shmmax kernel/msgmax \
        kernel/ns_last_pid kernel/randomize_va_space kernel/yama/ptrace_scope fs/file-max \
        fs/mount-max vm/drop_caches vm/overcommit_memory vm/panic_on_oom \
        net/ipv4/ip_forward net/ipv4/ip_unprivileged_port_start user/max_user_namespaces";
    all(files.split_whitespace().map(|file| opens(&format!("/proc/sys/{file}"), O_WRONLY)))
}

pub(crate) fn id_maps(_: &Stage) -> Verdict {
    let text = |file: &str, line: &str| match fs::write(format!("/proc/self/{file}"), line) {
        Ok(()) => Open(format!("{file} was written")),
        Err(error) => {
            Blocked(crate::verdict::name(leanbox_sys::Errno(error.raw_os_error().unwrap_or(0))))
        }
    };
    all([
        text("uid_map", "0 0 4294967295"),
        text("gid_map", "0 0 4294967295"),
        text("setgroups", "allow"),
    ])
}

pub(crate) fn spared_by_oom_killer(_: &Stage) -> Verdict {
    match fs::write("/proc/self/oom_score_adj", "-1000") {
        Ok(()) => Open("own score is -1000".into()),
        Err(error) => Blocked(error.kind().to_string()),
    }
}

/// Its head only: it is as large as the address space.
pub(crate) fn kcore(_: &Stage) -> Verdict {
    use std::io::Read;
    let mut first = [0_u8; 4];
    match fs::File::open("/proc/kcore").and_then(|mut file| file.read(&mut first)) {
        Ok(0) => Blocked("masked".into()),
        Ok(_) => Open("its head was read".into()),
        Err(error) => Blocked(error.kind().to_string()),
    }
}

fn addresses(path: &str, column: usize) -> Verdict {
    let Ok(text) = fs::read_to_string(path) else { return Blocked("not to be read".into()) };
    let field = |line: &str| line.split_whitespace().nth(column).map(String::from);
    let shown =
        text.lines().filter_map(field).find(|word| !word.trim_matches(['0', '-', 'x']).is_empty());
    shown.map_or(Blocked("zeros".into()), |_| Open(format!("{path} shows them")))
}

pub(crate) fn symbols(_: &Stage) -> Verdict {
    addresses("/proc/kallsyms", 0)
}

pub(crate) fn physical_addresses(_: &Stage) -> Verdict {
    all([addresses("/proc/iomem", 0), addresses("/proc/ioports", 0)])
}

pub(crate) fn pages(_: &Stage) -> Verdict {
    let files = ["kpageflags", "kpagecount", "kpagecgroup", "pagetypeinfo", "slabinfo"];
    let frames = own_page_frame();
    all(files.map(|file| opens(&format!("/proc/{file}"), O_RDONLY)).into_iter().chain([frames]))
}

/// Physical page numbers in `/proc/self/pagemap` are for CAP_SYS_ADMIN only (rowhammer).
fn own_page_frame() -> Verdict {
    use std::os::unix::fs::FileExt;
    let value = Box::new(1_u8);
    let Ok(file) = fs::File::open("/proc/self/pagemap") else {
        return Blocked("no pagemap".into());
    };
    let mut entry = [0; 8];
    let page = u64::try_from(at(&*value) / 4096).unwrap();
    match file.read_exact_at(&mut entry, page * 8) {
        Ok(()) if u64::from_le_bytes(entry) << 9 >> 9 == 0 => Blocked("zeros".into()),
        Ok(()) => Open("pagemap shows page frames".into()),
        Err(_) => Blocked("not to be read".into()),
    }
}

pub(crate) fn scheduler(_: &Stage) -> Verdict {
    let debug = mounted("debugfs", "/tmp/debugfs");
    all([
        shows("/proc/sched_debug"),
        shows("/proc/timer_list"),
        shows("/proc/latency_stats"),
        debug,
    ])
}

/// Whether a file has any contents.
fn shows(path: &str) -> Verdict {
    match fs::read(path) {
        Ok(text) if text.is_empty() => Blocked("masked".into()),
        Ok(_) => Open(format!("{path} was read")),
        Err(_) => Blocked("not to be read".into()),
    }
}

pub(crate) fn keys(_: &Stage) -> Verdict {
    shows("/proc/keys")
}

pub(crate) fn interrupts(_: &Stage) -> Verdict {
    all([shows("/proc/interrupts"), opens("/proc/irq/default_smp_affinity", O_WRONLY)])
}

pub(crate) fn hardware(_: &Stage) -> Verdict {
    let files = ["/proc/mtrr", "/proc/acpi/wakeup", "/proc/scsi/scsi", "/proc/bus/pci/devices"];
    all(files.map(|file| opens(file, O_WRONLY)))
}

/// A new sysfs, for what is not mounted already.
fn at_sysfs() -> &'static str {
    let _ = mounted("sysfs", "/tmp/sysfs");
    "/tmp/sysfs"
}

fn mounted(kind: &str, place: &str) -> Verdict {
    let _ = fs::create_dir(place);
    let (kind_text, place_text) = (crate::call::text(kind), crate::call::text(place));
    let source = at(c"none");
    refused(call(nr::__NR_mount, [source, at(&*place_text), at(&*kind_text), 0, 0]))
        .of(&format!("mount {kind}:"))
}

pub(crate) fn sysfs(_: &Stage) -> Verdict {
    all([opens("/sys/kernel", O_RDONLY), mounted("sysfs", "/tmp/sysfs")])
}

pub(crate) fn debugfs(_: &Stage) -> Verdict {
    all([opens("/sys/kernel/debug", O_RDONLY), mounted("debugfs", "/tmp/debugfs")])
}

pub(crate) fn tracefs(_: &Stage) -> Verdict {
    all([opens("/sys/kernel/tracing", O_RDONLY), mounted("tracefs", "/tmp/tracefs")])
}

/// The host's groups, mounted: a hierarchy that is there already, so that nothing new is made.
fn groups() -> Vec<Verdict> {
    let _ = fs::create_dir("/tmp/cgroup");
    let mount = |kind: &std::ffi::CStr, options: &std::ffi::CStr| {
        let args = [at(c"none"), at(c"/tmp/cgroup"), at(kind), 0, at(options)];
        refused(call(nr::__NR_mount, args)).of(&format!("mount {}:", kind.to_string_lossy()))
    };
    let has_v1 =
        fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.contains(":memory:"));
    let v1 = has_v1.then(|| mount(c"cgroup", c"memory"));
    v1.into_iter().chain((!has_v1).then(|| mount(c"cgroup2", c""))).collect()
}

/// CVE-2022-0492: a group's program at its end runs as the host's root.
pub(crate) fn release_agent(_: &Stage) -> Verdict {
    let mounted = groups();
    let files = ["/tmp/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent"];
    all(files.map(|file| opens(file, O_WRONLY)).into_iter().chain(mounted))
}

/// Groups of others: their limits and members.
pub(crate) fn groups_of_others(_: &Stage) -> Verdict {
    let mounted = groups();
    let files = ["cgroup.procs", "memory.limit_in_bytes", "memory.max"];
    let files = files.map(|file| opens(&format!("/tmp/cgroup/{file}"), O_WRONLY));
    let shown = opens("/sys/fs/cgroup", O_RDONLY);
    all(files.into_iter().chain(mounted).chain([shown]))
}

pub(crate) fn place_of_group(_: &Stage) -> Verdict {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let outside = text.lines().find(|line| !line.ends_with(":/"));
    outside.map_or(Blocked("all are /".into()), |_| Open("shows its path on the host".into()))
}

pub(crate) fn filter_is_on(_: &Stage) -> Verdict {
    match status("self", "Seccomp").as_deref() {
        Some("2") => Blocked("a filter".into()),
        other => Open(format!("Seccomp: {other:?}")),
    }
}
