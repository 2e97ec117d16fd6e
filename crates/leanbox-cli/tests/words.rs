//! The command's words beside `run`: help, mistakes, doctor.

mod common;

use common::{Done, place};

#[test]
fn help_and_version_are_on_standard_output() {
    let place = place("help");
    for words in [&["--help"][..], &["run", "--help"], &["build", "-h"], &["doctor", "--help"]] {
        let done = Done::of(place.leanbox(words).output().unwrap());
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
        assert!(done.out.contains("Usage: leanbox"), "{done:?}");
    }
    let done = Done::of(place.leanbox(&["--version"]).output().unwrap());
    done.said(&format!("leanbox {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_of_run_names_its_exit_codes_and_examples() {
    let place = place("help-run");
    let done = Done::of(place.leanbox(&["run", "--help"]).output().unwrap());
    for words in ["Examples:", "124 timed out", "125", "126", "127", "--entrypoint", "--json"] {
        assert!(done.out.contains(words), "{words:?}");
    }
}

#[test]
fn words_that_make_no_sense_are_one_line_and_2() {
    let place = place("mistakes");
    let fails = |words: &[&str], text: &str| {
        Done::of(place.leanbox(words).output().unwrap()).failed(2, text);
    };
    fails(&["frobnicate"], "unrecognized subcommand 'frobnicate'; see leanbox --help");
    fails(&["doctor", "--frob"], "see leanbox doctor --help");
    fails(&["build", "."], "--name");
    fails(&["bench", "start", "--mode", "fast"], "fast");
}

#[test]
fn no_words_show_the_help_and_are_2() {
    let place = place("no-words");
    let done = Done::of(place.leanbox(&[]).output().unwrap());
    assert_eq!(done.code, 2);
    assert!(done.err.contains("Usage: leanbox"), "{done:?}");
}

#[test]
fn an_image_that_is_not_there_is_one_line_and_1() {
    let place = place("images");
    Done::of(place.leanbox(&["rmi", "none"]).output().unwrap()).failed(1, "no image \"none\"");
    Done::of(place.leanbox(&["export", "none", "out"]).output().unwrap()).failed(1, "none");
    Done::of(place.leanbox(&["rmi", "../x"]).output().unwrap()).failed(1, "image name");
    let done = Done::of(place.leanbox(&["images", "--json"]).output().unwrap());
    done.said("[]");
}

#[test]
fn doctor_says_a_line_for_each_thing_and_starts_a_container() {
    let place = place("doctor");
    let done = Done::of(place.leanbox(&["doctor"]).output().unwrap());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let states = ["ok       ", "limited  ", "missing  "];
    assert!(done.out.lines().all(|line| states.iter().any(|state| line.starts_with(state))));
    for words in ["kernel: Linux", "cgroups:", "idmapped mounts:", "start: a container started"] {
        assert!(done.out.contains(words), "{words:?} is not in {done:?}");
    }
}
