//! RUN: what it may, what it leaves, how its failure is told.

use crate::place::{app, names};
use std::fs;

#[test]
fn a_failure_tells_code_step_and_line_and_changes_nothing() {
    let place = app("fails", "FROM leanbox/busybox\nCMD [\"echo\", \"old\"]\n");
    place.built();
    let layers = names(&place.path("store/layers"));
    let index = place.read("store/index.json");
    place.put("app/Dockerfile", "FROM leanbox/busybox\n\nRUN echo why >&2 && exit 7\n");
    let done = place.build();
    done.failed(&["app/Dockerfile:3: RUN ended with 7; its own output is above"]);
    assert!(done.step("RUN").starts_with("step 2/2: RUN echo why"), "{done:?}");
    assert!(done.err.contains("\nwhy\n"), "{done:?}");
    assert_eq!(place.run(&[]), "old");
    assert_eq!(names(&place.path("store/layers")), layers);
    assert_eq!(place.read("store/index.json"), index);
    assert_eq!(names(&place.path("state")), [""; 0]);
}

#[test]
fn a_step_killed_by_a_signal_tells_128_and_its_number() {
    let place = app("signal", "FROM leanbox/busybox\nRUN kill -9 $$\n");
    place.build().failed(&["Dockerfile:2: RUN ended with 137"]);
}

#[test]
fn it_has_no_capability_on_the_host() {
    let script = "cat /proc/self/uid_map > /map; \
        mount -t tmpfs none /mnt 2>/dev/null && exit 10; \
        mknod /disk b 254 0 2>/dev/null && exit 11; \
        echo x 2>/dev/null > /proc/sys/kernel/core_pattern && exit 12; \
        hostname other 2>/dev/null && exit 13; \
        exit 0";
    let place = app("capability", &format!("FROM leanbox/busybox\nRUN mkdir /mnt\nRUN {script}\n"));
    place.built();
    let map = place.sh("cat /map");
    let map: Vec<u64> = map.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(map[0], 0);
    assert!(map[1] > 1_000_000 && map[2] <= 65536, "{map:?}");
}

#[test]
fn it_sees_no_file_and_no_process_of_the_host() {
    let place = app("host", "");
    place.put("secret", "secret");
    let secret = place.path("secret");
    place.built_of(&format!(
        "FROM leanbox/busybox\nRUN ! cat {0} /proc/1/root{0} 2>/dev/null && ls /proc | grep -c '^[0-9]' > /seen\n",
        secret.display()
    ));
    assert!(place.sh("cat /seen").parse::<u32>().unwrap() < 10);
}

#[test]
fn owners_are_kept_in_the_layer_and_in_the_export() {
    use std::os::unix::fs::MetadataExt;
    let place = app("owners", "FROM leanbox/busybox\nRUN echo x > /x && chown 1234:4321 /x\n");
    place.built();
    assert_eq!(place.sh("stat -c %u:%g /x"), "1234:4321");
    let archive = fs::read_dir(place.path("store/blobs/sha256")).unwrap().flatten();
    let listed = archive.map(|entry| {
        let list =
            place.program("tar").arg("--numeric-owner").arg("-tvf").arg(entry.path()).output();
        String::from_utf8_lossy(&list.unwrap().stdout).into_owned()
    });
    assert!(listed.collect::<String>().contains("1234/4321"));
    place.exported();
    let meta = fs::metadata(place.path("out/x")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1234, 4321));
}

#[test]
fn what_a_later_step_removes_is_gone() {
    let place = app(
        "whiteout",
        "FROM leanbox/busybox\nRUN mkdir -p /d/e && touch /f /d/old /d/e/old\n\
         RUN rm /f && rm -r /d && mkdir /d && touch /d/new\n",
    );
    place.built();
    assert_eq!(place.sh("ls / | grep -x f; ls -R /d"), "/d:\nnew");
    place.exported();
    assert!(!place.path("out/f").exists());
    assert_eq!(names(&place.path("out/d")), ["new"]);
}

#[test]
fn what_was_removed_can_come_back_in_a_later_step() {
    let place = app(
        "back",
        "FROM leanbox/busybox\nRUN mkdir /d && echo 1 > /d/f\nRUN rm -r /d\n\
         RUN mkdir /d && echo 2 > /d/g\n",
    );
    place.built();
    place.exported();
    assert_eq!(names(&place.path("out/d")), ["g"]);
}

#[test]
fn the_hosts_files_it_is_shown_are_no_part_of_the_layer() {
    let place = app("shown", "FROM leanbox/busybox\nRUN test -s /etc/hosts && touch /made\n");
    place.built();
    place.exported();
    assert_eq!(names(&place.path("out/etc")), ["group", "passwd"]);
    let layers = place.layers();
    let changed = names(&place.path(&format!("store/layers/{}/diff", layers[1])));
    assert_eq!(changed, ["made"]);
}

#[test]
fn a_link_in_the_place_of_a_shown_file_does_no_harm() {
    let place = app("shown-link", "FROM leanbox/busybox\nRUN ln -s /run/x /etc/link\n");
    place.put("app/hosts", "1.2.3.4 own\n");
    place.put("app/make", "#!/bin/sh\nln -s ../run/hosts /x/hosts\n");
    place.chmod("app/make", 0o755);
    place.built_of(
        "FROM leanbox/busybox\nRUN mkdir /x\nCOPY make /\nRUN /make\nCOPY hosts /etc/hosts\nRUN true\n",
    );
    assert_eq!(place.sh("cat /etc/hosts"), "1.2.3.4 own");
}

#[test]
fn an_image_may_have_many_layers() {
    let steps: String = (0..30).map(|step| format!("WORKDIR /{step}\n")).collect();
    let place = app("many", &format!("FROM leanbox/busybox\n{steps}RUN rmdir /0\n"));
    place.built();
    place.exported();
    assert!(place.path("out/29").exists() && !place.path("out/0").exists());
}
