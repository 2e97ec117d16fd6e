//! What makes a new layer, and what does not.

use crate::place::app;
use std::fs;
use std::os::unix::fs::symlink;

const COPY_ALL: &str = "FROM leanbox/busybox\nWORKDIR /app\nCOPY . ./\nRUN echo made > /made\n";

#[test]
fn a_second_build_is_all_from_the_cache() {
    let place = app("cached", COPY_ALL);
    place.built();
    let layers = place.layers();
    let again = place.built();
    for step in ["WORKDIR", "COPY", "RUN"] {
        assert!(again.step(step).ends_with(" (cached)"), "{again:?}");
    }
    assert_eq!(place.layers(), layers);
}

#[test]
fn a_changed_file_makes_its_copy_and_what_follows_new() {
    let place = app("changed", COPY_ALL);
    place.put("app/file", "1");
    place.built();
    let layers = place.layers();
    place.put("app/file", "2");
    let again = place.built();
    assert!(again.step("WORKDIR").ends_with("(cached)"));
    assert!(!again.step("COPY").ends_with("(cached)"));
    assert!(!again.step("RUN").ends_with("(cached)"));
    assert_eq!(place.layers()[..2], layers[..2]);
    assert_ne!(place.layers()[2], layers[2]);
}

#[test]
fn times_of_files_make_no_new_layer() {
    let place = app("times", COPY_ALL);
    place.put("app/file", "1");
    place.built();
    let layers = place.layers();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    fs::File::open(place.path("app/file")).unwrap().set_modified(long_ago).unwrap();
    place.built();
    assert_eq!(place.layers(), layers);
}

#[test]
fn a_mode_bit_makes_a_new_layer() {
    let place = app("mode", COPY_ALL);
    place.put("app/file", "1");
    place.chmod("app/file", 0o644);
    place.built();
    let layers = place.layers();
    place.chmod("app/file", 0o755);
    place.built();
    assert_ne!(place.layers()[2], layers[2]);
    assert_eq!(place.sh("stat -c %a /app/file"), "755");
}

#[test]
fn a_link_to_another_file_makes_a_new_layer() {
    let place = app("link", COPY_ALL);
    symlink("one", place.path("app/link")).unwrap();
    place.built();
    fs::remove_file(place.path("app/link")).unwrap();
    symlink("two", place.path("app/link")).unwrap();
    place.built();
    assert_eq!(place.sh("readlink link"), "two");
}

#[test]
fn a_variable_of_a_step_belongs_to_its_key() {
    let place = app("variable", "FROM leanbox/busybox\nENV A=1\nRUN echo $A > /a\n");
    place.built();
    place.built_of("FROM leanbox/busybox\nENV A=2\nRUN echo $A > /a\n");
    assert_eq!(place.sh("cat /a"), "2");
}

#[test]
fn a_folder_with_one_file_is_not_taken_for_that_file() {
    let place = app("folder-file", "FROM leanbox/busybox\nCOPY file /x\n");
    place.put("app/file", "text");
    place.put("app/folder/file", "text");
    place.built();
    assert_eq!(place.sh("cat /x"), "text");
    place.built_of("FROM leanbox/busybox\nCOPY folder /x\n");
    assert_eq!(place.sh("cat /x/file"), "text");
}
