//! Tar archives of what is in a container, on our standard streams.

use super::into::{Filled, fill};
use super::{WITHOUT_SET_IDS, below, check_depth, last_name, unless_gone};
use leanbox::{Error, ErrorKind, FileOwner, FileStat, Files, Result};
use std::io::{self, Read, Write};
use std::path::{Component, Path};
use tar::{Archive, Builder, EntryType, Header};

fn wrap(error: io::Error) -> Error {
    Error::io("tar archive", &error)
}

/// Packs `path` onto standard output.
pub(super) fn out_to(files: &Files, path: &str) -> Result<()> {
    let mut packer = Packer { files, tar: Builder::new(io::BufWriter::new(io::stdout().lock())) };
    packer.pack(path, last_name(path), 0)?;
    packer.tar.into_inner().and_then(|mut out| out.flush()).map_err(wrap)
}

struct Packer<'a, W: Write> {
    files: &'a Files,
    tar: Builder<W>,
}

impl<W: Write> Packer<'_, W> {
    /// Everything at and below `path`, folders before what is in them, with names that begin with
    /// `name`.
    fn pack(&mut self, path: &str, name: &str, depth: usize) -> Result<()> {
        check_depth(path, depth)?;
        let stat = self.files.stat(path)?;
        if stat.kind.is_dir() {
            let mut header = header(&stat, EntryType::Directory);
            self.tar.append_data(&mut header, name, io::empty()).map_err(wrap)?;
            for entry in self.files.read_dir(path)? {
                let name = format!("{name}/{entry}");
                unless_gone(self.pack(&below(path, &entry), &name, depth + 1))?;
            }
        } else if stat.kind.is_file() {
            let (file, stat) = self.files.open_with_stat(path)?;
            let mut header = header(&stat, EntryType::Regular);
            header.set_size(stat.size);
            // As long as was said, whatever becomes of it meanwhile.
            let content = file.chain(io::repeat(0)).take(stat.size);
            self.tar.append_data(&mut header, name, content).map_err(wrap)?;
        } else if stat.kind.is_symlink() {
            let mut header = header(&stat, EntryType::Symlink);
            let target = self.files.read_link(path)?;
            self.tar.append_link(&mut header, name, target).map_err(wrap)?;
        }
        Ok(())
    }
}

fn header(stat: &FileStat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    // Root's tar would make another's program one of root's.
    header.set_mode(stat.mode & WITHOUT_SET_IDS);
    header.set_mtime(stat.mtime.max(0).unsigned_abs());
    header.set_uid(stat.owner.uid.into());
    header.set_gid(stat.owner.gid.into());
    header.set_size(0);
    header
}

/// Unpacks standard input into a folder that is there.
pub(super) fn in_from(files: &Files, to: &str, archive: bool) -> Result<()> {
    if !files.stat(&format!("{to}/."))?.kind.is_dir() {
        return Err(Error::invalid(format!("{to}: not a folder")));
    }
    let mut tar = Archive::new(io::stdin().lock());
    let mut folders = Filled::default();
    for entry in tar.entries().map_err(wrap)? {
        let mut entry = entry.map_err(wrap)?;
        let path = entry.path().map_err(wrap)?.into_owned();
        let Some(place) = place_of(&path, to)? else { continue };
        let owner = archive.then(|| owner_of(entry.header())).transpose()?;
        let mode = entry.header().mode().unwrap_or(0o644);
        let mtime = entry.header().mtime().map_or(0, |time| i64::try_from(time).unwrap_or(0));
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            folders.make(files, &place, mode, owner)?;
        } else if kind.is_symlink() {
            let target = entry.link_name().map_err(wrap)?.unwrap_or_default().into_owned();
            files.symlink_as(&target.to_string_lossy(), &place, owner)?;
        } else if kind.is_hard_link() {
            let text = format!("tar archive: {path:?} is a hard link, which is not copied");
            return Err(
                Error::new(ErrorKind::Unsupported, text).remedy("pack it with --hard-dereference")
            );
        } else if kind.is_file() {
            fill(files.create_as(&place, mode, owner)?, &place, &mut entry, mtime)?;
        }
    }
    folders.give(files)
}

/// Where an entry goes; nowhere if it is the folder itself.
fn place_of(path: &Path, to: &str) -> Result<Option<String>> {
    let mut place = to.trim_end_matches('/').to_string();
    let mut is_named = false;
    for part in path.components() {
        match part {
            Component::CurDir | Component::RootDir => {}
            Component::Normal(name) => {
                place = below(&place, &name.to_string_lossy());
                is_named = true;
            }
            _ => {
                return Err(Error::invalid(format!("tar archive: {path:?} has \"..\" in it")));
            }
        }
    }
    Ok(is_named.then_some(place))
}

/// What is beyond 32 bits is refused with what is beyond the container's.
fn owner_of(header: &Header) -> Result<FileOwner> {
    let id = |id: u64| u32::try_from(id).unwrap_or(u32::MAX).min(u32::MAX - 1);
    let (uid, gid) = (header.uid().map_err(wrap)?, header.gid().map_err(wrap)?);
    Ok(FileOwner { uid: id(uid), gid: id(gid) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_goes_below_the_folder_and_nowhere_else() {
        let place = |path: &str| place_of(Path::new(path), "/to").unwrap();
        assert_eq!(place("./a/b").as_deref(), Some("/to/a/b"));
        assert_eq!(place("/a").as_deref(), Some("/to/a"));
        assert_eq!(place("./"), None);
        assert!(place_of(Path::new("a/../../b"), "/to").is_err());
        assert_eq!(place_of(Path::new("a"), "/").unwrap().as_deref(), Some("/a"));
    }
}
