//! Files and folders that go into a container.

use super::{below, dated, io_at};
use leanbox::{FileOwner, Files, Result};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where something of that name goes: into a folder that is there, else to the path itself.
fn target_inside(files: &Files, path: &str, name: &str) -> String {
    if path == "/" || files.stat(&format!("{path}/.")).is_ok_and(|stat| stat.kind.is_dir()) {
        return below(path, name);
    }
    path.to_string()
}

/// Folders that go to their owners when they are filled.
#[derive(Default)]
pub(super) struct Filled(Vec<(String, u32, FileOwner)>);

impl Filled {
    /// Makes one; one that is there is fine, and stays whose it is.
    pub(super) fn make(
        &mut self,
        files: &Files,
        place: &str,
        mode: u32,
        owner: Option<FileOwner>,
    ) -> Result<()> {
        let made = files.create_dir(place, if owner.is_some() { 0o700 } else { mode & 0o7777 });
        match made {
            Err(error) if error.errno() == Some(Errno::EXIST.raw_os_error()) => {
                match files.stat(place)?.kind.is_dir() {
                    true => Ok(()),
                    false => Err(error),
                }
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.0.extend(owner.map(|owner| (place.to_string(), mode, owner)));
                Ok(())
            }
        }
    }

    /// The inner ones first: what is in a folder is its owner's to swap.
    pub(super) fn give(self, files: &Files) -> Result<()> {
        let give =
            |(place, mode, owner): (String, u32, FileOwner)| files.give_dir(&place, mode, owner);
        self.0.into_iter().rev().try_for_each(give)
    }
}

/// Copies a path of ours.
pub(super) fn in_from(files: &Files, from: &Path, to: &str, archive: bool) -> Result<()> {
    let whole = from.canonicalize().map_err(io_at(from))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = target_inside(files, to, &name);
    let mut todo: Vec<(PathBuf, String)> = vec![(whole, target)];
    let mut folders = Filled::default();
    while let Some((source, place)) = todo.pop() {
        let wrap = io_at(&source);
        let meta = fs::symlink_metadata(&source).map_err(&wrap)?;
        let owner = archive.then(|| FileOwner { uid: meta.uid(), gid: meta.gid() });
        if meta.is_dir() {
            folders.make(files, &place, meta.mode(), owner)?;
            for entry in fs::read_dir(&source).map_err(&wrap)? {
                let entry = entry.map_err(&wrap)?;
                todo.push((entry.path(), below(&place, &entry.file_name().to_string_lossy())));
            }
        } else if meta.is_symlink() {
            let to = fs::read_link(&source).map_err(&wrap)?;
            files.symlink_as(&to.to_string_lossy(), &place, owner)?;
        } else if meta.is_file() {
            let content = File::open(&source).map_err(&wrap)?;
            let made = files.create_as(&place, meta.mode(), owner)?;
            fill(made, &place, content, meta.mtime())?;
        }
    }
    folders.give(files)
}

/// The content of a file that was made.
pub(super) fn fill(mut made: File, place: &str, mut content: impl Read, mtime: i64) -> Result<()> {
    io::copy(&mut content, &mut made).map_err(io_at(Path::new(place)))?;
    dated(&made, mtime);
    Ok(())
}
