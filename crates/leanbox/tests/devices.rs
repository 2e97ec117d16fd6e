//! Devices of the host that a template shows: those, and as it says.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, busybox, has_layers_in_memory, says, sh};
use leanbox::{Capability, Device, Pool, Rootfs, Template, TemplateBuilder};
use std::path::Path;

fn on(root: &Folder) -> TemplateBuilder {
    Template::builder(Rootfs::open(&root.0).unwrap())
}

fn pool(builder: TemplateBuilder) -> Pool {
    Pool::new(&builder.build().unwrap(), 0).unwrap()
}

/// The host's `/dev/zero`, under another name.
fn zero(target: &str) -> Device {
    Device { target: target.into(), ..Device::new("/dev/zero") }
}

fn tells(pool: &Pool, script: &str) -> String {
    String::from_utf8_lossy(&sh(pool, &format!("exec 2>&1; {script}")).stdout.bytes).into_owned()
}

/// A device node on the disk, as an image might bring along.
fn node(at: &Path) {
    let status =
        std::process::Command::new("mknod").arg(at).args(["-m", "666", "c", "1", "5"]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_device_is_read_and_written_by_every_user() {
    let root = busybox("device");
    for user in ["root", "app"] {
        let pool = pool(
            on(&root).user(user).device(zero("/dev/deep/er/zero")).device(zero("/dev/deep/other")),
        );
        let script = "head -c 3 /dev/deep/er/zero | wc -c; echo x >/dev/deep/other && stat -c %a /dev/deep/other";
        assert_eq!(says(&pool, script), "3\n666");
    }
}

#[test]
fn what_may_only_be_read_or_written_is_not_done_otherwise_whatever_capabilities_there_are() {
    let root = busybox("permissions");
    let read = Device { write: false, ..zero("/dev/read") };
    let write = Device { read: false, ..zero("/dev/write") };
    let capabilities =
        [Capability::DacOverride, Capability::DacReadSearch, Capability::Fowner, Capability::Chown];
    for capabilities in [&[][..], &capabilities] {
        let builder = capabilities.iter().fold(on(&root), |builder, one| builder.cap_add(*one));
        let pool = pool(builder.device(read.clone()).device(write.clone()));
        assert_eq!(
            says(&pool, "head -c 3 /dev/read | wc -c; echo x >/dev/write && echo written"),
            "3\nwritten"
        );
        let refused = tells(
            &pool,
            "echo x >/dev/read; head -c 1 /dev/write; chmod 666 /dev/read; chown 0 /dev/write; rm /dev/read; mknod /tmp/x c 1 5",
        );
        assert_eq!(refused.lines().count(), 6, "{refused}");
    }
}

#[test]
fn devices_that_make_no_sense_are_refused() {
    let root = busybox("refused");
    for (device, words) in [
        (Device::new("/dev/null"), "that name is taken inside"),
        (zero("/tmp/zero"), "not below /dev"),
        (zero("/dev/pts/zero"), "taken"),
        (Device { target: "/dev/x".into(), ..Device::new("/etc/passwd") }, "not a device"),
        (Device { target: "/dev/x".into(), ..Device::new("/dev/none-such") }, "ENOENT"),
        (Device { read: false, write: false, ..zero("/dev/x") }, "neither"),
    ] {
        let refused = on(&root).device(device).build().unwrap_err().to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let twice = on(&root).device(zero("/dev/x")).device(zero("/dev/x")).build().unwrap_err();
    assert_eq!(twice.to_string(), "two devices at /dev/x");
}

#[test]
fn devices_that_an_image_or_a_container_makes_mean_nothing() {
    let root = busybox("made");
    node(&root.0.join("zero"));
    let kinds = if has_layers_in_memory() { &[false, true][..] } else { &[false] };
    for writable in kinds {
        let builder = if *writable { on(&root).writable(1 << 20) } else { on(&root) };
        let pool = pool(builder.cap_add(Capability::Mknod));
        let script = "head -c 1 /zero; mknod /tmp/x c 1 5; mknod /x c 1 5; mknod /x b 254 0";
        let refused = tells(&pool, script);
        assert_eq!(refused.lines().count(), 4, "{refused}");
        assert!(refused.starts_with("head: /zero: Permission denied"), "{refused}");
    }
}
