//! Files and folders that come out of a container.

use super::{WITHOUT_SET_IDS, below, check_depth, dated, io_at, last_name, unless_gone};
use leanbox::{Error, FileStat, Files, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, mkdirat, openat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// What comes out, into folders of ours that are open: no link that is put in the place of one leads
/// us elsewhere.
struct Out<'a> {
    files: &'a Files,
    archive: bool,
}

/// Copies `path` to a path of ours.
pub(super) fn out_to(files: &Files, path: &str, to: &Path, archive: bool) -> Result<()> {
    let (folder, name) = match to.is_dir() {
        true => (to, OsStr::new(last_name(path))),
        false => {
            let above = to.parent().filter(|above| !above.as_os_str().is_empty());
            let name = to.file_name().ok_or_else(|| Error::invalid(format!("{to:?}: no name")))?;
            (above.unwrap_or(Path::new(".")), name)
        }
    };
    if [".", ".."].map(OsStr::new).contains(&name) {
        return Err(Error::invalid(format!("{path}: no name")).remedy("name what is to be copied"));
    }
    let open = File::open(folder).map_err(io_at(folder))?;
    Out { files, archive }.copy(path, open.as_fd(), &folder.join(name), 0)
}

impl Out<'_> {
    /// `path` inside, to the last name of `place` in `folder`, which is open.
    fn copy(&self, path: &str, folder: BorrowedFd<'_>, place: &Path, depth: usize) -> Result<()> {
        check_depth(path, depth)?;
        let wrap = |errno: Errno| io_at(place)(errno.into());
        let name = place.file_name().unwrap_or_default();
        let stat = self.files.stat(path)?;
        if stat.kind.is_dir() {
            self.copy_folder(path, &stat, folder, place, depth)
        } else if stat.kind.is_file() {
            let (file, stat) = self.files.open_with_stat(path)?;
            make_way(folder, name).map_err(wrap)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let mode = if self.archive { 0o600 } else { stat.mode & 0o777 };
            let made = openat(folder, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode));
            let mut made = made.map(File::from).map_err(wrap)?;
            io::copy(&mut file.take(stat.size), &mut made).map_err(io_at(place))?;
            self.give(made.as_fd(), &stat).map_err(|errno| not_ours(place, errno))?;
            dated(&made, stat.mtime.max(0));
            Ok(())
        } else if stat.kind.is_symlink() {
            make_way(folder, name).map_err(wrap)?;
            symlinkat(self.files.read_link(path)?, folder, name).map_err(wrap)?;
            match self.archive {
                true => give_link(folder, name, &stat).map_err(|errno| not_ours(place, errno)),
                false => Ok(()),
            }
        } else {
            Ok(())
        }
    }

    /// One that was there stays whose it is.
    fn copy_folder(
        &self,
        path: &str,
        stat: &FileStat,
        folder: BorrowedFd<'_>,
        place: &Path,
        depth: usize,
    ) -> Result<()> {
        let wrap = |errno: Errno| io_at(place)(errno.into());
        let name = place.file_name().unwrap_or_default();
        let mode = if self.archive { 0o700 } else { stat.mode & 0o777 | 0o700 };
        let is_new = match mkdirat(folder, name, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => false,
            made => made.map(|()| true).map_err(wrap)?,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(folder, name, flags, Mode::empty()).map_err(wrap)?;
        for entry in self.files.read_dir(path)? {
            let place = place.join(&entry);
            unless_gone(self.copy(&below(path, &entry), made.as_fd(), &place, depth + 1))?;
        }
        match is_new {
            true => self.give(made.as_fd(), stat).map_err(|errno| not_ours(place, errno)),
            false => Ok(()),
        }
    }

    /// Whose it is and what may be done with it, at last: never with set-id bits.
    fn give(&self, made: BorrowedFd<'_>, stat: &FileStat) -> std::result::Result<(), Errno> {
        if !self.archive {
            return Ok(());
        }
        let (user, group) = owner_of(stat);
        fchown(made, user, group)?;
        fchmod(made, Mode::from_raw_mode(stat.mode & WITHOUT_SET_IDS))
    }
}

/// Whatever somebody has put in its place by now, nothing but a link.
fn give_link(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    stat: &FileStat,
) -> std::result::Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = openat(folder, name, flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&link)?.st_mode).is_symlink() {
        true => {
            let (user, group) = owner_of(stat);
            chownat(&link, "", user, group, AtFlags::EMPTY_PATH)
        }
        false => Err(Errno::EXIST),
    }
}

fn owner_of(stat: &FileStat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.owner.uid)), Some(Gid::from_raw(stat.owner.gid)))
}

fn not_ours(path: &Path, errno: Errno) -> Error {
    let error = io_at(path)(errno.into());
    match errno {
        Errno::PERM => error.remedy("only root gives files away: leave out --archive"),
        _ => error,
    }
}

/// In the place of a file or a link, but not of a folder.
fn make_way(folder: BorrowedFd<'_>, name: &OsStr) -> std::result::Result<(), Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}
