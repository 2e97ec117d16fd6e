//! Walking, hashing and removing folders; the few file operations that several rooms need.

use leanbox::{Error, Result};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An error of the standard library about `path`.
pub(crate) fn at(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::io(path.display(), &error)
}

/// Everything below `root`, in a fixed order, folders before what is in them.
pub(crate) fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        let mut entries = fs::read_dir(&folder)
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .map_err(at(&folder))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_type().map_err(at(&path))?.is_dir() {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Hashes what a build sees of a file: type, mode, owner, content or link; not its times.
pub(crate) fn hash_file(hash: &mut Sha256, name: &Path, path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(at(path))?;
    hash.update(name.as_os_str().as_bytes());
    hash.update([0]);
    hash.update(meta.mode().to_le_bytes());
    if meta.is_symlink() {
        hash.update(fs::read_link(path).map_err(at(path))?.as_os_str().as_bytes());
    } else if meta.is_file() {
        hash.update(meta.len().to_le_bytes());
        hash_content(hash, path)?;
    }
    Ok(())
}

/// Feeds a file's bytes.
pub(crate) fn hash_content(hash: &mut Sha256, path: &Path) -> Result<()> {
    let mut file = fs::File::open(path).map_err(at(path))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(at(path))? {
            0 => return Ok(()),
            length => hash.update(&buffer[..length]),
        }
    }
}

/// A digest as text.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An open folder.
pub(crate) fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::syscall(format!("open({:?})", path.display()), errno))
}

/// A folder closed to other users.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}
