//! A slot that is begun while the keeper sets itself up. In a program of its own, so that every
//! group with its number is one of these tests'.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{busybox, folder, says, upper};
use leanbox::{End, Pool, Rootfs, Template, TemplateBuilder};
use rustix::mount::{MountFlags, MountPropagationFlags, mount};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn groups() -> usize {
    host::group_folders(&format!("leanbox-{}-", std::process::id())).len()
}

/// Builds, does something, drops; nothing is left.
fn leaves_nothing(name: &str, change: fn(TemplateBuilder) -> TemplateBuilder, with: fn(&Template)) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let root = busybox(name);
    let builder = change(Template::builder(Rootfs::open(&root.0).unwrap()));
    let template = builder.ahead().build().unwrap();
    let keeper = template.keeper_pid();
    assert!(groups() > 0);
    with(&template);
    drop(template);
    assert_eq!(groups(), 0);
    assert!(host::within(Duration::from_secs(5), || !host::processes().contains(&keeper)));
}

#[test]
fn a_slot_begun_ahead_serves_whoever_comes_first_and_then_others_are_made() {
    leaves_nothing(
        "ahead",
        |builder| builder,
        |template| {
            let pool = Pool::new(template, 0).unwrap();
            for _ in 0..3 {
                assert_eq!(says(&pool, "echo $PPID"), "1");
            }
        },
    );
}

#[test]
fn a_slot_begun_ahead_that_nobody_needs_leaves_nothing() {
    leaves_nothing("ahead-unused", |builder| builder, |_| {});
}

#[test]
fn nothing_is_begun_ahead_where_ids_cannot_be_mapped() {
    leaves_nothing("ahead-shifted", TemplateBuilder::without_idmap, |template| {
        assert!(!template.maps_ids());
        let pool = Pool::new(template, 1).unwrap();
        assert_eq!(says(&pool, "id -u"), "0");
    });
}

/// A root on an overlay, whose ids no kernel maps: the keeper ends, whatever was asked of it.
#[test]
fn a_keeper_that_cannot_map_ids_is_followed_by_one_on_a_copy() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (lower, upper, root) = (busybox("ahead-lower"), upper("ahead-upper"), folder("ahead-root"));
    // The folder stays out here: in there it is a mount point, which cannot be removed.
    let point = root.0.clone();
    std::thread::spawn(move || {
        common::leave_mounts(MountPropagationFlags::PRIVATE);
        let [lower, upper] = [&lower.0, &upper.0].map(|path| path.display().to_string());
        let options = format!("lowerdir={lower},upperdir={upper}/diff,workdir={upper}/work");
        let options = std::ffi::CString::new(options).unwrap();
        mount("none", &point, "overlay", MountFlags::empty(), options.as_c_str()).unwrap();
        for _ in 0..20 {
            let builder = Template::builder(Rootfs::open(&point).unwrap());
            let template = builder.ahead().build().unwrap();
            assert!(!template.maps_ids());
            assert_eq!(says(&Pool::new(&template, 0).unwrap(), "id -u"), "0");
        }
    })
    .join()
    .unwrap();
}

#[test]
fn the_fork_mode_goes_beside_a_slot_begun_ahead() {
    leaves_nothing(
        "ahead-fork",
        |builder| builder,
        |template| {
            assert_eq!(template.fork_noop().unwrap().wait().unwrap(), End::Exited(0));
        },
    );
}
