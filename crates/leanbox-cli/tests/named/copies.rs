//! Copies between a detached container and here.

use super::{Yard, common, within};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn files_and_folders_are_copied_in_and_out() {
    let yard = Yard::new("named-cp");
    yard.detach("box", &[], "sleep 100");
    let here = |name: &str| yard.0.0.join(name);
    fs::create_dir_all(here("tree/sub")).unwrap();
    fs::write(here("tree/sub/a"), "hello").unwrap();
    fs::set_permissions(here("tree/sub/a"), fs::Permissions::from_mode(0o751)).unwrap();
    symlink("sub/a", here("tree/link")).unwrap();
    yard.leanbox(&["cp", "tree", "box:/tmp"]).said("");
    let look = "cd /tmp/tree; cat sub/a link; ls -ln sub/a";
    let seen = yard.leanbox(&["exec", "box", "sh", "-c", look]).out;
    assert!(seen.starts_with("hellohello-rwxr-x--x") && seen.contains(" 0        0 "), "{seen}");
    yard.leanbox(&["cp", "box:/tmp/tree", "back"]).said("");
    assert_eq!(fs::read_to_string(here("back/sub/a")).unwrap(), "hello");
    assert_eq!(fs::metadata(here("back/sub/a")).unwrap().permissions().mode() & 0o777, 0o751);
    assert_eq!(fs::read_link(here("back/link")).unwrap().to_str(), Some("sub/a"));
    yard.leanbox(&["cp", "box:/tmp/tree/sub/a", "one"]).said("");
    assert_eq!(fs::read_to_string(here("one")).unwrap(), "hello");
    let archive = yard.command(&["cp", "box:/tmp/tree", "-"]).output().unwrap().stdout;
    let put = common::fed(&mut yard.command(&["cp", "-", "box:/dev/shm"]), &archive);
    assert!(put.status.success(), "{put:?}");
    yard.leanbox(&["exec", "box", "cat", "/dev/shm/tree/link"]).said("hello");
    yard.leanbox(&["cp", "box:/tmp/none", "x"]).failed(1, "/tmp/none: ENOENT");
    yard.leanbox(&["cp", "tree", "box:/bin"]).failed(1, "EROFS");
    yard.leanbox(&["cp", "a", "b"]).failed(1, "NAME:PATH");
    yard.leanbox(&["pause", "box"]).said("");
    yard.leanbox(&["cp", "one", "box:/tmp/two"]).said("");
    yard.leanbox(&["unpause", "box"]).said("");
    yard.leanbox(&["exec", "box", "cat", "/tmp/two"]).said("hello");
}

#[test]
fn an_archive_keeps_the_owners_as_they_are_inside() {
    let yard = Yard::new("named-archive");
    let script = "mkdir /tmp/own; echo 1 >/tmp/own/file; ln -s file /tmp/own/link; \
        chown -hR 7:8 /tmp/own; chmod 4755 /tmp/own/file; sleep 100";
    for applet in ["ln", "mkdir", "chown", "chmod", "stat"] {
        symlink("busybox", yard.0.0.join("root/bin").join(applet)).unwrap();
    }
    yard.detach("box", &["--cap-add", "CHOWN", "--cap-add", "FOWNER"], script);
    let look = "stat -c '%u %g %a' /tmp/own/file";
    let is_done = || yard.leanbox(&["exec", "box", "sh", "-c", look]).out == "7 8 4755";
    assert!(within(std::time::Duration::from_secs(20), is_done));
    yard.leanbox(&["cp", "-a", "box:/tmp/own", "out"]).said("");
    let owner = |path: &str| {
        let meta = fs::symlink_metadata(yard.0.0.join(path)).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    // Nobody's program here becomes another's.
    assert_eq!(owner("out/file"), (7, 8, 0o755));
    assert_eq!(
        [owner("out"), owner("out/link")].map(|(user, group, _)| (user, group)),
        [(7, 8); 2]
    );
    yard.leanbox(&["cp", "box:/tmp/own", "plain"]).said("");
    assert_eq!(owner("plain/file"), (0, 0, 0o755));
    std::os::unix::fs::lchown(yard.0.0.join("out/link"), Some(9), Some(10)).unwrap();
    fs::set_permissions(yard.0.0.join("out/file"), fs::Permissions::from_mode(0o6711)).unwrap();
    yard.leanbox(&["cp", "--archive", "out", "box:/tmp/back"]).said("");
    let look = "cd /tmp; stat -c '%u %g' back back/link; stat -c '%u %g %a' back/file";
    yard.leanbox(&["exec", "box", "sh", "-c", look]).said("7 8\n9 10\n7 8 6711");
    let archive = yard.command(&["cp", "box:/tmp/back", "-"]).output().unwrap().stdout;
    let put = common::fed(&mut yard.command(&["cp", "-a", "-", "box:/dev/shm"]), &archive);
    assert!(put.status.success(), "{put:?}");
    // An archive that root unpacks makes no program of root's.
    let look = "cd /dev/shm/back; stat -c '%u %g' . link; stat -c '%u %g %a' file";
    yard.leanbox(&["exec", "box", "sh", "-c", look]).said("7 8\n9 10\n7 8 711");
    // What was here before stays whose it is.
    fs::create_dir_all(yard.0.0.join("there/own")).unwrap();
    yard.leanbox(&["cp", "-a", "box:/tmp/own", "there"]).said("");
    assert_eq!(owner("there/own").0, 0);
    assert_eq!(owner("there/own/file"), (7, 8, 0o755));
    yard.leanbox(&["cp", "-a", "box:/tmp/..", "."]).failed(1, "no name");
    fs::write(yard.0.0.join("foreign"), "").unwrap();
    std::os::unix::fs::chown(yard.0.0.join("foreign"), Some(1 << 20), Some(0)).unwrap();
    yard.leanbox(&["cp", "-a", "foreign", "box:/tmp/foreign"]).failed(1, "/tmp/foreign: EINVAL");
}

#[test]
fn what_a_container_swaps_while_it_is_copied_leads_to_nothing_of_ours() {
    let yard = Yard::new("named-swap");
    let victim = yard.0.0.join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "of the host").unwrap();
    for applet in ["ln", "mkdir", "rm", "rmdir"] {
        symlink("busybox", yard.0.0.join("root/bin").join(applet)).unwrap();
    }
    let path = victim.display();
    let script = format!(
        "cd /tmp; mkdir -p t/real; echo inside > t/real/file; while :; do \
         ln -sfn {path} t/name; rm -f t/name; mkdir t/name; echo inside > t/name/file; \
         rm -f t/name/file; rmdir t/name; done"
    );
    yard.detach("box", &[], &script);
    fs::write(yard.0.0.join("in"), "written").unwrap();
    for turn in 0..40 {
        let out = yard.0.0.join(format!("out{turn}"));
        // It may fail, since things are gone meanwhile.
        let archive = if turn % 2 == 0 { &["-a"][..] } else { &[] };
        let words = ["box:/tmp/t", &format!("out{turn}")];
        yard.leanbox(&[&["cp"], archive, &words].concat());
        for folder in ["name", "real"].map(|name| out.join(name)) {
            // A link that came out is a link, and not followed here.
            let is_link = fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_symlink());
            let text = fs::read_to_string(folder.join("file")).unwrap_or_default();
            assert!(is_link || text != "of the host");
        }
        yard.leanbox(&["cp", "in", "box:/tmp/t/name/file"]);
        yard.leanbox(&[&["cp"], archive, &["in", "box:/tmp/t/name"]].concat());
    }
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "of the host");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
}
