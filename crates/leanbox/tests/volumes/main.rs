//! What a template shows of the host, and further file systems in memory: they land inside, and
//! nothing else of the host comes along.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod links;
#[path = "../common/mounting.rs"]
mod mounting;

use common::{Folder, busybox, folder, maps_ids, says, sh};
use leanbox::{
    Bind, Capability, ErrorKind, Policy, Pool, Rootfs, Template, TemplateBuilder, Tmpfs,
};
use mounting::{in_own_mounts, mount_tmpfs};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

fn on(root: &Folder) -> TemplateBuilder {
    Template::builder(Rootfs::open(&root.0).unwrap())
}

fn pool(builder: TemplateBuilder) -> Pool {
    Pool::new(&builder.build().unwrap(), 0).unwrap()
}

/// A folder of the host that everybody may write to.
fn shared(name: &str) -> Folder {
    let volume = folder(name);
    fs::set_permissions(&volume.0, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(volume.0.join("note"), "of the host\n").unwrap();
    volume
}

/// Standard output and errors of a script.
fn tells(pool: &Pool, script: &str) -> String {
    String::from_utf8_lossy(&sh(pool, &format!("exec 2>&1; {script}")).stdout.bytes).into_owned()
}

#[test]
fn a_volume_takes_what_is_written_unless_it_is_read_only() {
    let (root, volume) = (busybox("volume"), shared("volume-source"));
    let pool = pool(
        on(&root)
            .bind(Bind::new(&volume.0, "/data"))
            .bind(Bind::new(&volume.0, "/fixed").read_only())
            .bind(Bind::new(volume.0.join("note"), "/etc/note")),
    );
    assert_eq!(
        says(&pool, "cat /data/note /fixed/note /etc/note; echo new >/data/made"),
        "of the host\n".repeat(3).trim_end()
    );
    assert_eq!(fs::read_to_string(volume.0.join("made")).unwrap(), "new\n");
    let refused = tells(&pool, "echo x >/fixed/note; echo x >/fixed/other; rm /fixed/made");
    assert_eq!(refused.matches("Read-only file system").count(), 3, "{refused}");
}

#[test]
fn nothing_that_is_mounted_below_a_read_only_volume_can_be_written() {
    in_own_mounts(|| {
        let (root, volume) = (busybox("recursive"), shared("recursive-source"));
        fs::create_dir_all(volume.0.join("below/deep")).unwrap();
        let _below = mount_tmpfs(&volume.0.join("below"));
        fs::write(volume.0.join("below/note"), "mounted\n").unwrap();
        fs::create_dir(volume.0.join("below/deep")).unwrap();
        let _deep = mount_tmpfs(&volume.0.join("below/deep"));
        let builder = on(&root)
            .bind(Bind::new(&volume.0, "/fixed").read_only())
            .bind(Bind::new(&volume.0, "/data"));
        if !leanbox::probe::sets_attributes_of_trees() {
            let refused = builder.build().unwrap_err().to_string();
            assert!(refused.contains("is mounted below it; Linux 5.12 can show both"), "{refused}");
            return;
        }
        let pool = pool(builder);
        assert_eq!(says(&pool, "cat /fixed/below/note"), "mounted");
        let refused = tells(&pool, "for d in . below below/deep; do echo x >/fixed/$d/x; done");
        assert_eq!(refused.matches("Read-only file system").count(), 3, "{refused}");
        assert_eq!(
            says(
                &pool,
                "chmod 777 /data/below 2>/dev/null; echo x >/data/below/deep/x && echo written"
            ),
            "written"
        );
        let options =
            says(&pool, "grep -E ' /(fixed|data)' /proc/self/mountinfo | cut -d' ' -f5,6");
        assert_eq!(options.lines().count(), 6, "{options}");
        for line in options.lines() {
            assert!(line.contains("nosuid,nodev"), "{line}");
            assert_eq!(line.starts_with("/fixed"), line.contains(" ro,"), "{line}");
        }
    });
}

#[test]
fn set_id_bits_and_devices_of_a_volume_mean_nothing_and_programs_only_if_allowed() {
    let (root, volume) = (busybox("meaning"), shared("meaning-source"));
    fs::copy("/bin/busybox", volume.0.join("busybox")).unwrap();
    let status = std::process::Command::new("mknod")
        .arg(volume.0.join("null"))
        .args(["-m", "666", "c", "1", "3"])
        .status();
    assert!(status.unwrap().success());
    let none = Bind { no_exec: true, ..Bind::new(&volume.0, "/none") };
    let pool = pool(on(&root).bind(Bind::new(&volume.0, "/data")).bind(none));
    assert_eq!(says(&pool, "/data/busybox echo runs"), "runs");
    let refused = tells(&pool, "/none/busybox echo runs; cat /data/null; echo x >/none/null");
    assert_eq!(refused.matches("ermission denied").count(), 3, "{refused}");
}

#[test]
fn files_of_an_idmapped_volume_have_their_owners_inside() {
    let (root, volume) = (busybox("idmap"), shared("idmap-source"));
    chown(volume.0.join("note"), Some(1000), Some(44)).unwrap();
    fs::set_permissions(&volume.0, fs::Permissions::from_mode(0o755)).unwrap();
    let mapped = Bind { idmap: true, ..Bind::new(&volume.0, "/data") };
    if !maps_ids() {
        let refused = on(&root).bind(mapped).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        return;
    }
    let pool = pool(on(&root).bind(mapped).bind(Bind::new(&volume.0, "/plain")));
    assert_eq!(
        says(&pool, "stat -c %u:%g /data/note /data; stat -c %u /plain/note"),
        "1000:44\n0:0\n65534"
    );
    assert_eq!(
        says(&pool, "echo x >/data/made; chown 7:8 /data/made 2>/dev/null; stat -c %u /data/made"),
        "0"
    );
    assert_eq!(fs::metadata(volume.0.join("made")).unwrap().uid(), 0);
    assert!(tells(&pool, "echo x >/plain/other").contains("ermission denied"));
}

#[test]
fn an_idmapped_volume_that_cannot_be_is_refused_in_a_line() {
    let root = busybox("no-idmap");
    let mapped = Bind { idmap: true, ..Bind::new("/proc/sys", "/data") };
    let refused = on(&root).bind(mapped).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(
        refused.to_string().starts_with("volume /proc/sys: the ids of its file system"),
        "{refused}"
    );
}

#[test]
fn missing_mount_points_are_made_and_mounts_above_come_first() {
    let (root, volume) = (busybox("missing"), shared("missing-source"));
    fs::create_dir(volume.0.join("sub")).unwrap();
    let pool = pool(
        on(&root)
            .bind(Bind::new(volume.0.join("note"), "/srv/a/sub/file"))
            .tmpfs(Tmpfs::new("/srv/a/sub"))
            .bind(Bind::new(&volume.0, "/srv/a"))
            .bind(Bind::new(&volume.0, "/tmp/one/two"))
            .bind(Bind::new(volume.0.join("note"), "/tmp/one/note"))
            .bind(Bind::new(volume.0.join("note"), "/opt/x/file")),
    );
    let script = "cat /srv/a/note /srv/a/sub/file /tmp/one/two/note /tmp/one/note /opt/x/file; ls /srv/a/sub";
    assert_eq!(says(&pool, script), format!("{}file", "of the host\n".repeat(5)));
    assert!(root.0.join("srv/a").is_dir() && root.0.join("opt/x/file").is_file());
    assert!(!root.0.join("srv/a/sub").exists());
    // A volume is nobody's place to make something in.
    assert!(!volume.0.join("new").exists());
    let refused =
        on(&root).bind(Bind::new(&volume.0, "/srv/a")).bind(Bind::new(&volume.0, "/srv/a/new/x"));
    let refused =
        Pool::new(&refused.build().unwrap(), 1).and_then(|pool| pool.settle()).unwrap_err();
    assert!(refused.to_string().contains("\"/srv/a/new/x\""), "{refused}");
    assert!(!volume.0.join("new").exists());
}

#[test]
fn mounts_that_make_no_sense_are_refused_before_anything_is_made() {
    let (root, volume) = (busybox("nonsense"), shared("nonsense-source"));
    let bind = |target: &str| on(&root).bind(Bind::new(&volume.0, target));
    let gone = Bind::new(volume.0.join("gone"), "/made");
    let reuse = |target: &str| bind(target).policy(Policy::Reuse);
    for (builder, words) in [
        (bind("data"), "not an absolute path"),
        (bind("/"), "it is the root"),
        (bind("/a/../b"), "\"..\""),
        (bind("/proc/sys"), "nothing is mounted in /proc"),
        (bind("/data").tmpfs(Tmpfs::new("/data/")), "two mounts at /data"),
        (on(&root).bind(gone), "no such file or folder"),
        (on(&root).tmpfs(Tmpfs { size_max_bytes: 1, ..Tmpfs::new("/data") }), "at least 4096"),
        (on(&root).tmpfs(Tmpfs::new("/data")).policy(Policy::Reuse), "a mount at /data"),
        (reuse("/tmp/x"), "a mount at /tmp/x"),
        (reuse("/dev"), "a mount at /dev"),
    ] {
        let refused = builder.build().unwrap_err().to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert!(!root.0.join("made").exists() && !root.0.join("data").exists());
    reuse("/data").build().unwrap();
}

#[test]
fn a_tmpfs_is_empty_bounded_and_each_slots_own() {
    let root = busybox("tmpfs");
    let small = Tmpfs { size_max_bytes: 1 << 20, mode: 0o750, ..Tmpfs::new("/scratch") };
    let exec = Tmpfs { exec: true, ..Tmpfs::new("/programs") };
    let pool = pool(on(&root).tmpfs(small).tmpfs(exec));
    assert_eq!(
        says(
            &pool,
            "stat -c %a:%u /scratch; ls /scratch; head -c 9999999 /dev/zero 2>/dev/null >/scratch/x; stat -c %s /scratch/x"
        ),
        "750:0\n1048576"
    );
    assert_eq!(
        says(
            &pool,
            "ls /scratch; cat /bin/busybox >/programs/busybox; chmod 755 /programs/busybox; /programs/busybox echo runs"
        ),
        "runs"
    );
    assert!(
        tells(&pool, "echo : >/scratch/x; chmod 755 /scratch/x; /scratch/x")
            .contains("ermission denied")
    );
}

#[test]
fn what_is_mounted_later_is_not_seen_on_the_other_side() {
    in_own_mounts(|| {
        let base = folder("private");
        let _base = mount_tmpfs(&base.0);
        rustix::mount::mount_change(&base.0, rustix::mount::MountPropagationFlags::SHARED).unwrap();
        let status = std::process::Command::new("cp")
            .arg("-a")
            .args([&busybox("private-root").0, &base.0.join("root")])
            .status();
        assert!(status.unwrap().success());
        fs::create_dir_all(base.0.join("volume/late")).unwrap();
        fs::create_dir_all(base.0.join("root/late")).unwrap();
        let root = Folder(base.0.join("root"));
        let builder = on(&root).bind(Bind::new(base.0.join("volume"), "/data"));
        let pool = pool(builder.cap_add(Capability::SysAdmin));
        let _late = mount_tmpfs(&base.0.join("volume/late"));
        let _other = mount_tmpfs(&base.0.join("root/late"));
        fs::write(base.0.join("volume/late/x"), "").unwrap();
        fs::write(base.0.join("root/late/x"), "").unwrap();
        let script = "ls /data/late /late | grep x; mount -t tmpfs none /data && touch /data/inside; mount -t tmpfs none /late && touch /late/inside";
        assert_eq!(says(&pool, script), "");
        assert!(!base.0.join("volume/inside").exists());
        assert!(!base.0.join("root/late/inside").exists());
    });
}

#[test]
fn nobody_inside_can_remount_or_unmount_what_was_mounted() {
    let (root, volume) = (busybox("remount"), shared("remount-source"));
    let pool =
        pool(on(&root).bind(Bind::new(&volume.0, "/fixed").read_only()).tmpfs(Tmpfs::new("/x")));
    let script = "mount -o remount,rw,bind /fixed; mount -o remount,exec /x; umount /fixed; umount /proc/kcore; umount /x; echo y >/fixed/note";
    let refused = tells(&pool, script);
    assert_eq!(refused.lines().count(), 6, "{refused}");
    assert_eq!(fs::read_to_string(volume.0.join("note")).unwrap(), "of the host\n");
}

/// Whoever may mount inside could else make a read-only root or volume writable, and have the
/// devices that an image brings along.
#[test]
fn nobody_inside_lifts_what_a_mount_forbids_whatever_capabilities_there_are() {
    let (root, volume) = (busybox("locked"), shared("locked-source"));
    let status = std::process::Command::new("mknod")
        .arg(root.0.join("zero"))
        .args(["-m", "666", "c", "1", "5"])
        .status();
    assert!(status.unwrap().success());
    let mapped = Bind { idmap: maps_ids(), ..Bind::new(&volume.0, "/mapped").read_only() };
    let mut builder = on(&root).bind(Bind::new(&volume.0, "/fixed").read_only()).bind(mapped);
    builder = builder.bind(Bind { no_exec: true, ..Bind::new(&volume.0, "/data") });
    for capability in Capability::ALL {
        builder = builder.cap_add(*capability);
    }
    let pool = pool(builder);
    let script = "mkdir /tmp/b; for d in / /fixed /mapped /data; do mount -o remount,bind,rw,dev,suid,exec $d; \
        mount --bind $d /tmp/b && mount -o remount,bind,rw,dev,suid,exec /tmp/b; umount /tmp/b; done; \
        umount /fixed; echo x >/made; echo x >/fixed/made; echo x >/mapped/made; head -c 1 /zero";
    let seen = tells(&pool, script);
    assert_eq!(seen.matches("ermission denied").count(), 9, "{seen}");
    assert!(!volume.0.join("made").exists() && !root.0.join("made").exists());
    let options =
        says(&pool, "cut -d' ' -f5,6 /proc/self/mountinfo | grep -E '^/(fixed|mapped|data)? '");
    assert!(options.lines().all(|line| line.contains("nosuid,nodev")), "{options}");
}

#[test]
fn children_of_the_fork_mode_see_the_same_mounts() {
    let (root, volume) = (busybox("forked"), shared("forked-source"));
    let builder = on(&root).bind(Bind::new(&volume.0, "/data")).tmpfs(Tmpfs::new("/data-too"));
    let template = builder.build().unwrap();
    // SAFETY: the child only looks for a file and ends.
    match unsafe { template.fork() }.unwrap() {
        leanbox::Forked::Parent(child) => {
            assert_eq!(child.wait().unwrap(), leanbox::End::Exited(0))
        }
        leanbox::Forked::Child(inside) => {
            let seen =
                rustix::fs::stat("/data/note").is_ok() && rustix::fs::stat("/data-too").is_ok();
            inside.exit(i32::from(!seen))
        }
    }
}
