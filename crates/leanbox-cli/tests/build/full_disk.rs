//! A full disk: one line, nothing half made, and a store that still works. The disk is a tmpfs
//! in a mount namespace that goes with its last process.

use crate::done::Done;
use crate::place::{Place, app};

/// Runs a script with the built command as `$0`, the folder `disk` being of that size.
fn on_disk(place: &Place, size: &str, script: &str) -> Done {
    let script =
        format!("mkdir disk && mount -t tmpfs -o size={size} leanbox disk && {{ {script}\n}}");
    let mut command = place.program("unshare");
    command.args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_leanbox")]);
    Done::of(command.output().unwrap())
}

const BUILD: &str = "export LEANBOX_STORE=$PWD/disk/store; \"$0\" build app --name t";
/// How much is left of it, and a small build after it.
const AFTER: &str = "; echo \"code $?\"; cd disk/store; find tmp layers blobs/sha256 rootfs \
    -mindepth 1 | wc -l; cd ../..; printf 'FROM scratch\nCOPY small /\n' > app/Dockerfile; \
    \"$0\" build app --name s 2>&1 && \"$0\" rmi s && \"$0\" images";

#[track_caller]
fn tells_it(done: &Done, words: &[&str]) {
    let line = done.err.lines().last().unwrap_or_default();
    for word in ["leanbox: ", "ENOSPC", "disk is full", "LEANBOX_STORE"].iter().chain(words) {
        assert!(line.contains(word), "{word:?} is not in {done:?}");
    }
    assert!(done.out.starts_with("code 1\n0\n"), "{done:?}");
}

fn big(name: &str, dockerfile: &str) -> Place {
    let place = app(name, dockerfile);
    place.put("app/small", "small");
    place.put("app/big", &"x".repeat(4_000_000));
    place
}

#[test]
fn in_a_copy() {
    let place = big("full-copy", "FROM scratch\nCOPY big /\n");
    let done = on_disk(&place, "3m", &format!("{BUILD}{AFTER}"));
    tells_it(&done, &["Dockerfile:2: "]);
    assert!(done.out.contains("image s has 1 layers"), "{done:?}");
}

#[test]
fn while_a_layer_is_packed() {
    let place = big("full-pack", "FROM scratch\nCOPY small /\nCOPY big /\n");
    let done = on_disk(&place, "6m", &format!("{BUILD}{AFTER}"));
    tells_it(&done, &["Dockerfile:3: "]);
    assert!(done.out.contains("image s has 1 layers"), "{done:?}");
}

#[test]
fn while_a_base_is_made() {
    let place = big("full-base", "FROM leanbox/busybox\n");
    let done = on_disk(&place, "1m", &format!("{BUILD}{AFTER}"));
    tells_it(&done, &["Dockerfile:1: "]);
    assert!(done.out.contains("image s has 1 layers"), "{done:?}");
}

#[test]
fn in_a_run_step() {
    let fill = "RUN dd if=/dev/zero of=/big bs=1M count=20\n";
    let place = big("full-run", &format!("FROM leanbox/busybox\n{fill}"));
    let done = on_disk(&place, "8m", &format!("{BUILD}{AFTER}"));
    assert!(done.out.starts_with("code 1"), "{done:?}");
    assert!(done.err.contains("No space left on device"), "{done:?}");
    assert!(
        done.err.ends_with("Dockerfile:2: RUN ended with 1; its own output is above"),
        "{done:?}"
    );
    assert!(done.out.contains("image s has 1 layers"), "{done:?}");
}

#[test]
fn an_image_can_be_removed_from_a_disk_without_any_space() {
    let place = big("full-rmi", "FROM scratch\nCOPY small /\n");
    // So many that the index of those left is larger than the record of the removed one.
    let script = format!(
        "{BUILD} && for i in $(seq 20); do \"$0\" build app --name i$i 2>/dev/null; done; \
         ! dd if=/dev/zero of=disk/all bs=4k 2>/dev/null; \
         ! echo x > disk/more && \"$0\" rmi t && \"$0\" images | wc -l"
    );
    let done = on_disk(&place, "2m", &script);
    assert_eq!((done.code, done.out.as_str()), (0, "21"), "{done:?}");
}

#[test]
fn in_an_export() {
    let place = big("full-export", "FROM scratch\nCOPY big /\n");
    place.built();
    let done = on_disk(&place, "2m", "\"$0\" export t disk/x/root; echo \"code $?\"; ls -A disk");
    assert_eq!(done.out, "code 1", "{done:?}");
    for words in ["leanbox: ", "ENOSPC", "free some space for ", "disk/x/root"] {
        assert!(done.err.contains(words), "{done:?}");
    }
}
