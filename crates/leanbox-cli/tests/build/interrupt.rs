//! Ctrl-C and SIGTERM in each phase: soon over, the right code, nothing half made, no process.

use crate::done::send;
use crate::place::{Place, app, await_that, names, processes_with};
use std::fs;

/// Nothing of it runs or lies about, and the same place builds something else.
#[track_caller]
fn is_clean(place: &Place) {
    let path = place.0.display().to_string();
    await_that("its processes' end", || processes_with(&path).is_empty());
    assert_eq!(names(&place.path("store/tmp")), [""; 0]);
    assert_eq!(names(&place.path("state")), [""; 0]);
    place.built_of("FROM leanbox/busybox\nRUN true\n");
}

#[track_caller]
fn ends_with(ended: (i32, String), code: i32) {
    assert_eq!(ended.0, code, "{ended:?}");
    assert_eq!(ended.1.lines().last(), Some("leanbox: interrupted"), "{ended:?}");
}

#[test]
fn in_a_run_step() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = app(signal, "FROM leanbox/busybox\nRUN echo begun; sleep 61.25\n");
        let running = place.start(&["build", "app", "--name", "t"]);
        running.await_text("begun");
        running.signal(signal);
        ends_with(running.end(), code);
        await_that("the step's end", || processes_with("sleep\u{0}61.25").is_empty());
        assert!(place.images().iter().all(|name| name != "t"));
        is_clean(&place);
    }
}

#[test]
fn while_a_large_file_is_read_for_a_copy() {
    let place = app("int-copy", "FROM leanbox/busybox\nCOPY large /\n");
    fs::File::create(place.path("app/large")).unwrap().set_len(64 << 30).unwrap();
    let running = place.start(&["build", "app", "--name", "t"]);
    running.await_text("FROM leanbox/busybox");
    await_that("the base", || place.path("store/images/leanbox+busybox.json").exists());
    running.signal("INT");
    ends_with(running.end(), 130);
    fs::remove_file(place.path("app/large")).unwrap();
    is_clean(&place);
}

#[test]
fn while_a_layer_is_packed() {
    let hole = "RUN dd if=/dev/zero of=/large bs=1 count=1 seek=64G 2>/dev/null\n";
    let place = app("int-pack", &format!("FROM leanbox/busybox\n{hole}"));
    let running = place.start(&["build", "app", "--name", "t"]);
    running.await_text("step 2/2");
    await_that("packing", || place.path("store/tmp/layer/layer.tar").exists());
    running.signal("INT");
    ends_with(running.end(), 130);
    is_clean(&place);
}

#[test]
fn while_a_base_is_bootstrapped() {
    let place = app("int-base", "FROM leanbox/python:3\n");
    let running = place.start(&["build", "app", "--name", "t"]);
    await_that("packages", || place.path("store/tmp/layer/diff/etc").exists());
    running.signal("TERM");
    ends_with(running.end(), 143);
    assert!(place.images().is_empty());
    is_clean(&place);
}

#[test]
fn in_an_export() {
    let place = app("int-export", "FROM leanbox/busybox\nRUN seq 5000 | xargs touch\n");
    place.built();
    let running = place.start(&["export", "t", "x/out"]);
    await_that("the export", || !names(&place.path("x")).is_empty());
    running.signal("INT");
    ends_with(running.end(), 130);
    assert!(!place.path("x").exists());
    is_clean(&place);
}

#[test]
fn while_waiting_for_another_build() {
    let place = app("int-wait", "FROM leanbox/busybox\nRUN echo begun; sleep 60\n");
    let first = place.start(&["build", "app", "--name", "t"]);
    first.await_text("begun");
    let second = place.command(&["rmi", "leanbox/busybox"]).spawn().unwrap();
    let mut third = place.command(&["build", "app", "--name", "u"]);
    let third = third.stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    for child in [second, third] {
        send(&child, "INT");
        assert!(!child.wait_with_output().unwrap().status.success());
    }
    first.signal("INT");
    ends_with(first.end(), 130);
    assert_eq!(place.images(), ["leanbox/busybox"]);
    is_clean(&place);
}

#[test]
fn while_a_run_by_name_exports_for_the_first_time() {
    let place = app("int-run", "FROM leanbox/busybox\nRUN seq 5000 | xargs touch\n");
    place.built();
    let running = place.start(&["run", "t", "true"]);
    await_that("the export", || !names(&place.path("store/tmp")).is_empty());
    running.signal("TERM");
    ends_with(running.end(), 143);
    is_clean(&place);
    place.leanbox(&["run", "t", "true"]).good();
}
