//! Walking, hashing and removing folders; the few file operations that several rooms need.

use crate::stop_if_interrupted;
use leanbox::{Error, Result};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Copied or hashed between two looks for Ctrl-C: some hundredths of a second.
const PIECE_BYTES: u64 = 4 << 20;

/// An error of the standard library about `path`.
pub(crate) fn at(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::io(path.display(), &error)
}

/// Everything below `root`, in a fixed order, folders before what is in them.
pub(crate) fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        stop_if_interrupted()?;
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

/// Hashes what a build sees of a file: type, mode, content or link; not its times.
pub(crate) fn hash_file(hash: &mut Sha256, name: &Path, path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(at(path))?;
    hash.update(name.as_os_str().as_bytes());
    hash.update([0]);
    hash.update(meta.mode().to_le_bytes());
    if meta.is_symlink() {
        hash.update(fs::read_link(path).map_err(at(path))?.as_os_str().as_bytes());
        hash.update([0]);
    } else if meta.is_file() {
        hash.update(meta.len().to_le_bytes());
        hash_content(hash, path)?;
    }
    Ok(())
}

/// Feeds a file's bytes.
pub(crate) fn hash_content(hash: &mut Sha256, path: &Path) -> Result<()> {
    let mut file = File::open(path).map_err(at(path))?;
    loop {
        stop_if_interrupted()?;
        let mut piece = (&mut file).take(PIECE_BYTES);
        if std::io::copy(&mut piece, hash).map_err(at(path))? == 0 {
            return Ok(());
        }
    }
}

/// Copies a file's bytes and keeps its holes; `name` is what messages call the target.
pub(crate) fn copy_content(source: &File, target: &File, name: &Path) -> Result<()> {
    let length = source.metadata().map_err(at(name))?.len();
    let mut end = 0;
    while end < length {
        let begin = match rustix::fs::seek(source, SeekFrom::Data(end)) {
            Ok(begin) => begin,
            // Nothing but a hole is left (lseek(2)).
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(Error::syscall(name.display(), errno)),
        };
        let hole = rustix::fs::seek(source, SeekFrom::Hole(begin));
        end = hole.map_err(|errno| Error::syscall(name.display(), errno))?;
        copy_range(source, target, begin..end, name)?;
    }
    target.set_len(length).map_err(at(name))
}

fn copy_range(
    mut source: &File,
    mut target: &File,
    range: std::ops::Range<u64>,
    name: &Path,
) -> Result<()> {
    use std::io::{Seek, SeekFrom};
    source.seek(SeekFrom::Start(range.start)).map_err(at(name))?;
    target.seek(SeekFrom::Start(range.start)).map_err(at(name))?;
    let mut left = range.end - range.start;
    while left > 0 {
        stop_if_interrupted()?;
        let mut piece = source.take(PIECE_BYTES.min(left));
        match std::io::copy(&mut piece, &mut target).map_err(at(name))? {
            // Somebody cut the file off while it was read.
            0 => return Ok(()),
            length => left -= length,
        }
    }
    Ok(())
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
