//! `leanbox bench sync`: the program on the hosts, whole, under both names, and only if it is new.

use crate::common::Done;
use crate::lab::{Lab, PASSWORD};
use crate::runs::pass;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const NAMES: [&str; 2] = ["leanbox", "benchmark_lean_container"];

fn sync(lab: &Lab, words: &[&str]) -> Done {
    let mut done = Done::of(lab.bench(&[&["sync"], words].concat()).output().unwrap());
    // The test's own build may be linked dynamically, which is said.
    let lines = done.err.lines().filter(|line| !line.contains("the same C library"));
    done.err = lines.collect::<Vec<_>>().join("\n");
    done
}

#[track_caller]
fn is_there(lab: &Lab, host: &str, folder: &str) {
    let built = fs::read(env!("CARGO_BIN_EXE_leanbox")).unwrap();
    let folder = lab.home(host).join(folder);
    for name in NAMES {
        let path = folder.join(name);
        assert!(fs::read(&path).unwrap() == built, "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "something temporary is left");
}

#[test]
fn the_program_is_copied_under_both_names_and_only_once() {
    let lab = Lab::make("sync");
    let done = sync(&lab, &["--hosts", "val01,val02"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    for host in ["val01", "val02"] {
        assert!(done.out.contains(&format!("{host}: copied ")), "{done:?}");
        is_there(&lab, host, "");
    }
    let inode = || fs::metadata(lab.home("val01").join("leanbox")).unwrap().ino();
    let before = inode();
    let done = sync(&lab, &["--hosts", "val01,val02"]);
    done.said(&done.out);
    assert!(done.out.contains("val01: nothing to do"), "{done:?}");
    assert!(done.out.contains("val02: nothing to do"), "{done:?}");
    assert_eq!(inode(), before);
    fs::remove_file(lab.home("val01").join(NAMES[1])).unwrap();
    fs::write(lab.home("val02").join(NAMES[0]), "old").unwrap();
    let done = sync(&lab, &["--hosts", "val01,val02"]);
    assert_eq!(done.out.matches("copied").count(), 2, "{done:?}");
    is_there(&lab, "val01", "");
    is_there(&lab, "val02", "");
}

#[test]
fn the_hosts_of_a_file_are_synced_with_a_password_into_a_folder() {
    let lab = Lab::make("sync-file");
    let text = pass("pw-val01", 1, "a") + &pass("pw-val01", 1, "b") + &pass("pw-val03", 1, "c");
    fs::write(lab.folder.join("bench.toml"), text).unwrap();
    let done = sync(&lab, &["-f", "bench.toml", "-p", PASSWORD, "--to", "~/a b"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.out.lines().count(), 2, "{done:?}");
    is_there(&lab, "val01", "a b");
    is_there(&lab, "val03", "a b");
}

#[test]
fn a_host_that_cannot_be_had_is_said_and_the_others_are_synced() {
    let lab = Lab::make("sync-refused");
    fs::create_dir(lab.home("val02").join("leanbox")).unwrap();
    let done = sync(&lab, &["--hosts", "closed,nokey,val01,val02", "--connect-timeout", "3"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("leanbox: closed: refused the connection"), "{done:?}");
    assert!(done.err.contains("leanbox: nokey: refused the login"), "{done:?}");
    assert!(done.err.contains("leanbox: val02: leanbox is a folder there"), "{done:?}");
    assert_eq!(done.err.lines().count(), 3, "{done:?}");
    is_there(&lab, "val01", "");
}
