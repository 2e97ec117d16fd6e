//! Bad input: one clear line, and nothing changed.

use crate::done::Done;
use crate::place::{Place, app, names, place};
use std::fs;
use std::os::unix::fs::symlink;

fn build_of(name: &str, dockerfile: &str) -> (Place, Done) {
    let place = app(name, dockerfile);
    let done = place.build();
    (place, done)
}

#[track_caller]
fn refused(name: &str, dockerfile: &str, words: &[&str]) {
    let (place, done) = build_of(name, dockerfile);
    done.failed(words);
    assert_eq!(done.err.lines().count(), done.err.matches("step ").count() + 1, "{done:?}");
    assert!(names(&place.path("store/images")).iter().all(|name| name.contains("busybox")));
}

#[test]
fn instructions_of_a_later_version_name_file_and_line() {
    for word in ["ADD a /b", "ARG A=1", "EXPOSE 80", "LABEL a=b", "VOLUME /v", "SHELL [\"sh\"]"] {
        let name = word.split(' ').next().unwrap();
        let text = format!("app/Dockerfile:3: {name} is not supported yet; supported are FROM");
        refused(name, &format!("FROM scratch\n\n{word}\n"), &[&text]);
    }
}

#[test]
fn options_of_a_later_version_are_refused() {
    refused("flags", "FROM scratch\nCOPY --chown=1 a /\n", &["Dockerfile:2: COPY with options"]);
    refused("here", "FROM scratch\nRUN <<X\necho\nX\n", &["Dockerfile:2: RUN with options"]);
    refused("platform", "FROM --platform=x scratch\n", &["Dockerfile:1: FROM with options"]);
    let two = "FROM scratch\nENV A=1\nFROM scratch\n";
    refused("stages", two, &["Dockerfile:3: a second FROM"]);
}

#[test]
fn a_base_that_is_not_there_is_named_with_those_that_are() {
    for base in ["nope", "python:3", "docker.io/library/debian", "leanbox/nope", "UPPER"] {
        let words = format!("Dockerfile:2: FROM {base}: no such image in the store; built in are");
        refused("base", &format!("# this\nFROM {base}\n"), &[&words, "leanbox/python:3"]);
    }
}

#[test]
fn what_is_no_dockerfile_is_refused() {
    refused("empty", "", &["app/Dockerfile: expected", "FROM", "begin with FROM"]);
    refused("comment", "# nothing\n\n", &["app/Dockerfile: expected", "begin with FROM"]);
    refused("no-from", "RUN true\nFROM scratch\n", &["Dockerfile:1: expected FROM"]);
    refused("unknown", "FROM scratch\nFLY /moon\n", &["Dockerfile:2: unknown instruction 'FLY'"]);
    refused("one", "FROM scratch\nCOPY a\n", &["Dockerfile:2: COPY", "at least two arguments"]);
    refused("env", "FROM scratch\nENV A=1 B\n", &["Dockerfile:2: ENV takes KEY=value"]);
}

#[test]
fn a_dockerfile_that_cannot_be_read_is_refused() {
    let place = place("unreadable");
    let file = place.path("app/Dockerfile");
    fs::create_dir(&file).unwrap();
    place.build().failed(&["app/Dockerfile: not a file"]);
    fs::remove_dir(&file).unwrap();
    symlink("nowhere", &file).unwrap();
    place.build().failed(&["app/Dockerfile: a link to nothing"]);
    fs::remove_file(&file).unwrap();
    fs::write(&file, b"FROM \xff\xfe\n").unwrap();
    place.build().failed(&["app/Dockerfile", "UTF-8"]);
    assert!(place.images().is_empty());
}

#[test]
fn an_app_that_is_not_there_or_a_file_is_refused() {
    let place = place("app");
    place.put("file", "text");
    let build = |app: &str| place.leanbox(&["build", app, "--name", "t"]);
    build("nope").failed(&["nope: no such app folder"]);
    build("file").failed(&["file: not a folder; an app is a folder with code"]);
    build("file/x").failed(&["app folder: file/x: ENOTDIR"]);
    place.leanbox(&["build", "--name", "t"]).failed(&["no app folder given"]);
    assert!(place.images().is_empty());
}

#[test]
fn an_app_with_nothing_to_run_is_refused_before_a_base_is_made() {
    let place = place("nothing");
    fs::create_dir_all(place.path("app")).unwrap();
    place.build().failed(&["app: neither a Dockerfile nor a .py file in it"]);
    assert!(place.images().is_empty());
}

#[test]
fn requirements_that_cannot_be_read_are_refused() {
    let place = place("requirements");
    place.put("app/hello.py", "");
    let file = place.path("app/requirements.txt");
    symlink("nowhere", &file).unwrap();
    let shown = place.leanbox(&["build", "app", "--show-default-dockerfile"]).good().out;
    assert!(shown.contains("RUN pip install"), "{shown}");
    place.build().failed(&["app/requirements.txt: a link to nothing"]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    place.build().failed(&["app/requirements.txt: not a file"]);
    assert!(place.images().is_empty());
}

#[test]
fn names_that_are_none_are_refused() {
    let place = app("names", "FROM scratch\n");
    let long = "a".repeat(129);
    for name in ["", "a/b", "../x", "..", "a..b", ".a", "-a", "A", "a b", "ä", "a\nb", &long] {
        let named = format!("--name={name}");
        let build = place.leanbox(&["build", "app", &named]);
        build.failed(&["image name"]);
        assert_eq!(build.err.lines().count(), 1, "{build:?}");
        assert!(build.err.len() < 200, "{build:?}");
    }
    place.leanbox(&["build", "app", "--name", "a/b"]).failed(&["no slashes"]);
    place.leanbox(&["build", "app", "--name", &long]).failed(&["129 bytes, at most 128"]);
    let base = place.leanbox(&["build", "app", "--name", "leanbox/busybox"]);
    base.failed(&["the name of a built-in base"]);
    assert!(place.images().is_empty());
    let longest = "a".repeat(128);
    place.leanbox(&["build", "app", "--name", &longest]).good();
}

#[test]
fn a_user_that_the_image_lacks_is_named_by_the_step_that_needs_it() {
    let dockerfile = "FROM leanbox/busybox\nUSER ghost\nRUN id\n";
    refused("ghost", dockerfile, &["Dockerfile:3: user \"ghost\"", "/etc/passwd"]);
}

#[test]
fn a_run_step_without_anything_to_run_is_refused() {
    let scratch = "RUN on scratch: there is no program in an empty image";
    refused("scratch", "FROM scratch\nRUN true\n", &["Dockerfile:2: ", scratch]);
    let missing = ["Dockerfile:2: exec \"nope\": ENOENT; no such program"];
    refused("missing", "FROM leanbox/busybox\nRUN [\"nope\"]\n", &missing);
}

#[test]
fn more_layers_than_an_overlay_takes_are_told_with_a_way_out() {
    let steps: String = (0..40).map(|step| format!("WORKDIR /{step}\n")).collect();
    let place = app("layers", &format!("FROM leanbox/busybox\n{steps}RUN true\n"));
    place.build().failed(&["Dockerfile:42: 41 layers", "join some of the steps"]);
}
