//! A root file system with the test binary in it, to be started inside in a hidden mode.

#![allow(dead_code, reason = "not every test uses all of it")]

use crate::common::{Folder, busybox};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// busybox, and this program under these names and modes in `/bin`.
pub(crate) fn root(name: &str, programs: &[(&str, u32)]) -> Folder {
    let root = busybox(name);
    let own = fs::read("/proc/self/exe").unwrap();
    for (program, mode) in programs {
        let path = root.0.join("bin").join(program);
        fs::write(&path, &own).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    copy_libraries(&root.0, &own);
    root
}

/// What the program is linked to, at the places where it looks.
fn copy_libraries(root: &Path, program: &[u8]) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let mut files: Vec<String> =
        mapped.filter(|path| path.contains(".so")).map(String::from).collect();
    let head = String::from_utf8_lossy(&program[..4096]).into_owned();
    files.extend(head.split('\0').find(|text| text.starts_with("/lib")).map(String::from));
    files.sort();
    files.dedup();
    for file in files {
        let target = root.join(&file[1..]);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}
