//! What a hostile program finds out about itself and the host: nothing that it should not.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/host.rs"]
mod host;
mod network;

use common::{attack, busybox, field, hostile, run, says, template};
use leanbox::{Command, Limits, Policy, Pool, Rootfs, Stdio, Template};
use std::collections::HashSet;
use std::fs;
use std::time::Duration;

fn once(root: &common::Folder) -> Pool {
    Pool::new(&template(root, Policy::Once), 0).unwrap()
}

fn as_user(root: &common::Folder, user: &str) -> Pool {
    let rootfs = Rootfs::open(&root.0).unwrap();
    Pool::new(&Template::builder(rootfs).user(user).build().unwrap(), 0).unwrap()
}

#[test]
fn nobody_inside_has_any_capability() {
    let root = busybox("capabilities");
    for pool in [once(&root), as_user(&root, "app")] {
        let status = run(&pool, "cat", &["/proc/self/status"]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(&status, set), "0000000000000000", "{set}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1");
        assert_eq!(field(&status, "Seccomp"), "2");
    }
}

#[test]
fn capabilities_that_were_added_are_the_only_ones() {
    let root = busybox("added");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    let template = builder.cap_add("CHOWN".parse().unwrap()).build().unwrap();
    let status = run(&Pool::new(&template, 0).unwrap(), "cat", &["/proc/self/status"]);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(&status, set), "0000000000000001", "{set}");
    }
}

#[test]
fn root_inside_is_nobody_on_the_host() {
    let root = busybox("ids");
    for pool in [once(&root), as_user(&root, "app")] {
        let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
        let pid = host::pid_of(&container);
        for pid in [pid, host::parent_of(pid)] {
            for key in ["Uid", "Gid"] {
                let ids = field(&host::status(pid), key);
                let ids: Vec<u32> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
                assert!(ids.iter().all(|id| *id >= host::FIRST_ID), "{key} {ids:?}");
            }
            let groups = field(&host::status(pid), "Groups");
            let groups = groups.split_whitespace().map(|id| id.parse::<u32>().unwrap());
            assert!(groups.into_iter().all(|id| id >= host::FIRST_ID));
        }
    }
}

#[test]
fn the_launcher_has_another_user_than_the_container() {
    let root = busybox("launcher");
    let pool = once(&root);
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let pid = host::pid_of(&container);
    let uid = |pid| field(&host::status(pid), "Uid");
    assert_ne!(uid(pid), uid(host::parent_of(pid)));
    let launcher =
        says(&pool, "grep -E '^(Uid|Gid|CapInh|CapAmb|NoNewPrivs|Seccomp)' /proc/1/status");
    assert_eq!(field(&launcher, "Uid"), "65535 65535 65535 65535");
    assert_eq!(field(&launcher, "NoNewPrivs"), "1");
    assert_eq!(field(&launcher, "Seccomp"), "2");
    assert_eq!(field(&launcher, "CapInh"), field(&launcher, "CapAmb"));
}

#[test]
fn two_slots_never_share_an_id_or_a_namespace() {
    let root = busybox("blocks");
    let (first, second) = (template(&root, Policy::Once), template(&root, Policy::Reuse));
    let pools = [&first, &first, &second].map(|template| Pool::new(template, 3).unwrap());
    let mut seen = HashSet::new();
    let mut running = Vec::new();
    for pool in pools.iter().cycle().take(24) {
        let container = Command::new("sleep").arg("60").spawn(pool).unwrap();
        let pid = host::pid_of(&container);
        let uid = field(&host::status(pid), "Uid");
        let uid: u32 = uid.split(' ').next().unwrap().parse().unwrap();
        let new_block = seen.insert(format!("block {}", (uid - host::FIRST_ID) / 65536));
        assert!(new_block || !common::maps_ids(), "block shared");
        for name in ["user", "pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            let link = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
            assert!(seen.insert(link.display().to_string()), "{name} shared");
            assert_ne!(link, fs::read_link(format!("/proc/self/ns/{name}")).unwrap());
        }
        running.push(container);
    }
}

#[test]
fn only_two_processes_are_visible() {
    let root = busybox("ps");
    assert_eq!(says(&once(&root), "set -- /proc/[0-9]*; echo $#; echo $$"), "2\n2");
    assert_eq!(run(&once(&root), "ps", &[]).lines().count(), 3); // a head line, pid 1, ps
}

#[test]
fn no_mount_of_the_host_is_visible() {
    let root = busybox("mounts");
    let mounts = run(&once(&root), "cat", &["/proc/self/mountinfo"]);
    let allowed = ["/", "/dev", "/dev/shm", "/proc", "/tmp"];
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (from, point) = (words[3], words[4]);
        let ours = allowed.contains(&point) || point.starts_with("/proc/");
        assert!(ours, "{line}");
        // A bind shows where in its file system it comes from; nobody can hide that.
        assert!(point == "/" || !from.contains("leanbox-test"), "{line}");
        let read_only = words[5].split(',').any(|option| option == "ro");
        assert!(read_only || ["/tmp", "/dev/shm", "/proc"].contains(&point), "{line}");
        assert!(words[5].contains("nosuid"), "{line}");
    }
}

#[test]
fn no_file_of_the_host_is_in_reach() {
    let root = hostile("files");
    let pool = once(&root);
    assert_eq!(
        says(&pool, "ls -i -d / /.. /../../.. | tr -s ' ' | cut -d' ' -f1 | sort -u | wc -l"),
        "1"
    );
    assert_eq!(says(&pool, "ls /../../../"), "bin\ndev\netc\nhome\nproc\nroot\ntmp");
    assert_eq!(says(&pool, "ls /proc/self/root/../ /proc/self/cwd/../../ | grep -c usr"), "0");
    assert_eq!(
        says(&pool, "cd /tmp && mkdir -p a/b && cd a/b && ls ../../../../../../ | wc -l"),
        "7"
    );
    assert_eq!(
        says(&pool, "chroot /tmp true 2>&1"),
        "chroot: can't change root directory to '/tmp': Operation not permitted"
    );
    assert_eq!(says(&pool, "test -e /sys/kernel || echo none"), "none");
}

#[test]
fn the_host_name_and_the_cgroup_are_its_own() {
    let root = busybox("name");
    let pool = once(&root);
    assert_eq!(says(&pool, "hostname"), "leanbox");
    for line in run(&pool, "cat", &["/proc/self/cgroup"]).lines() {
        assert!(line.ends_with(":/"), "{line}");
    }
}

#[test]
fn masked_files_are_empty_and_steering_ones_read_only() {
    let root = busybox("masks");
    let pool = once(&root);
    let files = "interrupts kcore keys latency_stats sched_debug timer_list timer_stats";
    let script = format!(
        "for f in {files}; do test -e /proc/$f && cat /proc/$f; done; ls /proc/acpi /proc/asound /proc/scsi 2>/dev/null | grep -v :$"
    );
    assert_eq!(says(&pool, &script), "");
    for path in ["sys", "bus", "fs", "irq", "sysrq-trigger"] {
        let script = format!(
            "test -e /proc/{path} || exit 0; grep ' /proc/{path} ' /proc/self/mountinfo | cut -d' ' -f6 | grep -o ^ro"
        );
        let seen = says(&pool, &script);
        assert!(
            seen == "ro" || (seen.is_empty() && !fs::exists(format!("/proc/{path}")).unwrap()),
            "{path}: {seen:?}"
        );
    }
}

#[test]
fn devices_are_the_six_that_every_program_expects() {
    let root = busybox("devices");
    let pool = once(&root);
    assert_eq!(
        says(&pool, "cd /dev; find . -type c -o -type b | sort | tr '\\n' ' '"),
        "./full ./null ./random ./tty ./urandom ./zero"
    );
    assert_eq!(
        says(
            &pool,
            "head -c 3 /dev/zero | wc -c; echo x >/dev/null; head -c 3 /dev/urandom | wc -c"
        ),
        "3\n3"
    );
    assert_eq!(
        says(&pool, "mknod /tmp/x c 1 3 2>&1; test -e /tmp/x || echo none"),
        "mknod: /tmp/x: Operation not permitted\nnone"
    );
}

#[test]
fn scratch_is_bounded_in_bytes_and_files() {
    let root = busybox("scratch");
    let limits = Limits { tmp_max_bytes: 4 << 20, ..Limits::default() };
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).limits(limits);
    let pool = Pool::new(&builder.build().unwrap(), 0).unwrap();
    for folder in ["/tmp", "/dev/shm"] {
        let script =
            format!("head -c 100000000 /dev/zero 2>/dev/null >{folder}/x; stat -c %s {folder}/x");
        assert_eq!(says(&pool, &format!("{script} 2>&1")).lines().last().unwrap(), "4194304");
    }
}

#[test]
fn only_the_slots_own_null_streams_are_open() {
    let root = hostile("descriptors");
    let pool = once(&root);
    // What the host has open, on purpose without close-on-exec, must not come along.
    let leaked =
        rustix::io::fcntl_dupfd_cloexec(fs::File::open("/etc/passwd").unwrap(), 200).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let mut command = Command::new("attack");
    command.arg("descriptors").stderr(Stdio::Null);
    let outcome = command.output(&pool).unwrap();
    let seen = String::from_utf8(outcome.stdout.bytes).unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    let null = lines[3].strip_prefix("null ").unwrap();
    assert_eq!(lines[0], format!("0 {null}"));
    assert!(lines[1].starts_with("1 other "), "{seen}");
    assert_eq!(lines[2], format!("2 {null}"));
    assert_eq!(lines.len(), 4, "{seen}");
}

#[test]
fn keeper_and_launcher_have_nothing_that_the_host_has_open() {
    let root = busybox("keeper-descriptors");
    let leaked = fs::File::open(root.0.join("etc/passwd")).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let template = template(&root, Policy::Reuse);
    let pool = Pool::new(&template, 0).unwrap();
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let launcher = host::parent_of(host::pid_of(&container));
    // The mailboxes of all slots are the keeper's; a launcher has its own page mapped, no more.
    for (pid, memory) in [
        (template.keeper_pid(), ["/memfd:leanbox-mailboxes", "net:", "/proc/1/net"]),
        (launcher, ["/dev/null"; 3]),
    ] {
        let mut others = Vec::new();
        let none_other = || {
            let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            // One that is closed meanwhile has no link any more.
            let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
            let ours = ["socket:", "mnt:", "user:", "anon_inode:[pidfd]", "/dev/null"];
            let known = || ours.iter().chain(&memory);
            others = links.map(|link| link.display().to_string()).collect();
            others.retain(|link| !known().any(|known| link.starts_with(known)));
            others.is_empty()
        };
        // A launcher closes what it has just handed over while its container may run already.
        assert!(host::within(Duration::from_secs(5), none_other), "{others:?}");
    }
}

#[test]
fn a_debugger_inside_does_not_get_at_the_launcher() {
    let root = hostile("debugger");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    let template = builder.cap_add("SYS_PTRACE".parse().unwrap()).build().unwrap();
    let tries = attack(&Pool::new(&template, 0).unwrap(), &["refused"]);
    let reaching =
        ["ptrace_1", "seize_1", "vm_readv_1", "pidfd_getfd_1", "proc_1_mem", "proc_1_environ"];
    for name in reaching {
        let line = tries.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!([" 1", " 13"].contains(&line), "{name}{line}");
    }
}

#[test]
fn signals_are_as_if_nobody_had_touched_them() {
    let root = busybox("signals");
    // This process ignores SIGPIPE (Rust's runtime does), and now has signals blocked too.
    let status = std::thread::spawn(move || {
        let old = leanbox_sys::process::set_signal_mask(!0).unwrap();
        let status = run(&once(&root), "cat", &["/proc/self/status"]);
        leanbox_sys::process::set_signal_mask(old).unwrap();
        status
    });
    let status = status.join().unwrap();
    for key in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        assert_eq!(field(&status, key), "0000000000000000", "{key}");
    }
}

#[test]
fn file_creation_mask_and_limits_are_stated_ones() {
    let root = busybox("limits");
    let pool = once(&root);
    assert_eq!(field(&run(&pool, "cat", &["/proc/self/status"]), "Umask"), "0022");
    let limits = run(&pool, "cat", &["/proc/self/limits"]);
    let hard = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_string()
    };
    assert_eq!(hard("Max core file size"), "0");
    for name in ["Max open files", "Max locked memory", "Max stack size", "Max msgqueue size"] {
        assert_ne!(hard(name), "unlimited", "{name}");
    }
}

#[test]
fn default_limits_are_never_unlimited() {
    let root = busybox("groups");
    let pool = once(&root);
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let pid = host::pid_of(&container);
    let groups = host::groups_of(pid);
    let read = |names: &[&str]| -> u64 {
        let text = groups.values().flat_map(|folder| names.iter().map(|n| folder.join(n)));
        let text = text.filter_map(|path| fs::read_to_string(path).ok()).next();
        text.expect("a limit").trim().parse().expect("a number, not \"max\"")
    };
    assert_eq!(read(&["memory.limit_in_bytes", "memory.max"]), Limits::default().memory_max_bytes);
    assert_eq!(read(&["pids.max"]), u64::from(Limits::default().pids_max) + 1);
    assert_eq!(host::groups_of(host::parent_of(pid)), groups, "the launcher is in the same groups");
}

#[test]
fn a_set_id_program_gives_nothing() {
    let root = hostile("set-id");
    let pool = as_user(&root, "app");
    assert_eq!(run(&pool, "attack-as-root", &["ids"]), "1000 1000");
}

#[test]
fn a_host_that_the_oom_killer_spares_does_not_pass_that_on() {
    let root = busybox("spared");
    let before = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    if fs::write("/proc/self/oom_score_adj", "-900").is_err() {
        eprintln!("NOT TESTED: this machine does not give CAP_SYS_RESOURCE");
        return;
    }
    let adjusted = run(&once(&root), "cat", &["/proc/self/oom_score_adj"]);
    fs::write("/proc/self/oom_score_adj", before.trim()).unwrap();
    assert_eq!(adjusted, "0");
}

#[test]
fn a_link_in_an_image_moves_no_mount_elsewhere() {
    for (name, target) in
        [("dev", "/new/etc"), ("dev", "etc"), ("dev", "/t"), ("proc", "/new/etc"), ("proc", "etc")]
    {
        let lower = busybox("links");
        fs::remove_dir(lower.0.join(name)).unwrap();
        std::os::unix::fs::symlink(target, lower.0.join(name)).unwrap();
        let upper = common::upper("links-upper");
        let started = Rootfs::overlay(std::slice::from_ref(&lower.0), &upper.0)
            .and_then(|rootfs| Template::builder(rootfs).build())
            .and_then(|template| Pool::new(&template, 0))
            .and_then(|pool| Command::new("cat").arg("/proc/self/mountinfo").output(&pool));
        // Refused, or as isolated as without the link.
        if let Ok(outcome) = started {
            let mounts = String::from_utf8(outcome.stdout.bytes).unwrap();
            for point in [" /dev ", " /proc ", " /proc/sys ", " /proc/kcore "] {
                assert!(mounts.contains(point), "{name} -> {target}: {mounts}");
            }
        }
    }
}

#[test]
fn the_hostile_program_is_started_as_all_others() {
    let root = hostile("started");
    assert_eq!(attack(&once(&root), &["ids"]), "0 0");
}
