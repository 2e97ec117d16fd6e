//! Files of a running container, from outside: what is inside lays traps, and nothing of the host's
//! is read or written.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{busybox, folder, template, upper};
use leanbox::{Bind, Command, Container, ErrorKind, Policy, Pool, Rootfs, Stdio, Template};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

fn spawn(pool: &Pool, script: &str) -> Container {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
    command.spawn(pool).unwrap()
}

fn says(container: &Container, script: &str) -> String {
    let mut command = Command::new("sh");
    let kept = Stdio::Captured { max_bytes: 1 << 20 };
    command.args(["-c", script]).stdin(Stdio::Null).stdout(kept);
    let exit = container.exec(&mut command).unwrap().wait().unwrap();
    String::from_utf8_lossy(&exit.stdout.bytes).trim_end().to_string()
}

#[test]
fn files_are_made_read_and_removed_as_root_inside_would() {
    let root = busybox("files");
    for policy in [Policy::Once, Policy::Reuse, Policy::Shared] {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let container = spawn(&pool, "sleep 100");
        let files = container.files().unwrap();
        files.create_dir("/tmp/in", 0o750).unwrap();
        files.create("/tmp/in/a", 0o640).unwrap().write_all(b"hello").unwrap();
        files.symlink("a", "/tmp/in/link").unwrap();
        let mut text = String::new();
        files.open("/tmp/in/link").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert_eq!(files.read_dir("/tmp/in").unwrap(), ["a", "link"]);
        assert_eq!(files.read_link("/tmp/in/link").unwrap(), "a");
        let stat = files.stat("/tmp/in/a").unwrap();
        assert_eq!((stat.mode, stat.size, stat.kind.is_file()), (0o640, 5, true));
        if policy != Policy::Shared {
            let seen = says(&container, "stat -c '%a %u %g' /tmp/in /tmp/in/a; cat /tmp/in/a");
            assert_eq!(seen, "750 0 0\n640 0 0\nhello", "{policy:?}");
            container.pause().unwrap();
            files.create("/tmp/paused", 0o600).unwrap();
            container.resume().unwrap();
        }
        files.remove("/tmp/in/a").unwrap();
        assert_eq!(files.open("/tmp/in/a").unwrap_err().kind(), ErrorKind::NotFound);
        // A secret that only root of the image may read; a root that nobody may write.
        assert!(files.open("/root/secret").is_ok());
        assert_eq!(files.create("/new", 0o600).unwrap_err().to_string(), "/new: EROFS");
        assert!(files.open("relative").is_err());
        container.kill();
        container.wait().unwrap();
        assert_eq!(files.open("/tmp/paused").unwrap_err().kind(), ErrorKind::Gone);
        if policy != Policy::Shared {
            assert_eq!(common::says(&pool, "ls /tmp"), "", "{policy:?}");
        }
    }
}

#[test]
fn no_link_device_or_fifo_inside_leads_to_the_host_or_holds_it_up() {
    let (root, outside) = (busybox("traps"), folder("outside"));
    let secret = outside.0.join("secret");
    fs::write(&secret, "of the host").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&outside.0, fs::Permissions::from_mode(0o755)).unwrap();
    let bind = Bind::new(&outside.0, "/mnt");
    fs::create_dir(root.0.join("mnt")).unwrap();
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).bind(bind);
    let pool = Pool::new(&builder.build().unwrap(), 0).unwrap();
    let path = secret.display().to_string();
    let script = format!(
        "cd /tmp; ln -s {path} absolute; ln -s ../../../../../..{path} up; \
        ln -s /proc/1/root{path} magic; ln -s /proc/self/cwd cwd; nc -l -p 1 -e true & \
        ln -s /mnt/secret bound; ln -s /mnt into; busybox mkfifo fifo; ln -s /dev/tty tty; sleep 100"
    );
    let container = spawn(&pool, &script);
    assert!((0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        says(&container, "test -L /tmp/tty && echo 1") == "1"
    }));
    let files = container.files().unwrap();
    for trap in ["absolute", "up", "magic", "bound", "fifo", "tty", "cwd/x"] {
        assert!(files.open(&format!("/tmp/{trap}")).is_err(), "{trap}");
    }
    // Root inside may not write to what is the host's root's, and neither may who acts for it.
    assert!(files.create("/tmp/into/secret", 0o644).is_err());
    assert!(files.create("/mnt/new", 0o644).is_err());
    assert!(files.symlink("x", "/tmp/into/new").is_err());
    assert_eq!(fs::read_to_string(&secret).unwrap(), "of the host");
    assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 1);
}

#[test]
fn links_that_are_swapped_all_the_time_lead_nowhere_outside() {
    let (root, outside) = (busybox("swap"), upper("swap-outside"));
    let victim = outside.0.join("diff");
    fs::write(victim.join("file"), "of the host").unwrap();
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let path = victim.display();
    let script = format!(
        "cd /tmp; mkdir real; echo inside > real/file; ln -s {path} link; \
        ln -s real name; while :; do ln -sfn real name; ln -sfn {path} name; \
        ln -sfn ../../../../../../..{path} name; done"
    );
    let container = spawn(&pool, &script);
    let files = container.files().unwrap();
    let (mut read, mut written) = (0, 0);
    for turn in 0..3000 {
        if let Ok(mut file) = files.open("/tmp/name/file") {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_ne!(text, "of the host");
            read += 1;
        }
        written += u32::from(files.create(&format!("/tmp/name/new{}", turn % 10), 0o644).is_ok());
    }
    assert!(read > 0 && written > 0, "{read} {written}");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "of the host");
}
