//! Exports: into what, from where, with which rights.

use crate::place::{Place, app, names};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

const SETID: &str = "FROM leanbox/busybox\nRUN cp /bin/busybox /su && chown 0:7 /su && \
    chmod 6755 /su && mkdir -m 2775 /shared && chmod g+s /shared\n";

fn simple(name: &str) -> Place {
    let place = app(name, "FROM leanbox/busybox\nCMD [\"echo\", \"hi\"]\n");
    place.built();
    place
}

#[test]
fn nothing_in_it_is_set_id() {
    let place = app("setid", SETID);
    place.built();
    place.exported();
    assert_eq!(place.mode("out/su"), 0o755);
    assert_eq!(fs::metadata(place.path("out/su")).unwrap().gid(), 7);
    place.leanbox(&["run", "t", "true"]).good();
    let find = |args: &[&str]| {
        let output = place.program("find").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(find(&["out", "store/rootfs", "-type", "f", "-perm", "/6000"]), "");
}

#[test]
fn set_id_bits_are_kept_if_asked_for() {
    let place = app("keep-setid", SETID);
    place.leanbox(&["build", "app", "--name", "t", "--export", "out", "--keep-setid"]).good();
    assert_eq!(place.mode("out/su"), 0o6755);
    place.leanbox(&["export", "t", "again", "--keep-setid"]).good();
    assert_eq!(place.mode("again/su"), 0o6755);
}

#[test]
fn all_the_ways_to_say_it_do_the_same() {
    let place = simple("ways");
    place.leanbox(&["export", "t", "a"]).good();
    place.leanbox(&["build", "--name", "t", "--only-export", "b"]).good();
    place.leanbox(&["build", "--app", "app", "--name", "t", "--export", "c/"]).good();
    for folder in ["a", "b", "c"] {
        assert_eq!(place.leanbox(&["run", &format!("./{folder}")]).good().out, "hi");
        assert!(place.path(&format!("{folder}.json")).exists());
    }
}

#[test]
fn missing_parents_are_made_for_the_owner_alone() {
    let place = simple("parents");
    place.leanbox(&["export", "t", "x/y/root"]).good();
    assert_eq!((place.mode("x"), place.mode("x/y")), (0o700, 0o700));
    assert_eq!(names(&place.path("x/y")), ["root", "root.json"]);
}

#[test]
fn an_empty_folder_is_taken_and_a_full_one_refused() {
    let place = simple("full");
    fs::create_dir(place.path("out")).unwrap();
    place.exported();
    place
        .leanbox(&["export", "t", "out"])
        .failed(&["export to out: not empty", "an empty or a new"]);
    let build = place.leanbox(&["build", "app", "--name", "u", "--export", "out"]);
    build.failed(&["export to out: not empty"]);
    assert!(!place.images().contains(&"u".to_string()));
}

#[test]
fn what_is_no_folder_is_refused() {
    let place = simple("no-folder");
    place.put("file", "mine");
    symlink("nowhere", place.path("link")).unwrap();
    let export = |to: &str| place.leanbox(&["export", "t", to]);
    export("file").failed(&["export to file: not a folder"]);
    export("link").failed(&["export to link: not a folder"]);
    export("file/x").failed(&["export to file/x: its parent is not a folder"]);
    export("/").failed(&["export to /: not a folder of its own"]);
    assert_eq!(place.read("file"), "mine");
    assert_eq!(names(&place.0), ["app", "file", "link", "store"]);
}

#[test]
fn an_image_that_is_not_there_leaves_no_folder() {
    let place = simple("no-image");
    place.leanbox(&["export", "nope", "x/y"]).failed(&["no image \"nope\" in the store"]);
    assert!(!place.path("x").exists());
}

#[test]
fn links_times_and_holes_are_kept() {
    let place = app(
        "kept",
        "FROM leanbox/busybox\nRUN echo x > /a && ln /a /b && ln -s a /c && \
         touch -d '2001-02-03 04:05:06' /a && mkdir /d && touch -d '2001-02-03 04:05:06' /d && \
         dd if=/dev/zero of=/hole bs=1 count=1 seek=100000000 2>/dev/null && mkfifo -m 640 /pipe\n",
    );
    place.built();
    place.exported();
    let meta = |name: &str| fs::symlink_metadata(place.path(name)).unwrap();
    assert_eq!(meta("out/a").ino(), meta("out/b").ino());
    assert_eq!(fs::read_link(place.path("out/c")).unwrap().to_str(), Some("a"));
    assert_eq!((meta("out/a").mtime(), meta("out/d").mtime()), (981_173_106, 981_173_106));
    assert_eq!(meta("out/hole").len(), 100_000_001);
    assert!(meta("out/hole").blocks() < 1000);
    assert_eq!(place.mode("out/pipe"), 0o640);
}

#[test]
fn no_mark_of_an_overlay_leaves_the_store() {
    let place = app(
        "marks",
        "FROM leanbox/busybox\nRUN mkdir /d && touch /d/old\nRUN rm -r /d && mkdir /d\n",
    );
    place.built();
    place.exported();
    for path in ["out", "out/d", "out/bin"] {
        let mut list = vec![0; 4096];
        let length = rustix::fs::llistxattr(place.path(path), &mut list[..]).unwrap();
        let list = String::from_utf8_lossy(&list[..length]);
        assert!(!list.contains("overlay"), "{path}: {list}");
    }
}

#[test]
fn a_mount_point_is_refused_with_a_way_out() {
    let place = simple("mount-point");
    let script = "mkdir m && mount -t tmpfs leanbox m && \"$0\" export t m";
    let mut command = place.program("unshare");
    command.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_leanbox")]);
    crate::done::Done::of(command.output().unwrap()).failed(&["m: EBUSY", "not a mount point"]);
    assert_eq!(names(&place.0), ["app", "m", "store"]);
}
