//! A writable root: what is written stays in its upper folder, which one template at a time may
//! have, with one slot at a time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, busybox, has_writable_roots, says, upper};
use leanbox::{Command, ErrorKind, Pool, Result, Rootfs, Template};
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
