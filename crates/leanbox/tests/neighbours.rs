//! What the kernel counts for each user is counted for each slot: a container that takes all that
//! it can get of it leaves its neighbour what it had.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, busybox};
use leanbox::{Command, Container, Policy, Pool, Rootfs, Stdio, Template};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Watches of inotify and epoll are not among them: a slot's memory ends before the kernel's limits
/// for a user do. Keys and further user namespaces are refused to it, System V objects belong to its
/// IPC namespace, and locked pages count for each user of a user namespace, which no two slots share.
const THINGS: [&str; 5] = ["pipes", "watchers", "in-flight", "queues", "signals"];

fn root(name: &str) -> Folder {
    let root = busybox(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/hog.c");
    let hog = root.0.join("bin/hog");
    let compiler = std::process::Command::new("gcc")
        .args(["-static", "-O1", "-o"])
        .args([&hog, &source])
        .arg("-lrt")
        .status()
        .expect("the tests need a C compiler: apt-get install gcc libc6-dev");
    assert!(compiler.success(), "gcc: {compiler}");
    root
}

/// A container that has taken all, and what it says about that.
fn hog(pool: &Pool, thing: &str) -> (Container, String) {
    let mut command = Command::new("hog");
    let mut hog = command.args([thing, "all"]).stdout(Stdio::Piped).spawn(pool).unwrap();
    let mut says = String::new();
    BufReader::new(hog.stdout.take().unwrap()).read_line(&mut says).unwrap();
    (hog, says.trim_end().to_string())
}

fn neighbour(pool: &Pool, thing: &str) -> String {
    common::run(pool, "hog", &[thing, "some"])
}

#[test]
fn a_container_that_takes_all_there_is_for_a_user_disturbs_no_neighbour() {
    let root = root("neighbours");
    for policy in [Policy::Once, Policy::Reuse] {
        let template = common::template(&root, policy);
        // Else all slots have one block, as in the test below.
        assert_eq!(template.maps_ids(), common::maps_ids());
        if !template.maps_ids() {
            continue;
        }
        let pool = Pool::new(&template, 2).unwrap();
        // A slot that serves again has no message queues at all.
        let has_queues = policy == Policy::Once;
        for thing in THINGS.into_iter().filter(|thing| has_queues || *thing != "queues") {
            let (hog, took) = hog(&pool, thing);
            assert!(!took.starts_with("0,") && !took.starts_with("1000000,"), "{thing}: {took}");
            assert_eq!(neighbour(&pool, thing), "ok", "{policy:?}: {thing} beside {took}");
            drop(hog);
        }
    }
}

/// Shows that the test above sees it where it is so.
#[test]
fn slots_that_share_their_ids_disturb_each_other_in_all_of_it() {
    let root = root("neighbours-shared-ids");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).without_idmap();
    let pool = Pool::new(&builder.build().unwrap(), 2).unwrap();
    for thing in THINGS {
        let (_hog, took) = hog(&pool, thing);
        assert_ne!(neighbour(&pool, thing), "ok", "{thing} beside {took}");
    }
}
