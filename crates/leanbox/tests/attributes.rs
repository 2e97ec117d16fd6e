//! What a mount of the host forbids stays forbidden inside: attributes are added, never replaced.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{busybox, folder, says};
use leanbox::{Bind, Pool, Rootfs, Template};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::fs;
use std::path::Path;

/// The options of the mount at `point` inside.
fn options(pool: &Pool, point: &str) -> Vec<String> {
    let mounts = says(pool, "cat /proc/self/mountinfo");
    let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(point));
    let options = line.unwrap_or_else(|| panic!("no {point} in {mounts}")).split(' ').nth(5);
    options.unwrap().split(',').map(str::to_string).collect()
}

/// A tmpfs that forbids programs and writing, where only this thread and its children see it.
fn mount_forbidding(point: &Path) {
    #[allow(unsafe_code, reason = "the descriptors stay shared")]
    // SAFETY: mounts and the working directory only.
    unsafe {
        rustix::thread::unshare_unsafe(
            rustix::thread::UnshareFlags::FS | rustix::thread::UnshareFlags::NEWNS,
        )
        .unwrap();
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let flags = MountFlags::NOEXEC | MountFlags::NOATIME;
    mount("none", point, "tmpfs", flags, c"mode=755").unwrap();
    fs::copy("/bin/busybox", point.join("true")).unwrap();
    rustix::mount::mount_remount(point, flags | MountFlags::RDONLY, c"mode=755").unwrap();
}

#[test]
fn a_writable_bind_of_what_is_read_only_and_without_programs_is_so_inside() {
    let (root, source) = (busybox("kept"), folder("kept-source"));
    fs::create_dir(root.0.join("kept")).unwrap();
    std::thread::spawn(move || {
        mount_forbidding(&source.0);
        let (source, target) = (source.0.clone(), "/kept".into());
        let bind = Bind { source, target, read_only: false };
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
