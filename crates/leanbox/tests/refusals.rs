//! What a hostile program tries and must not get: `attack.c` tries, the table says how each try
//! has to fail.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{attack, hostile, run, template};
use leanbox::{Command, End, Policy, Pool, Rootfs, Template};
use std::collections::BTreeMap;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EBADF: i32 = 9;
const EACCES: i32 = 13;
const EROFS: i32 = 30;
const ENOSYS: i32 = 38;
const EAFNOSUPPORT: i32 = 97;

/// Names of tries, and the errnos of which one must come of each.
const REFUSED: &[(&[i32], &str)] = &[
    (
        &[EPERM],
        "mount bind remount umount unmask fsopen open_tree move_mount mount_setattr \
         unshare_user unshare_mount unshare_net setns clone_newuser chroot pivot_root \
         ptrace_1 seize_1 kill_1 stop_1 pidfd_kill_1 pidfd_getfd_1 prlimit_1 affinity_1 priority_1 \
         vm_readv_1 keyctl add_key request_key bpf io_uring perf_event userfaultfd init_module \
         kexec reboot swapon sethostname settimeofday syslog open_by_handle quotactl fanotify \
         mknod_null mknod_disk capset ambient setuid_launcher setgid setgroups \
         socket_raw socket_packet tiocsti tiocsti_high_bits tioclinux write_lease read_lease",
    ),
    (&[ENOSYS], "clone3 past_the_last_call"),
    (&[EAFNOSUPPORT], "socket_alg socket_vsock"),
    (
        &[EACCES, EPERM],
        "proc_1_mem proc_1_environ proc_1_maps proc_1_fd proc_1_root proc_1_exe proc_1_ns \
         proc_1_oom oom_lower uid_map setgroups_file kmsg",
    ),
    (
        &[EROFS, EACCES],
        "proc_sys_hostname proc_sys_shmmax proc_sys_core proc_sys_ipv4 sysrq mknod_dev dev_file \
         dev_chmod root_file root_write root_chmod root_xattr",
    ),
];
#[cfg(target_arch = "x86_64")]
const REFUSED_OF_ARCH: &[(&[i32], &str)] = &[(&[ENOSYS], "x32_getpid"), (&[EPERM], "iopl")];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OF_ARCH: &[(&[i32], &str)] = &[];

/// What may fail otherwise: not every kernel has that file, and a user cannot open the other.
const OTHERWISE: &[(&str, i32)] = &[("sysrq", ENOENT), ("read_lease", EBADF)];

fn assert_all_refused(tries: &str) {
    let mut seen: BTreeMap<&str, i32> = tries
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, errno)| (name, errno.parse().unwrap()))
        .collect();
    let mut wrong = Vec::new();
    for (errnos, names) in REFUSED.iter().chain(REFUSED_OF_ARCH) {
        for name in names.split_whitespace() {
            let got = seen.remove(name).unwrap_or_else(|| panic!("{name} was not tried"));
            // The number of a namespace that is the container's own as well.
            let shown =
                (name, got) == ("proc_1_ns", 0) && leanbox::probe::kernel_version() < (6, 1);
            if !errnos.contains(&got) && !OTHERWISE.contains(&(name, got)) && !shown {
                wrong.push(format!("{name}: {got}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not refused as they should be: {wrong:?}");
    assert!(seen.is_empty(), "tries that the table does not know: {seen:?}");
}

#[test]
fn root_inside_is_refused_everything_that_reaches_out() {
    let root = hostile("refused-root");
    for policy in [Policy::Once, Policy::Reuse] {
        assert_all_refused(&attack(&Pool::new(&template(&root, policy), 0).unwrap(), &["refused"]));
    }
}

#[test]
fn a_user_inside_is_refused_everything_that_reaches_out() {
    let root = hostile("refused-user");
    let template = Template::builder(Rootfs::open(&root.0).unwrap()).user("app").build().unwrap();
    let pool = Pool::new(&template, 0).unwrap();
    assert_all_refused(&attack(&pool, &["refused"]));
    assert_all_refused(&run(&pool, "attack-as-root", &["refused"]));
}

#[test]
fn calls_of_a_foreign_architecture_kill() {
    const SIGSYS: i32 = 31;
    let root = hostile("foreign");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let outcome = Command::new("attack").arg("foreign-call").output(&pool).unwrap();
    assert_eq!(outcome.end, End::Signaled(SIGSYS));
}

#[test]
fn nobody_can_make_other_slots_or_the_host_wait_for_a_file() {
    let root = hostile("lease");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut command = Command::new("attack");
    let held = command.args(["lease", "/etc/group"]).spawn(&pool).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let began = std::time::Instant::now();
    std::fs::read(root.0.join("etc/group")).unwrap();
    assert!(began.elapsed().as_secs() < 5, "an open waited {:?} for a lease", began.elapsed());
    drop(held);
}

#[test]
fn a_process_that_holds_back_an_end_holds_nobody_up() {
    let root = hostile("held-end");
    for policy in [Policy::Once, Policy::Reuse] {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        let began = std::time::Instant::now();
        Command::new("attack").arg("held-end").output(&pool).unwrap();
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        assert_eq!(attack(&pool, &["ids"]), "0 0");
    }
}
