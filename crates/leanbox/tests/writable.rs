//! A writable root: what is written stays in its upper folder, which one template at a time may
//! have, with one slot at a time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, busybox, has_layers_in_memory, has_writable_roots, run, says, sh, upper};
use leanbox::{
    Bind, Capability, Command, ErrorKind, Policy, Pool, Result, Rootfs, Template, TemplateBuilder,
};
use std::fs;
use std::process;

fn on(lower: &Folder, upper: &Folder) -> Result<Template> {
    let rootfs = Rootfs::overlay(std::slice::from_ref(&lower.0), &upper.0)?;
    Template::builder(rootfs).build()
}

/// Whether another process can lock the folder.
fn is_free(upper: &Folder) -> bool {
    let flock = process::Command::new("flock").arg("--nonblock").arg(&upper.0).arg("true").status();
    flock.expect("the tests need flock(1): apt-get install util-linux").success()
}

#[test]
fn an_upper_folder_serves_one_template_at_a_time_on_the_whole_machine() {
    if !has_writable_roots() {
        return;
    }
    let (lower, upper) = (busybox("one"), upper("one-upper"));
    let first = on(&lower, &upper).unwrap();
    assert!(!is_free(&upper));
    let refused = on(&lower, &upper).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    let why = "another template writes to it; give each template an upper folder of its own";
    assert_eq!(refused.to_string(), format!("{}: {why}", upper.0.display()));
    drop(first);
    assert!(is_free(&upper));
    on(&lower, &upper).unwrap();
}

#[test]
fn an_upper_folder_that_another_process_has_is_refused() {
    if !has_writable_roots() {
        return;
    }
    let (lower, upper) = (busybox("other"), upper("other-upper"));
    let mut holder = process::Command::new("flock")
        .arg(&upper.0)
        .args(["sh", "-c", "echo locked; read _"])
        .stdin(process::Stdio::piped())
        .stdout(process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut [0; 7]).unwrap();
    assert_eq!(on(&lower, &upper).unwrap_err().kind(), ErrorKind::Busy);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    on(&lower, &upper).unwrap();
}

#[test]
fn a_writable_root_has_one_container_at_a_time() {
    if !has_writable_roots() {
        return;
    }
    let (lower, upper) = (busybox("slots"), upper("slots-upper"));
    let template = on(&lower, &upper).unwrap();
    let (pool, other) = (Pool::new(&template, 0).unwrap(), Pool::new(&template, 0).unwrap());
    let running = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    for pool in [&pool, &other] {
        let refused = Command::new("true").status(pool).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        let why =
            "a container writes to it; a writable root has one at a time, so wait for its end";
        assert_eq!(refused.to_string(), format!("{}: {why}", upper.0.display()));
    }
    assert_eq!(Pool::new(&template, 1).unwrap_err().kind(), ErrorKind::Busy);
    drop((running, pool, other));
    assert_eq!(Pool::new(&template, 2).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn containers_one_after_the_other_see_what_was_written() {
    if !has_writable_roots() {
        return;
    }
    let (lower, upper) = (busybox("after"), upper("after-upper"));
    for reserve in [0, 1] {
        let template = on(&lower, &upper).unwrap();
        let pool = Pool::new(&template, reserve).unwrap();
        for run in 0..5 {
            says(&pool, &format!("echo {reserve} {run} >/etc/written"));
            assert_eq!(says(&pool, "cat /etc/written"), format!("{reserve} {run}"));
        }
    }
}

/// A root with a layer in memory.
fn in_memory(root: &Folder, bytes: u64) -> TemplateBuilder {
    Template::builder(Rootfs::open(&root.0).unwrap()).writable(bytes)
}

fn pool(builder: TemplateBuilder) -> Pool {
    Pool::new(&builder.build().unwrap(), 0).unwrap()
}

#[test]
fn a_layer_in_memory_takes_what_programs_do_to_a_root_and_is_thrown_away() {
    if !has_layers_in_memory() {
        return;
    }
    let root = busybox("memory");
    fs::create_dir_all(root.0.join("srv/old/deep")).unwrap();
    fs::write(root.0.join("srv/old/deep/file"), "old\n").unwrap();
    let mut builder = in_memory(&root, 64 << 20);
    for capability in Capability::DOCKER_DEFAULT {
        builder = builder.cap_add(*capability);
    }
    let pool = pool(builder);
    let before = says(&pool, "find / -xdev | sort");
    let script = "set -e; echo new >/etc/made; echo more >>/etc/passwd; rm /etc/group; rm -r /home; mkdir /home; ls /home; \
        chown 1000:44 /etc/made /root; stat -c %u:%g /etc/made /root; chmod 4755 /bin/busybox; \
        ln /etc/made /etc/hard; ln -s made /etc/soft; cat /etc/hard /etc/soft; \
        /bin/busybox cp /bin/busybox /bin/copy; /bin/busybox mv /bin/copy /bin/cp; /bin/cp /etc/made /etc/again; \
        /bin/busybox mv /srv/old /srv/new; cat /srv/new/deep/file; test ! -e /srv/old; \
        mkdir /srv/dir; touch /srv/dir/x; /bin/busybox mv /srv/dir /srv/other; ls /srv/other; \
        touch /etc/old; /bin/busybox mv /etc/old /etc/made; test ! -s /etc/made; echo done";
    let seen = says(&pool, script);
    assert_eq!(seen, "1000:44\n1000:44\nnew\nnew\nold\nx\ndone");
    // The next slot and the host's folder know nothing of it.
    assert_eq!(says(&pool, "find / -xdev | sort"), before);
    assert!(!root.0.join("etc/made").exists() && root.0.join("home/app/note").exists());
}

#[test]
fn a_full_layer_in_memory_is_told_inside_and_bounded_in_files() {
    if !has_layers_in_memory() {
        return;
    }
    let root = busybox("full");
    let pool = pool(in_memory(&root, 4 << 20));
    let script = "exec 2>&1; head -c 9999999 /dev/zero >/home/x; stat -c %s /home/x; echo y >/home/y || echo full; rm /home/x; echo z >/home/z && cat /home/z";
    let seen = String::from_utf8_lossy(&sh(&pool, script).stdout.bytes).into_owned();
    assert_eq!(seen.matches("No space left on device").count(), 1, "{seen}");
    assert!(seen.ends_with("full\nz\n"), "{seen}");
    let script = "cd /home; i=0; while touch f$i; do i=$((i+1)); done 2>/dev/null; test $i -gt 500 && test $i -lt 1100 && echo bounded; rm -f f1 f2; echo again >f1; cat f1";
    assert_eq!(says(&pool, script), "bounded\nagain");
}

#[test]
fn slots_with_a_layer_in_memory_are_many_and_each_has_its_own() {
    if !has_layers_in_memory() {
        return;
    }
    let root = busybox("many");
    let pool = Pool::new(&in_memory(&root, 1 << 20).build().unwrap(), 3).unwrap();
    let mine = |text: &str| {
        Command::new("sh")
            .args(["-c", &format!("echo {text} >/etc/mine; exec sleep 60")])
            .spawn(&pool)
            .unwrap()
    };
    let running: Vec<_> = ["one", "two"].map(mine).into();
    assert_eq!(says(&pool, "test -e /etc/mine || echo none"), "none");
    drop(running);
    let mounts = run(&pool, "cat", &["/proc/self/mountinfo"]);
    let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(line.contains(" - overlay ") && line.contains("nosuid,nodev"), "{line}");
    assert!(!mounts.contains(" /new"), "{mounts}");
}

#[test]
fn mount_points_of_a_layer_in_memory_are_made_in_it() {
    if !has_layers_in_memory() {
        return;
    }
    let (root, volume) = (busybox("points"), busybox("points-volume"));
    let builder = in_memory(&root, 1 << 20).bind(Bind::new(&volume.0, "/srv/a/b").read_only());
    let builder = builder.bind(Bind::new(volume.0.join("etc/passwd"), "/opt/passwd").read_only());
    let pool = pool(builder);
    assert_eq!(says(&pool, "cat /opt/passwd | wc -l; ls /srv/a/b | wc -l; touch /srv/a/c"), "2\n7");
    assert!(!root.0.join("srv").exists() && !root.0.join("opt").exists());
}

#[test]
fn a_layer_in_memory_goes_with_once_and_a_plain_root_only() {
    if !has_layers_in_memory() {
        return;
    }
    let (root, upper) = (busybox("plain"), upper("plain-upper"));
    for policy in [Policy::Reuse, Policy::Shared] {
        let refused = in_memory(&root, 1 << 20).policy(policy).build().unwrap_err();
        assert!(refused.to_string().contains("a writable root"), "{refused}");
    }
    let overlay = Rootfs::overlay(std::slice::from_ref(&root.0), &upper.0).unwrap();
    let refused = Template::builder(overlay).writable(1 << 20).build().unwrap_err();
    assert!(refused.to_string().contains("writable overlay already"), "{refused}");
    assert!(in_memory(&root, 1).build().unwrap_err().to_string().contains("at least"));
    assert!(in_memory(&root, 1 << 20).build().unwrap().fork_noop().is_err());
    // Owners are shifted where they cannot be mapped.
    let unmapped = pool(in_memory(&root, 1 << 20).without_idmap());
    assert_eq!(says(&unmapped, "echo x >/etc/x; stat -c %u /etc/x /home/app"), "0\n1000");
}

#[test]
fn writable_roots_of_both_kinds_go_with_the_capability_to_mount() {
    if !has_writable_roots() {
        return;
    }
    let (root, upper) = (busybox("admin"), upper("admin-upper"));
    let overlay = Rootfs::overlay(std::slice::from_ref(&root.0), &upper.0).unwrap();
    let mut builders = vec![Template::builder(overlay)];
    if has_layers_in_memory() {
        builders.push(in_memory(&root, 1 << 20));
    }
    for builder in builders {
        let pool = pool(builder.cap_add(Capability::SysAdmin));
        let script = "echo x >/etc/made; mkdir /m; mount -t tmpfs none /m && cat /etc/made";
        assert_eq!(says(&pool, script), "x");
    }
    assert!(upper.0.join("diff/etc/made").exists() && !root.0.join("etc/made").exists());
}
