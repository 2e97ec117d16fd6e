//! Which root `leanbox run` takes and what it runs there: the forms of the original, entrypoints,
//! Python files, and roots that are none or that try to lead out.

mod common;

use common::{Done, has_entry, place};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A stand-in for the interpreter: it says how it was called.
const PYTHON: &str = "#!/bin/sh\necho python3 in $PWD: \"$@\"\n";

#[test]
fn the_default_dockerfiles_form_runs_a_file_by_its_entrypoint() {
    let place = place("entrypoint");
    place.program("usr/bin/python3", PYTHON);
    place.file("app/hello.py", "");
    place.config(r#"{"Entrypoint":["python3"],"WorkingDir":"/app","leanbox.main":"hello.py"}"#);
    place.run(&[], &["hello.py", "a b"]).said("python3 in /app: hello.py a b");
    place.run(&[], &[]).said("python3 in /app: hello.py");
    place.run(&[], &["sh", "-c", "x"]).said("python3 in /app: sh -c x");
    place.run(&["--entrypoint", "sh"], &["-c", "echo shell"]).said("shell");
    place.run(&["--entrypoint", ""], &["echo", "none"]).said("none");
}

#[test]
fn an_own_dockerfile_without_entrypoint_runs_a_file_by_the_roots_python() {
    let place = place("no-entrypoint");
    place.program("usr/bin/python3", PYTHON);
    place.file("app/hello.py", "");
    place.config(r#"{"WorkingDir":"/app","Cmd":["hello.py","from-cmd"]}"#);
    place.run(&[], &["hello.py"]).said("python3 in /app: hello.py");
    place.run(&[], &[]).said("python3 in /app: hello.py from-cmd");
    place.run(&[], &["echo", "hi"]).said("hi");
}

#[test]
fn a_plain_folder_runs_a_file_by_its_python_whatever_it_is_called() {
    let place = place("plain");
    place.file("hello.py", "");
    place.run(&[], &["hello.py"]).failed(127, "neither python3 nor python");
    place.program("usr/bin/python", PYTHON);
    place.run(&[], &["hello.py", "x"]).said("python3 in /: hello.py x");
    place.run(&["--workdir", "/tmp"], &["hello.py"]).said("python3 in /tmp: /hello.py");
    place.run(&[], &["absent.py"]).failed(127, "absent.py");
}

#[test]
fn a_python_file_that_is_a_program_runs_itself() {
    let place = place("own-program");
    place.program("app/tool.py", "#!/bin/sh\necho itself\n");
    place.run(&[], &["/app/tool.py"]).said("itself");
    place.run(&["--workdir", "/app"], &["./tool.py"]).said("itself");
}

#[test]
fn nothing_to_run_is_one_line() {
    let place = place("nothing");
    place.run(&[], &[]).failed(125, "no command given, and the image names none");
}

#[test]
fn roots_are_found_by_relative_absolute_and_bare_paths() {
    let place = place("paths");
    let root = place.root();
    for path in ["root", "./root", "root/", "root/../root", root.as_str()] {
        let output = place.leanbox(&["run", path, "echo", "here"]).output().unwrap();
        Done::of(output).said("here");
    }
}

#[test]
fn a_root_that_is_none_is_one_line() {
    let place = place("no-root");
    fs::write(place.0.join("file"), "").unwrap();
    let cases = [
        ("./absent", "no such folder"),
        ("absent", "no such image, and no such folder"),
        ("./file", "not a folder"),
        ("file", "not a folder"),
        ("", "no root file system named"),
    ];
    for (path, words) in cases {
        let output = place.leanbox(&["run", path, "true"]).output().unwrap();
        Done::of(output).failed(125, words);
    }
    Done::of(place.leanbox(&["run"]).output().unwrap()).failed(125, "ROOTFS|NAME");
}

#[test]
fn a_root_without_the_program_is_127() {
    let place = place("empty-root");
    fs::create_dir(place.0.join("empty")).unwrap();
    let output = place.leanbox(&["run", "./empty", "sh"]).output().unwrap();
    Done::of(output).failed(127, "sh");
}

#[test]
fn a_configuration_that_is_garbage_is_named() {
    let place = place("garbage");
    place.config("{\"Env\": 7}");
    place.run(&[], &["true"]).failed(125, "root.json");
}

#[test]
fn links_that_lead_out_of_the_root_lead_nowhere() {
    let place = place("links");
    fs::write(place.0.join("secret"), "of the host\n").unwrap();
    let root = place.0.join("root");
    let secret = place.0.join("secret").display().to_string();
    symlink(&secret, root.join("app/absolute")).unwrap();
    symlink("../../../../../../../../..".to_string() + &secret, root.join("app/up")).unwrap();
    place.program("usr/bin/python3", PYTHON);
    symlink("/etc/hostname", root.join("app/out.py")).unwrap();
    for link in ["/app/absolute", "/app/up"] {
        let done = place.run(&[], &["cat", link]);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
    }
    // the host's file is not taken for one of the root
    place.run(&[], &["/app/out.py"]).failed(127, "out.py");
}

#[test]
fn a_user_file_that_links_out_is_not_the_hosts() {
    let place = place("passwd");
    let passwd = place.0.join("root/etc/passwd");
    fs::write(place.0.join("passwd"), "evil:x:4242:4242::/:/bin/sh\n").unwrap();
    fs::remove_file(&passwd).unwrap();
    symlink(place.0.join("passwd"), &passwd).unwrap();
    place.run(&["--user", "evil"], &["id", "-u"]).failed(125, "evil");
}

#[test]
fn a_mount_point_that_links_out_is_refused() {
    let place = place("mount-point");
    let outside = place.0.join("outside");
    fs::create_dir(&outside).unwrap();
    let proc = place.0.join("root/proc");
    let _ = fs::remove_dir(&proc);
    symlink(&outside, &proc).unwrap();
    place.run(&[], &["true"]).failed(125, "proc");
}

#[test]
fn nothing_is_left_behind_by_runs_that_fail() {
    let place = place("left");
    let state = place.0.join("state");
    for words in [&["nope"][..], &["true"], &["sh", "-c", "kill -9 $$"]] {
        let words = [&["run", "./root"], words].concat();
        place.leanbox(&words).env("LEANBOX_STATE", &state).output().unwrap();
    }
    assert!(!has_entry(&state, "leanbox-"));
    let output = place.leanbox(&["gc"]).env("LEANBOX_STATE", &state).output().unwrap();
    Done::of(output).said("nothing to reclaim");
}

#[test]
fn a_root_that_others_may_not_enter_is_refused_with_the_remedy() {
    let place = place("closed");
    let root = place.0.join("root");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    place.run(&[], &["true"]).failed(125, "(mode 0700); a root file system is for all its users");
}
