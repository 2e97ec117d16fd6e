//! COPY: what is named, where it goes, whose it is, and what is never followed.

use crate::place::{Place, app, names};
use std::fs;
use std::os::unix::fs::{lchown, symlink};

/// An app with files to copy.
fn files(name: &str) -> Place {
    let place = app(name, "");
    for file in ["a.txt", "b.txt", ".hidden", "folder/one", "folder/deep/two"] {
        place.put(&format!("app/{file}"), file);
    }
    place
}

fn built(name: &str, copy: &str) -> Place {
    let place = files(name);
    place.built_of(&format!("FROM leanbox/busybox\n{copy}\n"));
    place
}

#[track_caller]
fn refused(name: &str, copy: &str, words: &[&str]) {
    let place = files(name);
    place.put("app/Dockerfile", &format!("FROM leanbox/busybox\n{copy}\n"));
    place.build().failed(&[&["Dockerfile:2: "], words].concat());
    assert_eq!(place.images(), ["leanbox/busybox"]);
}

#[test]
fn one_file_gets_the_name_it_is_given() {
    let place = built("copy-name", "COPY a.txt /x/y");
    assert_eq!(place.sh("cat /x/y"), "a.txt");
}

#[test]
fn a_slash_at_the_end_makes_a_folder() {
    let place = built("copy-slash", "COPY a.txt /x/");
    assert_eq!(place.sh("cat /x/a.txt"), "a.txt");
}

#[test]
fn several_sources_go_into_a_folder() {
    let place = built("copy-several", "COPY a.txt folder b.txt /x/");
    assert_eq!(place.sh("cd /x; find . -type f | sort"), "./a.txt\n./b.txt\n./deep/two\n./one");
}

#[test]
fn of_a_folder_the_contents_are_copied() {
    let place = built("copy-folder", "COPY folder /x");
    assert_eq!(place.sh("cat /x/one; echo; cat /x/deep/two"), "folder/one\nfolder/deep/two");
}

#[test]
fn wildcards_flatten_folders_and_match_hidden_files() {
    let place = built("copy-wild", "COPY * /x/");
    let all = "./.hidden\n./Dockerfile\n./a.txt\n./b.txt\n./deep/two\n./one";
    assert_eq!(place.sh("cd /x; find . -type f | sort"), all);
    let place = built("copy-wild-folder", "COPY f* /x");
    assert_eq!(place.sh("cat /x/one"), "folder/one");
}

#[test]
fn what_dockerignore_names_is_left_out() {
    let place = files("copy-ignore");
    place.put("app/.dockerignore", "# not these\n*.txt\n!b.txt\nfolder/deep\nDockerfile\n");
    place.built_of("FROM leanbox/busybox\nCOPY . /x/\n");
    assert_eq!(
        place.sh("cd /x; find . -type f | sort"),
        "./.dockerignore\n./.hidden\n./b.txt\n./folder/one"
    );
}

#[test]
fn a_named_file_that_dockerignore_leaves_out_is_an_error() {
    let place = files("copy-ignored");
    place.put("app/.dockerignore", "a.txt\n");
    place.put("app/Dockerfile", "FROM scratch\nCOPY a.txt /\n");
    place.build().failed(&["Dockerfile:2: COPY a.txt: .dockerignore leaves it out"]);
}

#[test]
fn files_belong_to_root_inside() {
    let place = files("copy-owner");
    lchown(place.path("app/folder/one"), Some(1234), Some(1234)).unwrap();
    place.built_of("FROM leanbox/busybox\nUSER nobody\nCOPY folder /x/\n");
    assert_eq!(place.sh("stat -c %u:%g /x /x/one /x/deep"), "0:0\n0:0\n0:0");
}

#[test]
fn modes_are_kept() {
    let place = files("copy-modes");
    place.chmod("app/a.txt", 0o751);
    place.chmod("app/folder/deep", 0o700);
    place.built_of("FROM leanbox/busybox\nCOPY a.txt /\nCOPY folder /x\n");
    assert_eq!(place.sh("stat -c %a /a.txt /x/deep"), "751\n700");
}

#[test]
fn what_is_missing_is_named() {
    refused("copy-missing", "COPY nope /x", &["COPY nope: no such file in the app folder"]);
    refused("copy-missing-2", "COPY a.txt folder/nope /x/", &["COPY folder/nope: no such file"]);
}

#[test]
fn a_wildcard_that_matches_nothing_is_named() {
    refused("copy-no-match", "COPY *.zip /x/", &["COPY *.zip: no such file in the app folder"]);
}

#[test]
fn two_dots_in_a_source_are_refused() {
    refused("copy-dots", "COPY ../store /x", &["COPY ../store: outside the app folder"]);
    refused("copy-dots-2", "COPY folder/../../x /x", &["outside the app folder"]);
}

#[test]
fn several_sources_need_a_folder_to_go_to() {
    refused("copy-to-file", "COPY a.txt b.txt /x", &["the destination must end with /"]);
}

#[test]
fn a_file_does_not_replace_a_folder() {
    let place = files("copy-onto-folder");
    place.put("app/x/bin", "a file");
    place.put("app/Dockerfile", "FROM leanbox/busybox\nCOPY x /\n");
    place.build().failed(&["Dockerfile:2: copy to /bin: a folder in the image"]);
}

#[test]
fn a_folder_does_not_replace_a_file() {
    refused("copy-over", "COPY folder /etc/passwd/x", &["/etc/passwd: no folder in the image"]);
}

#[test]
fn a_named_link_is_followed_and_one_in_a_folder_kept() {
    let place = files("copy-links");
    symlink("a.txt", place.path("app/named")).unwrap();
    symlink("/etc/hostname", place.path("app/folder/kept")).unwrap();
    place.built_of("FROM leanbox/busybox\nCOPY named /x\nCOPY folder /y\n");
    assert_eq!(place.sh("cat /x; echo; readlink /y/kept"), "a.txt\n/etc/hostname");
}

#[test]
fn a_link_out_of_the_app_is_refused() {
    let place = files("copy-link-out");
    symlink("/etc/passwd", place.path("app/out")).unwrap();
    symlink("..", place.path("app/up")).unwrap();
    place.put("secret", "secret");
    for source in ["out", "up", "up/secret", "u*/secret"] {
        place.put("app/Dockerfile", &format!("FROM scratch\nCOPY {source} /x\n"));
        place.build().failed(&["Dockerfile:2: COPY", "a link out of the app folder"]);
    }
}

#[test]
fn a_link_to_nothing_is_refused() {
    let place = files("copy-link-nothing");
    symlink("nowhere", place.path("app/gone")).unwrap();
    place.put("app/Dockerfile", "FROM scratch\nCOPY gone /x\n");
    place.build().failed(&["COPY gone: ", "app/gone is a link to nothing"]);
}

#[test]
fn a_pipe_in_the_app_is_refused() {
    let place = files("copy-pipe");
    let pipe = place.path("app/folder/pipe");
    assert!(place.program("mkfifo").arg(&pipe).status().unwrap().success());
    place.put("app/Dockerfile", "FROM scratch\nCOPY folder /x\n");
    place.build().failed(&["folder/pipe: neither file, folder nor link"]);
}

#[test]
fn a_link_in_the_image_leads_no_copy_and_no_folder_out_of_it() {
    let place = files("copy-rooted");
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    let out = outside.display();
    // As many levels up as anybody needs.
    let up = "../".repeat(20);
    place.built_of(&format!(
        "FROM leanbox/busybox\nRUN mkdir -p {out} && ln -s {out} /abs && ln -s {up}{out} /rel \
         && ln -s {out}/written /file\n\
         COPY a.txt /abs/\nCOPY b.txt /rel/b\nCOPY a.txt /file\nWORKDIR /abs/made\n"
    ));
    assert_eq!(names(&outside), [""; 0]);
    place.exported();
    assert_eq!(names(&place.path(&format!("out{out}"))), ["a.txt", "b", "made"]);
    assert!(fs::symlink_metadata(place.path("out/file")).unwrap().is_file());
}
