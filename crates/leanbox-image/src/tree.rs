//! A folder copied as it is: owners, modes, times, links, holes and attributes. What only an
//! overlay or a running system knows stays behind: its marks, devices, sockets.

use crate::files::{at, copy_content, walk};
use crate::stop_if_interrupted;
use leanbox::{Error, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use std::collections::BTreeMap;
use std::fs::{self, File, FileType, Metadata, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

const SETID: u32 = 0o6000;
const CAPABILITY: &str = "security.capability";

/// Copies everything below `from` to the new folder `to`. Without `keep_setid` no file of the
/// copy gives rights to whoever runs it: no set-id bits, no capabilities.
///
/// # Errors
/// A full disk, an interrupt; what was copied so far is there.
pub(crate) fn copy(from: &Path, to: &Path, keep_setid: bool) -> Result<()> {
    let mut links = BTreeMap::new();
    let top = fs::metadata(from).map_err(at(from))?;
    fs::create_dir(to).map_err(at(to))?;
    let mut folders = vec![(from.to_path_buf(), to.to_path_buf(), top)];
    for source in walk(from)? {
        stop_if_interrupted()?;
        let target = to.join(source.strip_prefix(from).unwrap_or(&source));
        let meta = fs::symlink_metadata(&source).map_err(at(&source))?;
        if meta.is_dir() {
            fs::create_dir(&target).map_err(at(&target))?;
            folders.push((source, target, meta));
        } else if make(&source, &target, &meta, &mut links)? {
            dress(&source, &target, &meta, keep_setid)?;
        }
    }
    // Last, and the innermost first: a file made in a folder changes its time.
    for (source, target, meta) in folders.iter().rev() {
        dress(source, target, meta, keep_setid)?;
    }
    Ok(())
}

/// Whether it is a file of its own now: one that has its owner, mode and times still to get.
fn make(
    source: &Path,
    target: &Path,
    meta: &Metadata,
    links: &mut BTreeMap<(u64, u64), PathBuf>,
) -> Result<bool> {
    if stays(meta.file_type()) {
        return Ok(false);
    }
    if let Some(first) = links.get(&(meta.dev(), meta.ino())) {
        fs::hard_link(first, target).map_err(at(target))?;
        return Ok(false);
    }
    if meta.nlink() > 1 {
        links.insert((meta.dev(), meta.ino()), target.to_path_buf());
    }
    if meta.is_symlink() {
        let to = fs::read_link(source).map_err(at(source))?;
        symlink(to, target).map_err(at(target))?;
    } else if meta.file_type().is_fifo() {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, target, rustix::fs::FileType::Fifo, mode, 0)
            .map_err(|errno| Error::syscall(target.display(), errno))?;
    } else {
        let file = File::open(source).map_err(at(source))?;
        copy_content(&file, &File::create_new(target).map_err(at(target))?, target)?;
    }
    Ok(true)
}

fn stays(kind: FileType) -> bool {
    kind.is_char_device() || kind.is_block_device() || kind.is_socket()
}

/// Owner before mode before attributes: chown(2) takes set-id bits and capabilities away.
fn dress(source: &Path, target: &Path, meta: &Metadata, keep_setid: bool) -> Result<()> {
    lchown(target, Some(meta.uid()), Some(meta.gid())).map_err(at(target))?;
    if !meta.is_symlink() {
        let taken = if keep_setid || meta.is_dir() { 0 } else { SETID };
        let mode = Permissions::from_mode(meta.mode() & 0o7777 & !taken);
        fs::set_permissions(target, mode).map_err(at(target))?;
    }
    copy_attributes(source, target, keep_setid);
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(meta.atime(), meta.atime_nsec()),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::syscall(target.display(), errno))
}

/// As far as the target's file system takes them, as with cp(1).
fn copy_attributes(source: &Path, target: &Path, keep_setid: bool) {
    let mut names = vec![0; 64 * 1024];
    let length = rustix::fs::llistxattr(source, &mut names[..]).unwrap_or(0);
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let text = String::from_utf8_lossy(name);
        let overlay = text.starts_with("user.overlay.") || text.starts_with("trusted.overlay.");
        if overlay || (text == CAPABILITY && !keep_setid) {
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        if let Ok(length) = rustix::fs::lgetxattr(source, name, &mut value[..]) {
            let _ = rustix::fs::lsetxattr(target, name, &value[..length], XattrFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_capabilities_stay_behind_and_other_attributes_do_not() {
        let top = std::env::temp_dir().join(format!("leanbox-tree-{}", std::process::id()));
        let from = top.join("from");
        fs::create_dir_all(&from).unwrap();
        let file = from.join("file");
        fs::write(&file, "text").unwrap();
        // VFS_CAP_REVISION_2 and no capability (linux/capability.h).
        let none = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let attributes: [(&str, &[u8]); 3] =
            [("user.overlay.opaque", b"y"), ("user.kept", b"1"), (CAPABILITY, &none)];
        for (name, value) in attributes {
            rustix::fs::lsetxattr(&file, name, value, XattrFlags::empty()).unwrap();
        }
        copy(&from, &top.join("to"), false).unwrap();
        copy(&from, &top.join("kept"), true).unwrap();
        let names = |folder: &str| {
            let mut list = vec![0; 4096];
            let path = top.join(folder).join("file");
            let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
            String::from_utf8(list[..length].to_vec()).unwrap()
        };
        let (plain, kept) = (names("to"), names("kept"));
        fs::remove_dir_all(&top).unwrap();
        assert!(plain.contains("user.kept") && !plain.contains(CAPABILITY), "{plain}");
        assert!(kept.contains("user.kept") && kept.contains(CAPABILITY), "{kept}");
        assert!(!plain.contains("overlay") && !kept.contains("overlay"));
    }
}
