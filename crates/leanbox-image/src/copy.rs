//! COPY: files of the app folder into the image. Sources are resolved beneath the app, the
//! destination inside the image's root, links included; nothing is followed out of either.

use crate::files::{at, copy_content};
use crate::ignored::{Ignored, glob};
use crate::stop_if_interrupted;
use leanbox::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use sha2::Sha256;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// A file to be copied: where it is, and its name below the destination.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    path: PathBuf,
    name: PathBuf,
}

/// All that the sources of a COPY name.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    found: Vec<Found>,
    /// They are more than one file: the destination is a folder, whatever it looks like.
    pub(crate) into_folder: bool,
}

/// All files that `sources` name in the app, ignored ones left out.
pub(crate) fn find(app: &Path, sources: &[String]) -> Result<Sources> {
    let ignored = Ignored::read(app)?;
    let mut all = Sources::default();
    let mut named = 0;
    for source in sources {
        let paths = matching(app, source)?;
        let missing = |why: &str| {
            let text = format!("COPY {source}: {why} in the app folder {}", app.display());
            Err(Error::new(ErrorKind::NotFound, text))
        };
        if paths.is_empty() {
            return missing("no such file");
        }
        let before = all.found.len();
        let mut folders = false;
        for path in &paths {
            folders |= collect(app, path, &ignored, &mut all.found)?;
        }
        if all.found.len() == before && !folders {
            return missing(".dockerignore leaves it out");
        }
        all.into_folder |= folders;
        named += paths.len();
    }
    all.into_folder |= named > 1;
    Ok(all)
}

/// Paths beneath the app that a source names; `*`, `?` and `[…]` match within a component.
fn matching(app: &Path, source: &str) -> Result<Vec<PathBuf>> {
    let refuse = |why: &str| Error::invalid(format!("COPY {source}: {why}"));
    let mut paths = vec![PathBuf::new()];
    for part in Path::new(source).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(refuse("outside the app folder"));
            }
            Component::Normal(name) => {
                let pattern = name.to_string_lossy().into_owned();
                paths = paths
                    .iter()
                    .map(|p| children(app, p, &pattern))
                    .collect::<Result<Vec<_>>>()?
                    .concat();
            }
        }
    }
    let inside = app.canonicalize().map_err(at(app))?;
    for path in &paths {
        let full = app.join(path);
        let real = full.canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                refuse(&format!("{} is a link to nothing", full.display()))
            }
            _ => Error::io(full.display(), &error).during(format!("COPY {source}")),
        })?;
        if !real.starts_with(&inside) {
            return Err(refuse("a link out of the app folder"));
        }
    }
    Ok(paths)
}

fn children(app: &Path, folder: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) {
        let path = folder.join(pattern);
        let there = fs::symlink_metadata(app.join(&path)).is_ok();
        return Ok(if there { vec![path] } else { Vec::new() });
    }
    let full = app.join(folder);
    let mut names: Vec<String> = fs::read_dir(&full)
        .map_err(at(&full))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| glob(pattern.as_bytes(), name.as_bytes()))
        .collect();
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// A source and everything below it; whether it is a folder. A folder's contents are copied, not
/// itself; a link that is named is followed, one inside a folder is kept.
fn collect(app: &Path, path: &Path, ignored: &Ignored, found: &mut Vec<Found>) -> Result<bool> {
    let full = app.join(path);
    let real = full.canonicalize().map_err(at(&full))?;
    if !real.is_dir() {
        if !ignored.matches(path) {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            found.push(Found { path: real, name });
        }
        return Ok(false);
    }
    for below in crate::files::walk(&real)? {
        let name = below.strip_prefix(&real).unwrap_or(&below).to_path_buf();
        if !ignored.matches(&path.join(&name)) {
            found.push(Found { path: below, name });
        }
    }
    Ok(true)
}

/// What a build sees of the files, for the cache key.
pub(crate) fn hash(hash: &mut Sha256, sources: &Sources) -> Result<()> {
    use sha2::Digest;
    hash.update([u8::from(sources.into_folder)]);
    sources.found.iter().try_for_each(|file| crate::files::hash_file(hash, &file.name, &file.path))
}

/// Copies into the detached root. `dest` is absolute; `folder`: it must be one.
pub(crate) fn copy(root: &OwnedFd, sources: &Sources, dest: &Path, folder: bool) -> Result<()> {
    let is_dir = open_inside(root, dest, OFlags::PATH | OFlags::DIRECTORY).is_ok();
    let into = folder || sources.into_folder || is_dir;
    make_folders(root, if into { dest } else { dest.parent().unwrap_or(Path::new("/")) })?;
    for file in &sources.found {
        stop_if_interrupted()?;
        if into {
            place(root, file, &dest.join(&file.name))?;
        } else {
            place(root, file, dest)?;
        }
    }
    Ok(())
}

/// Makes the folder `path` and all above it, links resolved inside.
pub(crate) fn make_folders(root: &OwnedFd, path: &Path) -> Result<()> {
    let mut so_far = PathBuf::from("/");
    for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
        let above = open_inside(root, &so_far, OFlags::PATH | OFlags::DIRECTORY)?;
        so_far.push(part);
        match rustix::fs::mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => check_folder(root, &so_far)?,
            Err(errno) => return Err(Error::syscall(format!("mkdir({so_far:?})"), errno)),
        }
    }
    Ok(())
}

fn check_folder(root: &OwnedFd, path: &Path) -> Result<()> {
    match open_inside(root, path, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid(format!("{}: no folder in the image", path.display()))),
    }
}

fn open_inside(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        .map_err(|errno| Error::syscall(format!("openat2({:?}, IN_ROOT)", path.display()), errno))
}

/// Puts one file where it belongs, owned by root; what was there is replaced, never followed.
fn place(root: &OwnedFd, file: &Found, dest: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(&file.path).map_err(at(&file.path))?;
    let mode = Mode::from_raw_mode(meta.mode() & 0o7777);
    let wrap = |errno| Error::syscall(format!("copy to {:?}", dest.display()), errno);
    if meta.is_dir() {
        make_folders(root, dest)?;
        let made = open_inside(root, dest, OFlags::RDONLY | OFlags::DIRECTORY)?;
        return rustix::fs::fchmod(&made, mode).map_err(wrap);
    }
    let above = dest.parent().unwrap_or(Path::new("/"));
    let above = open_inside(root, above, OFlags::PATH | OFlags::DIRECTORY)?;
    let name = dest.file_name().unwrap_or_default();
    match rustix::fs::unlinkat(&above, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(Errno::ISDIR) => {
            let text = format!("copy to {}: a folder in the image", dest.display());
            return Err(Error::invalid(text));
        }
        Err(errno) => return Err(wrap(errno)),
    }
    if meta.is_symlink() {
        let target = fs::read_link(&file.path).map_err(at(&file.path))?;
        rustix::fs::symlinkat(&target, &above, name).map_err(wrap)?;
    } else if meta.is_file() {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&above, name, flags, Mode::from_raw_mode(0o600));
        let made = fs::File::from(made.map_err(wrap)?);
        let source = fs::File::open(&file.path).map_err(at(&file.path))?;
        copy_content(&source, &made, dest)?;
        rustix::fs::fchmod(&made, mode).map_err(wrap)?;
    } else {
        let text = format!("{}: neither file, folder nor link", file.path.display());
        return Err(Error::invalid(text));
    }
    let (root_id, root_group) = (Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::chownat(&above, name, root_id, root_group, AtFlags::SYMLINK_NOFOLLOW).map_err(wrap)
}
