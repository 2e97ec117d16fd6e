//! Apps in Python: the default Dockerfile, packages of pip and of Debian. The base takes half a
//! minute, so all these tests share one store; a root is 200 MB, so few are exported, and go soon.

use crate::done::Done;
use crate::place::{Place, place};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

const HELLO: &str = "import os\nprint('hello from', os.getcwd())\n";

/// A place with the base in its store, for as long as the process lives.
fn shared() -> &'static Place {
    static SHARED: OnceLock<(Place, Child)> = OnceLock::new();
    let make = || {
        let place = place("python");
        // Nothing of this process runs at its end; a pipe that closes is noticed even so.
        let mut janitor = place.program("sh");
        janitor.args(["-c", "trap '' INT TERM HUP; read -r _; rm -rf \"$0\""]).arg(&place.0);
        let janitor = janitor.current_dir("/").stdin(Stdio::piped()).spawn().unwrap();
        place.put("base/Dockerfile", "FROM leanbox/python:3\n");
        place.leanbox(&["build", "base", "--name", "base"]).good();
        (place, janitor)
    };
    &SHARED.get_or_init(make).0
}

/// An app of that name with these files, in the shared place.
fn app(name: &str, files: &[(&str, &str)]) -> &'static Place {
    let place = shared();
    for (file, text) in files {
        place.put(&format!("{name}/{file}"), text);
    }
    place
}

fn build(name: &str) -> Done {
    shared().leanbox(&["build", name, "--name", name])
}

#[test]
fn the_default_dockerfile_brings_the_packages_of_the_app() {
    let hello = "import requests\nprint(requests.__name__, __file__)\n";
    let place = app("hello", &[("hello.py", hello), ("requirements.txt", "requests\n")]);
    build("hello").good();
    assert_eq!(place.leanbox(&["run", "hello"]).good().out, "requests /app/hello.py");
    assert_eq!(place.leanbox(&["run", "hello", "-c", "print(1)"]).good().out, "1");
    assert_eq!(place.leanbox(&["run", "hello", "hello.py"]).good().out, "requests /app/hello.py");
    place.leanbox(&["rmi", "hello"]).good();
}

#[test]
fn a_changed_program_runs_no_pip() {
    let place = app("changed", &[("changed.py", HELLO), ("requirements.txt", "")]);
    build("changed").good();
    let again = build("changed").good();
    for step in ["WORKDIR", "COPY requirements.txt", "RUN pip install", "COPY *.py"] {
        assert!(again.step(step).ends_with(" (cached)"), "{again:?}");
    }
    place.put("changed/changed.py", "print('changed')");
    let again = build("changed").good();
    assert!(again.step("RUN pip install").ends_with(" (cached)"), "{again:?}");
    assert!(!again.step("COPY *.py").ends_with(" (cached)"), "{again:?}");
}

#[test]
fn a_dockerfile_without_entrypoint_and_a_folder_without_configuration_run_a_file() {
    let dockerfile = "FROM leanbox/python:3\nCOPY own.py /\nWORKDIR /srv\nCOPY own.py ./\n";
    let place = app("own", &[("own.py", HELLO), ("Dockerfile", dockerfile)]);
    place.leanbox(&["build", "own", "--name", "own", "--export", "own-root"]).good();
    let run = |words: &[&str]| place.leanbox(&[&["run"], words].concat()).good().out;
    assert_eq!(run(&["./own-root", "own.py"]), "hello from /srv");
    assert_eq!(run(&["./own-root"]), "hello from /srv");
    std::fs::remove_file(place.path("own-root.json")).unwrap();
    assert_eq!(run(&["./own-root", "own.py"]), "hello from /");
    std::fs::remove_dir_all(place.path("own-root")).unwrap();
}

#[test]
fn a_debian_package_brings_its_service_user() {
    let dockerfile = "FROM leanbox/python:3\n\
        RUN apt-get update -q && apt-get install -qy --no-install-recommends mosquitto\n\
        USER mosquitto\nRUN id -un > /tmp/built-as\nCMD id -un; id -gn; cat /tmp/built-as\n";
    let place = app("service", &[("Dockerfile", dockerfile)]);
    build("service").good();
    let run = place.leanbox(&["run", "--entrypoint", "sh", "service", "-c", "id -un; id -gn"]);
    assert_eq!(run.good().out, "mosquitto\nmosquitto");
    place.leanbox(&["rmi", "service"]).good();
}

#[test]
fn a_package_that_pip_cannot_find_is_told_in_its_own_words() {
    let requirements = "leanbox-no-such-package==9.9\n";
    app("missing", &[("missing.py", HELLO), ("requirements.txt", requirements)]);
    let done = build("missing");
    done.failed(&["default Dockerfile:4: RUN ended with 1; its own output is above"]);
    assert!(done.err.contains("No matching distribution found for leanbox-no-such-package==9.9"));
    assert!(done.step("RUN pip install").starts_with("step 4/6: "), "{done:?}");
}
