//! Files, folders and archives that go into a container.

use super::{dated, io_at};
use leanbox::{Error, ErrorKind, Files, Result};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Where something of that name goes: into a folder that is there, else to the path itself.
fn target_inside(files: &Files, path: &str, name: &str) -> String {
    if path == "/" || files.stat(&format!("{path}/.")).is_ok_and(|stat| stat.kind.is_dir()) {
        return format!("{}/{name}", path.trim_end_matches('/'));
    }
    path.to_string()
}

/// Folders that go to their owners when they are filled.
#[derive(Default)]
struct Filled(Vec<(String, u32, u32, u32)>);

impl Filled {
    /// Makes one; one that is there is fine, and stays whose it is.
    fn make(
        &mut self,
        files: &Files,
        place: &str,
        mode: u32,
        owner: Option<(u32, u32)>,
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
                self.0.extend(owner.map(|(user, group)| (place.to_string(), mode, user, group)));
                Ok(())
            }
        }
    }

    /// The inner ones first: what is in a folder is its owner's to swap.
    fn give(self, files: &Files) -> Result<()> {
        let give = |(place, mode, user, group): (String, u32, u32, u32)| {
            files.give_dir(&place, mode, user, group)
        };
        self.0.into_iter().rev().try_for_each(give)
    }
}

/// Copies a path of ours.
pub(super) fn in_from(files: &mut Files, from: &Path, to: &str, archive: bool) -> Result<()> {
    let whole = from.canonicalize().map_err(io_at(from))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = target_inside(files, to, &name);
    let mut todo: Vec<(PathBuf, String)> = vec![(whole, target)];
    let mut folders = Filled::default();
    while let Some((source, place)) = todo.pop() {
        let wrap = io_at(&source);
        let meta = fs::symlink_metadata(&source).map_err(&wrap)?;
        let owner = archive.then(|| (meta.uid(), meta.gid()));
        if let Some((user, group)) = owner {
            files.own_as(user, group);
        }
        if meta.is_dir() {
            folders.make(files, &place, meta.mode(), owner)?;
            for entry in fs::read_dir(&source).map_err(&wrap)? {
                let entry = entry.map_err(&wrap)?;
                todo.push((
                    entry.path(),
                    format!("{place}/{}", entry.file_name().to_string_lossy()),
                ));
            }
        } else if meta.is_symlink() {
            let to = fs::read_link(&source).map_err(&wrap)?;
            files.symlink(&to.to_string_lossy(), &place)?;
        } else if meta.is_file() {
            let content = File::open(&source).map_err(&wrap)?;
            put(files, &place, content, meta.mode(), meta.mtime())?;
        }
    }
    folders.give(files)
}

fn put(files: &Files, place: &str, mut content: impl Read, mode: u32, mtime: i64) -> Result<()> {
    let mut made = files.create(place, mode & 0o7777)?;
    io::copy(&mut content, &mut made).map_err(io_at(Path::new(place)))?;
    dated(&made, mtime);
    Ok(())
}

/// Unpacks an archive on standard input.
pub(super) fn in_from_tar(files: &mut Files, to: &str, archive: bool) -> Result<()> {
    let wrap = |error: io::Error| Error::io("tar archive", &error);
    if !files.stat(&format!("{to}/."))?.kind.is_dir() {
        return Err(Error::invalid(format!("{to}: not a folder")));
    }
    let mut tar = tar::Archive::new(io::stdin().lock());
    let mut folders = Filled::default();
    for entry in tar.entries().map_err(wrap)? {
        let mut entry = entry.map_err(wrap)?;
        let path = entry.path().map_err(wrap)?.into_owned();
        let parts = path
            .components()
            .filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
        let parts = parts.map(|part| match part {
            Component::Normal(name) => Ok(name.to_string_lossy().into_owned()),
            _ => Err(Error::invalid(format!("tar archive: {path:?} has \"..\" in it"))),
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.is_empty() {
            continue;
        }
        let place = format!("{}/{}", to.trim_end_matches('/'), parts.join("/"));
        let mode = entry.header().mode().unwrap_or(0o644);
        let mtime = entry.header().mtime().map_or(0, |time| i64::try_from(time).unwrap_or(0));
        let kind = entry.header().entry_type();
        let mut owner = None;
        if archive {
            // What is beyond is refused with what is beyond the container's.
            let id = |id: u64| u32::try_from(id).unwrap_or(u32::MAX).min(u32::MAX - 1);
            let header = entry.header();
            let (user, group) = (header.uid().map_err(wrap)?, header.gid().map_err(wrap)?);
            files.own_as(id(user), id(group));
            owner = Some((id(user), id(group)));
        }
        if kind.is_dir() {
            folders.make(files, &place, mode, owner)?;
        } else if kind.is_symlink() {
            let target = entry.link_name().map_err(wrap)?.unwrap_or_default().into_owned();
            files.symlink(&target.to_string_lossy(), &place)?;
        } else if kind.is_hard_link() {
            let text = format!("tar archive: {path:?} is a hard link, which is not copied");
            return Err(
                Error::new(ErrorKind::Unsupported, text).remedy("pack it with --hard-dereference")
            );
        } else if kind.is_file() {
            put(files, &place, &mut entry, mode, mtime)?;
        }
    }
    folders.give(files)
}
