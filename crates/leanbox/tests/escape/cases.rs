//! The cases: name, the hole that is tried, who tries it. Data only.

use crate::attacks::{
    devices, ids, kernel, launcher, left, mounts, neighbours, network, proc, root,
};
use crate::images;
use crate::stage::Stage;
use crate::verdict::Verdict;
use std::path::Path;

/// How a case is tried.
#[derive(Clone, Copy)]
pub(crate) enum Attack {
    /// By a program inside.
    Inside(fn(&Stage) -> Verdict),
    /// By a program inside that has the host's network.
    Networked(fn(&Stage) -> Verdict),
    /// By two, one after the other in a slot that serves again.
    Twice(fn(&Stage), fn(&Stage) -> Verdict),
    /// By a root file system: it makes out of a good one a hostile one, given a folder of the
    /// host's that a mount must not go to.
    Image(fn(&Path, &Path)),
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) hole: &'static str,
    pub(crate) attack: Attack,
}

const fn inside(name: &'static str, hole: &'static str, by: fn(&Stage) -> Verdict) -> Case {
    Case { name, hole, attack: Attack::Inside(by) }
}

const fn networked(name: &'static str, hole: &'static str, by: fn(&Stage) -> Verdict) -> Case {
    Case { name, hole, attack: Attack::Networked(by) }
}

const fn twice(
    name: &'static str,
    hole: &'static str,
    leave: fn(&Stage),
    find: fn(&Stage) -> Verdict,
) -> Case {
    Case { name, hole, attack: Attack::Twice(leave, find) }
}

const fn image(name: &'static str, hole: &'static str, make: fn(&Path, &Path)) -> Case {
    Case { name, hole, attack: Attack::Image(make) }
}

impl Case {
    /// Whether this kernel can block it: SECURITY.md says what is in reach with the host's network
    /// on an older one.
    pub(crate) fn is_promised(&self) -> bool {
        !matches!(self.attack, Attack::Networked(_)) || leanbox::probe::scopes_sockets()
    }
}

pub(crate) fn find(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}"))
}

pub(crate) const CASES: &[Case] = &[
    inside("dots", "`..` above the root", root::dots),
    inside("chroot", "chroot, then up by an open folder", root::chroot),
    inside("descriptors", "a folder of the host's left open (CVE-2024-21626)", root::descriptors),
    inside("working-directory", "one outside the root (CVE-2024-21626)", root::working_directory),
    inside("launcher-root", "`/proc/1/root`", root::root_of_launcher),
    inside("launcher-cwd", "`/proc/1/cwd`", root::directory_of_launcher),
    inside("any-root", "`/proc/PID/root` of every process", root::root_of_any_process),
    inside("file-handle", "open_by_handle_at of inode 2 (shocker)", root::handle),
    inside("hard-link", "a second name for a file of the root", root::hard_link),
    inside("symbolic-link", "a link in `/tmp` to the host", root::symbolic_link),
    inside("shared-root", "writing what all slots on the root read", root::write_to_the_root),
    // The launcher.
    inside(
        "launcher-program",
        "`/proc/1/exe` overwritten (CVE-2019-5736)",
        root::program_of_launcher,
    ),
    inside("mailbox", "memory that is left from before the exec", root::launchers_memory_is_left),
    inside("launcher-socket", "forged reports over its socket", root::launchers_socket_is_left),
    inside("ptrace", "attach to and seize the launcher", launcher::trace),
    inside("launcher-mem", "`/proc/1/mem`", launcher::memory_file),
    inside("launcher-maps", "`/proc/1/maps` and others that show memory", launcher::maps),
    inside("launcher-environ", "`/proc/1/environ`", launcher::environment),
    inside("launcher-fds", "pidfd_getfd, `/proc/1/fd`", launcher::descriptors),
    inside("vm-readv", "process_vm_readv", launcher::read_memory),
    inside("vm-writev", "process_vm_writev", launcher::write_memory),
    inside("madvise", "process_madvise, move_pages", launcher::advise_memory),
    inside("kcmp", "kcmp with the launcher", launcher::compare),
    inside("signals", "all 64 signals to the launcher", launcher::signals),
    inside("other-signals", "tgkill, sigqueue, pidfd", launcher::signals_by_other_calls),
    inside("kill-all", "`kill -1`", launcher::signal_to_all),
    inside("sigio", "F_SETOWN and SIGIO", launcher::signal_by_descriptor),
    inside("prlimit", "limits of the launcher", launcher::limits),
    inside("oom-score", "OOM score of the launcher", launcher::oom_score),
    inside("scheduling", "priority, CPUs, policy, I/O class of it", launcher::scheduling),
    inside("launcher-files", "other files of `/proc/1`, for writing", launcher::other_files),
    inside("process-group", "setpgid of the launcher", launcher::process_group),
    inside("launcher-ns", "`/proc/1/ns`", launcher::namespaces),
    // Files that steer the host.
    inside("core-pattern", "a program run at the next crash", proc::core_pattern),
    inside("modprobe-path", "a program run for the next module", proc::modprobe_path),
    inside("uevent-helper", "a program run at the next event", proc::uevent_helper),
    inside("binfmt-misc", "an interpreter for the host's programs", proc::binfmt_misc),
    inside("release-agent", "a program run by a group (CVE-2022-0492)", proc::release_agent),
    inside("sysrq", "`sysrq-trigger`", proc::sysrq),
    inside("proc-sys", "the kernel's settings", proc::settings),
    inside("id-maps", "`uid_map`, `gid_map`, `setgroups`", proc::id_maps),
    inside("oom-spared", "an OOM score below 0", proc::spared_by_oom_killer),
    inside("hardware", "mtrr, acpi, scsi, pci", proc::hardware),
    inside("sysfs", "`/sys`", proc::sysfs),
    inside("debugfs", "debugfs", proc::debugfs),
    inside("tracefs", "tracefs", proc::tracefs),
    inside("groups-of-others", "groups of other containers", proc::groups_of_others),
    // Files that tell about the host.
    inside("group-place", "where its group is on the host", proc::place_of_group),
    inside("kcore", "`/proc/kcore`", proc::kcore),
    inside("kallsyms", "addresses of the kernel", proc::symbols),
    inside("iomem", "physical addresses", proc::physical_addresses),
    inside("kpageflags", "page tables, slabs, page frames", proc::pages),
    inside("sched-debug", "scheduler and timers", proc::scheduler),
    inside("proc-keys", "keys of the host", proc::keys),
    inside("interrupts", "interrupts and their CPUs", proc::interrupts),
    // Devices.
    inside("mknod-char", "a character device", devices::character),
    inside("mknod-block", "a block device", devices::block),
    inside("dev-mem", "`/dev/mem`", devices::memory),
    inside("dev-kmsg", "`/dev/kmsg`, `/proc/kmsg`", devices::messages),
    inside("dev-port", "`/dev/port`", devices::ports),
    inside("dev-fuse", "`/dev/fuse`", devices::fuse),
    inside("dev-tun", "`/dev/net/tun`", devices::tunnel),
    inside("dev-others", "kvm, vhost, loop, userfaultfd", devices::machines),
    inside("dev-folder", "a new entry in `/dev`", devices::folder_of_devices),
    inside("tiocsti", "typing into the terminal", devices::terminal_input),
    inside("tioclinux", "pasting on the console", devices::console_selection),
    // Identities.
    inside("root-is-root", "user 0 inside is user 0 outside", ids::root_of_the_host),
    inside("set-id", "a set-user-id program of the image", ids::set_id_program),
    inside("file-capabilities", "a program with capabilities", ids::file_capabilities),
    inside("no-new-privs", "unsetting it", ids::no_new_privileges),
    inside("securebits", "securebits", ids::secure_bits),
    inside("capset", "capset", ids::capset),
    inside("ambient", "ambient capabilities", ids::ambient),
    inside("bounding-set", "capabilities that an exec could give", ids::bounding_set),
    inside("setuid", "setuid and setgid to others", ids::other_users),
    inside("setgroups", "setgroups", ids::groups),
    inside("keyrings", "keyctl, add_key, request_key", ids::keyrings),
    inside("core-dumps", "core dumps, which the host's pattern gets", ids::coredumps),
    // Namespaces and mounts.
    inside("unshare-user", "a user namespace by unshare", mounts::unshare_user),
    inside("clone-user", "a user namespace by clone", mounts::clone),
    inside("clone3-user", "a user namespace by clone3", mounts::clone3),
    inside("unshare-others", "the seven other namespaces", mounts::unshare_others),
    inside("setns", "setns by pidfd and file", mounts::setns),
    inside("mount", "mount of a tmpfs", mounts::new_tmpfs),
    inside("bind", "a bind mount", mounts::bind),
    inside("remount", "remount for writing", mounts::remount),
    inside("unmask", "umount of a mask", mounts::unmask),
    inside("mount-proc", "a new, unmasked `/proc`", mounts::new_proc),
    inside("mount-dev", "a new `/dev`", mounts::new_devices),
    inside("mount-overlay", "an overlay of one's own", mounts::overlay),
    inside(
        "new-mount-calls",
        "fsopen, open_tree, move_mount, mount_setattr",
        mounts::new_interface,
    ),
    inside("pivot-root", "pivot_root", mounts::pivot_root),
    // The kernel.
    inside("no-filter", "calls without a filter", proc::filter_is_on),
    inside("io-uring", "calls past the filter by io_uring", kernel::io_uring),
    inside("bpf", "bpf", kernel::bpf),
    inside("perf", "perf_event_open", kernel::perf),
    inside("userfaultfd", "userfaultfd", kernel::userfaultfd),
    inside("kexec", "another kernel", kernel::kexec),
    inside("modules", "modules", kernel::modules),
    inside("clock", "the machine's clock", kernel::clock),
    inside("syslog", "the kernel's messages", kernel::log),
    inside("iopl", "iopl, ioperm", kernel::io_ports),
    inside("quota", "quotactl", kernel::quotas),
    inside("swap", "swapon, swapoff", kernel::swap),
    inside("reboot", "reboot", kernel::reboot),
    inside("host-name", "sethostname, setdomainname", kernel::host_name),
    inside("acct", "process accounting", kernel::accounting),
    inside("personality", "no randomisation, pages at 0", kernel::personality),
    inside("numa", "mbind, migrate_pages", kernel::memory_places),
    inside("fanotify", "answers to other's opens", kernel::watch_the_file_system),
    inside("lease", "leases that hold up others' opens", kernel::lease),
    inside("int80", "32-bit calls", kernel::calls_of_32_bit),
    inside("x32", "x32 calls", kernel::calls_of_x32),
    inside("unknown-calls", "numbers that nobody knows", kernel::unknown_calls),
    inside("vsyscall", "a readable page at a fixed address", kernel::vsyscall),
    // The network.
    inside("host-devices", "network devices of the host", network::devices),
    inside("af-alg", "AF_ALG", network::algorithms),
    inside("af-vsock", "AF_VSOCK", network::hypervisor),
    inside("af-packet", "AF_PACKET", network::packets),
    inside("raw-sockets", "raw sockets", network::raw),
    inside("rare-families", "families that load modules", network::rare_families),
    inside("routes", "links, addresses, routes by netlink", network::addresses_and_routes),
    inside("other-netlink", "audit, events of devices", network::other_netlink),
    inside("host-loopback", "services on the host's loopback", network::loopback_of_host),
    inside("host-abstract", "abstract sockets of the host", network::abstract_socket_of_host),
    networked(
        "host-network-abstract",
        "the same with the host's network (CVE-2020-15257)",
        network::abstract_socket_of_host,
    ),
    inside("outside", "a route to other machines", network::outside),
    // Another container of the template.
    inside("neighbour-files", "its `/tmp` and `/dev/shm`", neighbours::files),
    inside("neighbour-pids", "its processes", neighbours::processes),
    inside("neighbour-signals", "signals to them", neighbours::signals),
    inside("neighbour-memory", "memory, environment, root of them", neighbours::memory),
    inside("neighbour-fds", "descriptors of them", neighbours::descriptors),
    inside("neighbour-shm", "System V shared memory", neighbours::shared_memory),
    inside("neighbour-sem-msg", "System V semaphores, messages", neighbours::semaphores),
    inside("neighbour-mq", "POSIX queues", neighbours::queues),
    inside("neighbour-loopback", "its ports", network::loopback_of_neighbour),
    inside("neighbour-abstract", "its abstract sockets", network::abstract_socket_of_neighbour),
    // What an earlier run left in a slot.
    twice("left-files", "files", left::leave_files, left::find_files),
    twice("left-sysv", "System V objects", left::leave_objects, left::find_objects),
    twice("left-mq", "a POSIX queue", left::leave_queue, left::find_queue),
    twice("left-process", "a daemon", left::leave_process, left::find_process),
    twice("left-socket", "a daemon's abstract socket", left::leave_socket, left::find_socket),
    twice("left-lock", "a lock on a file of the root", left::leave_lock, left::find_lock),
    twice(
        "left-settings",
        "limits, priority, mask, OOM score",
        left::leave_settings,
        left::find_settings,
    ),
    twice("left-memory", "memory and environment", left::leave_memory, left::find_memory),
    twice("left-key", "a key", left::leave_key, left::find_key),
    twice("left-watch", "an inotify watch", left::leave_watch, left::find_watch),
    twice("left-place", "working directory, host name", left::leave_place, left::find_place),
    // Root file systems that mean ill (CVE-2021-30465, CVE-2023-27561).
    image("link-dev", "`/dev` is a link to the host's folder", images::dev),
    image("link-dev-up", "`/dev` is a link by `..`", images::dev_up),
    image("link-proc", "`/proc` is a link to the host's folder", images::proc),
    image("link-proc-inside", "`/proc` is a link to a folder inside", images::proc_inside),
    image("link-tmp", "`/tmp` is a link to the host's folder", images::tmp),
    image("link-target", "the target of a bind is a link to the host's folder", images::target),
    image("link-swapped", "`/tmp` and `/proc` are swapped with links meanwhile", images::swapped),
    image("self-exe", "a script for `/proc/self/exe` (CVE-2019-5736)", images::own_program),
];
