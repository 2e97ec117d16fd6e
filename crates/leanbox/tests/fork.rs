//! The call that returns twice: the child is a copy of the caller, inside the template.

#![allow(unsafe_code, clippy::unwrap_used, reason = "the mode itself is unsafe; tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, busybox, field, template};
use leanbox::{End, ErrorKind, Forked, ForkedChild, Limits, Policy, Rootfs, Template};
use std::time::Duration;

/// Forks a child that does only `inside`, which may do nothing but system calls, and ends with
/// its code.
fn forked(template: &Template, inside: fn() -> i32) -> ForkedChild {
    // SAFETY: every `inside` of these tests makes system calls on values of its own stack and
    // ends; it takes no lock and allocates nothing.
    match unsafe { template.fork() }.unwrap() {
        Forked::Parent(child) => child,
        Forked::Child(child) => {
            let code = inside();
            child.exit(code)
        }
    }
}

fn of(root: &Folder) -> Template {
    template(root, Policy::Once)
}

fn sleep_long() -> i32 {
    let _ = rustix::thread::nanosleep(&rustix::thread::Timespec { tv_sec: 20, tv_nsec: 0 });
    0
}

#[test]
fn both_sides_return_and_the_parent_learns_the_code() {
    let root = busybox("fork-code");
    let template = of(&root);
    assert_eq!(forked(&template, || 0).wait().unwrap(), End::Exited(0));
    assert_eq!(forked(&template, || 42).wait().unwrap(), End::Exited(42));
    assert_eq!(template.fork_noop().unwrap().wait().unwrap(), End::Exited(0));
}

#[test]
fn the_child_sees_the_root_file_system_as_its_root() {
    let root = busybox("fork-root");
    let template = of(&root);
    let seen = forked(&template, || {
        let note = rustix::fs::stat(c"/home/app/note").is_ok();
        let outside = rustix::fs::stat(c"/usr").is_ok() || rustix::fs::stat(c"/../usr").is_ok();
        let read_only = rustix::fs::mkdir(c"/x", rustix::fs::Mode::from_raw_mode(0o700));
        let scratch = rustix::fs::mkdir(c"/tmp/x", rustix::fs::Mode::from_raw_mode(0o700));
        i32::from(note && !outside && read_only == Err(rustix::io::Errno::ROFS) && scratch.is_ok())
    });
    assert_eq!(seen.wait().unwrap(), End::Exited(1));
}

#[test]
fn the_child_has_the_templates_host_name() {
    let root = busybox("fork-name");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).hostname("inside");
    let template = builder.build().unwrap();
    let child = forked(&template, || i32::from(rustix::system::uname().nodename() == c"inside"));
    assert_eq!(child.wait().unwrap(), End::Exited(1));
    assert_ne!(rustix::system::uname().nodename(), c"inside");
}

#[test]
fn the_child_has_other_namespaces_than_its_parent() {
    let root = busybox("fork-namespaces");
    let template = of(&root);
    let child = forked(&template, sleep_long);
    let link =
        |pid: &str, name: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    let entered = host::within(Duration::from_secs(5), || {
        let pid = child.pid().to_string();
        ["mnt", "uts", "ipc", "net"].iter().all(|name| link(&pid, name) != link("self", name))
    });
    leanbox_sys::process::kill(child.pid(), 9).unwrap();
    assert!(entered);
    assert_eq!(child.wait().unwrap(), End::Signaled(9));
}

/// A template's first group: here that of the forked children.
fn is_first(folder: &std::path::Path) -> bool {
    folder.to_string_lossy().ends_with("-first")
}

#[test]
fn children_join_the_templates_group_and_its_limits() {
    let root = busybox("fork-group");
    let limits = Limits { pids_max: 30, ..Limits::default() };
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).limits(limits);
    let template = builder.build().unwrap();
    let children: Vec<ForkedChild> = (0..5).map(|_| forked(&template, sleep_long)).collect();
    let inside = |pid: i32| {
        let groups = host::groups_of(pid);
        let limited = groups.iter().filter(|(name, folder)| {
            ["memory", "pids", ""].contains(&name.as_str()) && is_first(folder)
        });
        limited.count() > 0
    };
    let joined =
        host::within(Duration::from_secs(5), || children.iter().all(|child| inside(child.pid())));
    for child in children {
        leanbox_sys::process::kill(child.pid(), 9).unwrap();
        child.wait().unwrap();
    }
    assert!(joined);
}

#[test]
fn a_child_is_the_callers_own_and_told_by_a_pidfd() {
    let root = busybox("fork-pidfd");
    let template = of(&root);
    let child = forked(&template, || 3);
    assert_eq!(host::parent_of(child.pid()), i32::try_from(std::process::id()).unwrap());
    let pidfd = child.pidfd().unwrap();
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut fds, None).unwrap(), 1);
    assert_eq!(child.wait().unwrap(), End::Exited(3));
}

#[test]
fn the_child_has_no_new_rights_and_the_callers_ids() {
    let root = busybox("fork-ids");
    let template = of(&root);
    let child = forked(&template, sleep_long);
    let (ours, theirs) =
        (host::status(std::process::id().try_into().unwrap()), host::status(child.pid()));
    for key in ["Uid", "Gid", "CapEff", "CapBnd"] {
        assert_eq!(field(&ours, key), field(&theirs, key), "{key}");
    }
    leanbox_sys::process::kill(child.pid(), 9).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_template_can_go_while_its_child_runs_on_and_its_group_goes_after_it() {
    let root = busybox("fork-outlived");
    let template = of(&root);
    let child = forked(&template, sleep_long);
    let groups = || {
        let groups = host::groups_of(child.pid()).into_values();
        groups.filter(|folder| is_first(folder)).collect::<Vec<_>>()
    };
    assert!(host::within(Duration::from_secs(5), || !groups().is_empty()));
    let groups = groups();
    let began = std::time::Instant::now();
    drop(template);
    let took = began.elapsed();
    leanbox_sys::process::kill(child.pid(), 9).unwrap();
    child.wait().unwrap();
    assert!(took < Duration::from_secs(10), "{took:?}");
    leanbox::reclaim().unwrap();
    assert!(groups.iter().all(|folder| !folder.exists()), "{groups:?}");
}

#[test]
fn a_writable_root_cannot_be_forked_into() {
    if !common::has_writable_roots() {
        return;
    }
    let folder = common::folder("fork-overlay");
    for name in ["lower", "upper/diff", "upper/work"] {
        std::fs::create_dir_all(folder.0.join(name)).unwrap();
    }
    let rootfs = Rootfs::overlay(&[folder.0.join("lower")], &folder.0.join("upper")).unwrap();
    let template = Template::builder(rootfs).build().unwrap();
    assert_eq!(template.fork_noop().unwrap_err().kind(), ErrorKind::InvalidInput);
}
