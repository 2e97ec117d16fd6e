//! What a mount of the host forbids stays forbidden inside: attributes are added, never replaced.
//! And what a slot mounts stays inside, whatever the host's mounts propagate.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{busybox, folder, has_writable_roots, leave_mounts, says, upper};
use leanbox::{Bind, Policy, Pool, Rootfs, Template};
use rustix::mount::{MountFlags, MountPropagationFlags, mount};
use std::fs;
use std::path::Path;

/// The options of the mount at `point` inside.
fn options(pool: &Pool, point: &str) -> Vec<String> {
    let mounts = says(pool, "cat /proc/self/mountinfo");
    let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(point));
    let options = line.unwrap_or_else(|| panic!("no {point} in {mounts}")).split(' ').nth(5);
    options.unwrap().split(',').map(str::to_string).collect()
}

/// A tmpfs that forbids programs and writing.
fn mount_forbidding(point: &Path) {
    let flags = MountFlags::NOEXEC | MountFlags::NOATIME;
    mount("none", point, "tmpfs", flags, c"mode=755").unwrap();
    fs::copy("/bin/busybox", point.join("true")).unwrap();
    rustix::mount::mount_remount(point, flags | MountFlags::RDONLY, c"mode=755").unwrap();
}

#[test]
fn a_writable_bind_of_what_is_read_only_and_without_programs_is_so_inside() {
    let (root, source) = (busybox("kept"), folder("kept-source"));
    fs::create_dir(root.0.join("kept")).unwrap();
    // The folder stays out here: in there it is a mount point, which cannot be removed.
    let point = source.0.clone();
    std::thread::spawn(move || {
        leave_mounts(MountPropagationFlags::PRIVATE);
        mount_forbidding(&point);
        let bind = Bind::new(&point, "/kept");
        let template = Template::builder(Rootfs::open(&root.0).unwrap()).bind(bind).build();
        let pool = Pool::new(&template.unwrap(), 0).unwrap();
        let options = options(&pool, "/kept");
        for wanted in ["ro", "noexec", "noatime", "nosuid", "nodev"] {
            assert!(options.iter().any(|option| option == wanted), "{wanted}: {options:?}");
        }
        assert_eq!(says(&pool, "/kept/true 2>/dev/null || echo refused"), "refused");
        assert_eq!(says(&pool, "touch /kept/x 2>/dev/null || echo refused"), "refused");
    })
    .join()
    .unwrap();
}

#[test]
fn nothing_of_a_slot_is_mounted_on_a_host_whose_mounts_are_shared() {
    let (root, source) = (busybox("shared-mounts"), folder("shared-source"));
    fs::create_dir(root.0.join("kept")).unwrap();
    std::thread::spawn(move || {
        leave_mounts(MountPropagationFlags::SHARED);
        let mounts = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = mounts();
        assert!(before.contains(" shared:"), "{before}");
        for policy in [Policy::Once, Policy::Reuse, Policy::Shared] {
            let bind = Bind::new(&source.0, "/kept");
            let builder = Template::builder(Rootfs::open(&root.0).unwrap()).bind(bind);
            let template = builder.policy(policy).build().unwrap();
            let pool = Pool::new(&template, 1).unwrap();
            assert_eq!(says(&pool, "cat /proc/self/mountinfo | grep -c shared:; :"), "0");
            assert_eq!(mounts(), before, "{policy:?}");
        }
        if has_writable_roots() {
            let upper = upper("shared-upper");
            let rootfs = Rootfs::overlay(std::slice::from_ref(&root.0), &upper.0).unwrap();
            let pool = Pool::new(&Template::builder(rootfs).build().unwrap(), 0).unwrap();
            assert_eq!(says(&pool, "echo inside"), "inside");
            assert_eq!(mounts(), before);
        }
    })
    .join()
    .unwrap();
}
