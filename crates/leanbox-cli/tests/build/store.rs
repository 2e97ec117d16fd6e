//! The store: who sees it, what its commands do, two of them at once.

use crate::done::Done;
use crate::place::{app, names, place};
use std::fs;
use std::process::Stdio;

#[test]
fn a_new_store_is_closed_to_other_users() {
    let place = app("closed", "FROM leanbox/busybox\n");
    place.built();
    assert_eq!(place.mode("store"), 0o700);
}

#[test]
fn a_store_that_is_open_is_closed() {
    let place = app("open", "FROM leanbox/busybox\n");
    fs::create_dir(place.path("store")).unwrap();
    place.chmod("store", 0o755);
    place.built();
    assert_eq!(place.mode("store"), 0o700);
    place.chmod("store", 0o755);
    place.images();
    assert_eq!(place.mode("store"), 0o700);
}

#[test]
fn a_folder_with_other_things_in_it_becomes_no_store() {
    let place = app("foreign", "FROM leanbox/busybox\n");
    place.put("store/mine", "");
    place.chmod("store", 0o755);
    place.build().failed(&["image store: ", "is not empty and no image store", "LEANBOX_STORE"]);
    assert_eq!(place.mode("store"), 0o755);
    assert_eq!(names(&place.path("store")), ["mine"]);
}

#[test]
fn a_store_of_somebody_else_is_refused() {
    let place = app("somebody", "FROM leanbox/busybox\n");
    fs::create_dir(place.path("store")).unwrap();
    std::os::unix::fs::chown(place.path("store"), Some(1234), None).unwrap();
    place.build().failed(&["belongs to user 1234", "LEANBOX_STORE"]);
}

#[test]
fn a_store_that_cannot_be_made_is_one_line() {
    let place = app("no-store", "FROM leanbox/busybox\n");
    let mut command = place.command(&["images"]);
    let done =
        Done::of(command.env("LEANBOX_STORE", place.path("app/Dockerfile/x")).output().unwrap());
    done.failed(&["image store: ", "app/Dockerfile/x: ENOTDIR", "LEANBOX_STORE"]);
    let done =
        Done::of(command.env("LEANBOX_STORE", place.path("app/Dockerfile")).output().unwrap());
    done.failed(&["image store: ", "app/Dockerfile", "LEANBOX_STORE"]);
}

#[test]
fn an_image_that_is_not_there_cannot_be_removed() {
    let place = place("rmi-none");
    place.leanbox(&["rmi", "none"]).failed(&["no image \"none\" in the store; leanbox images"]);
    place.leanbox(&["rmi", "../images"]).failed(&["image name \"../images\": no slashes"]);
    place.leanbox(&["rmi", ""]).failed(&["image name \"\""]);
}

#[test]
fn a_removed_image_leaves_what_others_have_and_can_be_built_again() {
    let place = app("rmi", "FROM leanbox/busybox\nRUN echo x > /x\n");
    place.built();
    place.leanbox(&["build", "app", "--name", "other"]).good();
    place.run(&["cat", "/x"]);
    place.leanbox(&["rmi", "t"]).good();
    assert_eq!(place.images(), ["leanbox/busybox", "other"]);
    assert_eq!(place.leanbox(&["run", "other", "cat", "/x"]).good().out, "x");
    place.leanbox(&["rmi", "other"]).good();
    assert_eq!(names(&place.path("store/layers")).len(), 1);
    assert_eq!(names(&place.path("store/rootfs")).len(), 0);
    let again = place.built();
    assert!(!again.step("RUN").ends_with("(cached)"), "{again:?}");
    assert_eq!(place.run(&["cat", "/x"]), "x");
}

#[test]
fn a_removed_base_leaves_its_images_whole() {
    let place = app("rmi-base", "FROM leanbox/busybox\nRUN echo x > /x\n");
    place.built();
    place.leanbox(&["rmi", "leanbox/busybox"]).good();
    assert_eq!(place.run(&["cat", "/x"]), "x");
    place.built();
}

#[test]
fn the_store_is_an_oci_image_layout() {
    let place = app("oci", "FROM leanbox/busybox\nRUN echo x > /x\n");
    place.built();
    let json = |name: &str| serde_json::from_str::<serde_json::Value>(&place.read(name)).unwrap();
    let blob = |entry: &serde_json::Value| {
        let digest = entry["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let name = format!("store/blobs/sha256/{digest}");
        let size = fs::metadata(place.path(&name)).unwrap().len();
        assert_eq!(entry["size"].as_u64(), Some(size));
        let sum = place.program("sha256sum").arg(&name).output().unwrap();
        assert!(String::from_utf8(sum.stdout).unwrap().starts_with(digest));
        name
    };
    assert_eq!(json("store/oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = json("store/index.json");
    let entries = index["manifests"].as_array().unwrap();
    let named = |entry: &&serde_json::Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"] == "t"
    };
    let manifest = json(&blob(entries.iter().find(named).unwrap()));
    let config = json(&blob(&manifest["config"]));
    let layers = manifest["layers"].as_array().unwrap();
    let digests: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    layers.iter().for_each(|layer| drop(blob(layer)));
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::Value::Array(digests));
}

#[test]
fn two_builds_of_one_name_at_once_both_succeed() {
    let place = app("two", "FROM leanbox/busybox\nRUN sleep 0.3; echo x > /x\n");
    let start = || {
        let mut command = place.command(&["build", "app", "--name", "t"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()].map(|child| Done::of(child.wait_with_output().unwrap()).good());
    let waited = both.iter().filter(|done| done.err.contains("waiting for another command"));
    assert_eq!(waited.count(), 1, "{both:?}");
    assert_eq!(place.run(&["cat", "/x"]), "x");
}

#[test]
fn two_first_runs_of_one_image_at_once_both_succeed() {
    let place = app("two-runs", "FROM leanbox/busybox\nRUN seq 2000 | xargs touch\n");
    place.built();
    let start = || {
        let mut command = place.command(&["run", "t", "echo", "hi"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [start(), start(), start()] {
        assert_eq!(Done::of(child.wait_with_output().unwrap()).good().out, "hi");
    }
}

#[test]
fn a_spoilt_record_is_named_with_a_way_out() {
    let place = place("spoilt");
    place.images();
    place.put("store/images/t.json", "{");
    let words = ["image record ", "images/t.json", "remove the file and build the image again"];
    place.leanbox(&["images"]).failed(&words);
    place.leanbox(&["export", "t", "out"]).failed(&words);
}
