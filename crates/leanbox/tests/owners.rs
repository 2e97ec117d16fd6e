//! Files have inside the owners that the image gave them, whether the kernel maps ids or an
//! owner-shifted copy stands in; on the host nothing changes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, busybox, field, run, says};
use leanbox::{Command, End, Pool, Rootfs, Template};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

/// Pools of both ways, for a user.
fn both_ways(root: &Folder, user: &str) -> [Pool; 2] {
    let builder = || Template::builder(Rootfs::open(&root.0).unwrap()).user(user);
    let mapped = builder().build().unwrap();
    let shifted = builder().without_idmap().build().unwrap();
    assert_eq!(mapped.maps_ids(), common::maps_ids(), "can the temporary folder be idmapped?");
    assert!(!shifted.maps_ids());
    [mapped, shifted].map(|template| Pool::new(&template, 0).unwrap())
}

#[test]
fn owners_inside_are_those_of_the_image() {
    let root = busybox("owners");
    for pool in both_ways(&root, "") {
        let stat = "stat -c '%n %u:%g %a' /etc/passwd /root/secret /home/app";
        assert_eq!(
            says(&pool, stat),
            "/etc/passwd 0:0 644\n/root/secret 0:0 600\n/home/app 1000:1000 700"
        );
    }
}

#[test]
fn a_secret_of_root_is_read_by_root_and_by_nobody_else() {
    let root = busybox("secret");
    for pool in both_ways(&root, "") {
        assert_eq!(says(&pool, "cat /root/secret"), "of root");
    }
    for pool in both_ways(&root, "app") {
        let outcome = Command::new("cat").arg("/root/secret").output(&pool).unwrap();
        assert_eq!(outcome.end, End::Exited(1));
        assert!(outcome.stdout.bytes.is_empty());
    }
}

#[test]
fn a_user_reads_its_own_home_and_has_its_groups() {
    let root = busybox("home");
    for user in ["app", "1000", "app:app", "1000:1000"] {
        for pool in both_ways(&root, user) {
            assert_eq!(says(&pool, "cat /home/app/note; echo $HOME"), "of app\n/home/app");
            let status = run(&pool, "cat", &["/proc/self/status"]);
            assert_eq!(field(&status, "Uid"), "1000 1000 1000 1000", "{user}");
            assert_eq!(field(&status, "Gid"), "1000 1000 1000 1000", "{user}");
            // As with Docker, naming a group leaves the others out.
            let groups = if user.contains(':') { "" } else { "44" };
            assert_eq!(field(&status, "Groups"), groups, "{user}");
        }
    }
}

#[test]
fn what_is_written_to_scratch_belongs_to_who_wrote_it() {
    let root = busybox("written");
    for pool in both_ways(&root, "app") {
        assert_eq!(says(&pool, "touch /tmp/x; stat -c %u:%g /tmp/x /tmp"), "1000:1000\n0:0");
    }
}

#[test]
fn an_id_beyond_the_slots_is_nobodys_inside() {
    let root = busybox("beyond");
    let file = root.0.join("etc/beyond");
    fs::write(&file, "x").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&file, Some(70_000), Some(70_000)).unwrap();
    for pool in both_ways(&root, "") {
        assert_eq!(says(&pool, "stat -c %u:%g /etc/beyond"), "65534:65534");
        assert_eq!(
            Command::new("cat").arg("/etc/beyond").output(&pool).unwrap().end,
            End::Exited(1)
        );
    }
}

#[test]
fn nothing_on_the_host_changes_owner_or_mode() {
    let root = busybox("unchanged");
    symlink("/etc/passwd", root.0.join("etc/link")).unwrap();
    fs::hard_link(root.0.join("etc/group"), root.0.join("etc/hard")).unwrap();
    let set_id = root.0.join("bin/set-id");
    fs::copy("/bin/busybox", &set_id).unwrap();
    fs::set_permissions(&set_id, fs::Permissions::from_mode(0o6755)).unwrap();
    let before = listing(&root.0);
    for user in ["", "app"] {
        for pool in both_ways(&root, user) {
            says(
                &pool,
                "chown -R 5:5 /etc /home 2>/dev/null; chmod -R 777 / 2>/dev/null; touch /x 2>/dev/null; rm -rf /home 2>/dev/null; echo",
            );
        }
    }
    assert_eq!(listing(&root.0), before);
}

/// Every file with owner, mode, size, times and links.
fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let meta = entry.path().symlink_metadata().unwrap();
        let ids = format!("{}:{} {:o} {}", meta.uid(), meta.gid(), meta.mode(), meta.nlink());
        let content = format!("{} {}.{}", meta.len(), meta.mtime(), meta.mtime_nsec());
        let changed = format!("{}.{}", meta.ctime(), meta.ctime_nsec());
        lines.push(format!("{} {ids} {content} {changed}", entry.path().display()));
        if meta.is_dir() {
            lines.extend(listing(&entry.path()));
        }
    }
    lines.sort();
    lines
}
