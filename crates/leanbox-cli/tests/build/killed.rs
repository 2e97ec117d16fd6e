//! SIGKILL: what it leaves goes with the next command.

use crate::place::{app, await_that, names, processes_with};

#[test]
fn in_a_run_step() {
    let place = app("kill-run", "FROM leanbox/busybox\nRUN echo begun; sleep 62.5\n");
    let running = place.start(&["build", "app", "--name", "t"]);
    running.await_text("begun");
    running.kill();
    await_that("the step's end", || processes_with("sleep\u{0}62.5").is_empty());
    assert!(place.path("store/tmp/layer").exists());
    place.built_of("FROM leanbox/busybox\nRUN true\n");
    assert_eq!(names(&place.path("state")), [""; 0]);
}

#[test]
fn in_an_export() {
    let place = app("kill-export", "FROM leanbox/busybox\nRUN seq 5000 | xargs touch\n");
    place.built();
    let running = place.start(&["export", "t", "x/out"]);
    await_that("the export", || !names(&place.path("x")).is_empty());
    running.kill();
    assert!(names(&place.path("x"))[0].starts_with(".leanbox-export-"));
    place.leanbox(&["export", "t", "x/out"]).good();
    assert_eq!(names(&place.path("x")), ["out", "out.json"]);
}

#[test]
fn what_a_killed_export_left_is_reclaimed_by_gc() {
    let place = app("kill-gc", "FROM leanbox/busybox\nRUN seq 5000 | xargs touch\n");
    place.built();
    let running = place.start(&["export", "t", "x/out"]);
    await_that("the export", || !names(&place.path("x")).is_empty());
    running.kill();
    place.leanbox(&["gc"]).good();
    assert_eq!(names(&place.path("x")), [""; 0]);
}

#[test]
fn in_an_export_to_elsewhere() {
    let place = app("kill-elsewhere", "FROM leanbox/busybox\nRUN seq 5000 | xargs touch\n");
    place.built();
    let running = place.start(&["export", "t", "x/out"]);
    await_that("the export", || !names(&place.path("x")).is_empty());
    running.kill();
    place.built();
    assert_eq!(names(&place.path("x")), [""; 0]);
}

#[test]
fn in_a_bootstrap() {
    let place = app("kill-base", "FROM leanbox/python:3\n");
    let running = place.start(&["build", "app", "--name", "t"]);
    await_that("packages", || place.path("store/tmp/layer/diff/etc").exists());
    running.kill();
    let path = place.path("store").display().to_string();
    await_that("the end of its processes", || processes_with(&path).is_empty());
    place.built_of("FROM leanbox/busybox\n");
}
