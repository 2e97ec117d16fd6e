//! `leanbox cp`: files and folders between a detached container and here, or as a tar archive
//! between it and our streams. The container may change its files meanwhile: what comes out is
//! made anew here, name by name, and no link of it is followed; what goes in is made by who is root
//! inside and no more ([`Files`]).

use super::Named;
use super::protocol::{self, Request};
use leanbox::{Error, ErrorKind, FileStat, Files, Result};
use rustix::fs::{Timespec, Timestamps, futimens};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// Deeper folders are a trap.
const DEPTH_MAX: usize = 128;

/// Arguments of `leanbox cp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the numbers of users and groups, which are those inside; root's here alone can give
    /// files away
    #[arg(long, short)]
    archive: bool,
    /// NAME:PATH, or a path here, or - for a tar archive on standard input
    #[arg(value_name = "FROM")]
    from: String,
    /// NAME:PATH, or a path here, or - for a tar archive on standard output
    #[arg(value_name = "TO")]
    to: String,
}

/// Copies. What goes in belongs to root inside, what comes out to us, but for `--archive`; a folder
/// that is there gets what is copied inside it, as with cp(1). Devices, FIFOs and sockets are left
/// out, and set-id bits of what comes out here.
pub(crate) fn cp(args: &Args) -> Result<ExitCode> {
    match (inside(&args.from), inside(&args.to)) {
        (Some((name, path)), None) => {
            let files = files_of(name)?;
            if args.to == "-" {
                out_to_tar(&files, &path)?;
            } else {
                out_to(&files, &path, Path::new(&args.to), args.archive)?;
            }
        }
        (None, Some((name, path))) => {
            let mut files = files_of(name)?;
            if args.from == "-" {
                in_from_tar(&mut files, &path, args.archive)?;
            } else {
                in_from(&mut files, Path::new(&args.from), &path, args.archive)?;
            }
        }
        _ => {
            return Err(Error::invalid("one of the two has to be NAME:PATH")
                .remedy("write ./x:y for a path here with a colon in it"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Name and absolute path of `NAME:PATH`.
fn inside(word: &str) -> Option<(&str, String)> {
    let (name, path) = word.split_once(':')?;
    super::name(name).ok()?;
    let path = path.trim_start_matches('/').trim_end_matches('/');
    Some((name, format!("/{path}")))
}

fn files_of(name: &str) -> Result<Files> {
    protocol::asked_for_descriptor(&Named::find(name)?, &Request::Files).map(Files::from)
}

fn io_at<'a>(path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |error| Error::io(path.display(), &error)
}

fn last_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("root")
}

/// One thing on its way out.
enum Thing {
    Folder,
    File(File, u64),
    Link(String),
}

/// Everything at and below `path`, folders before what is in them, with names that begin with `name`.
fn walk(
    files: &Files,
    path: &str,
    name: &str,
    depth: usize,
    each: &mut dyn FnMut(&str, Thing, &FileStat) -> Result<()>,
) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid(format!("{path}: folders more than {DEPTH_MAX} deep")));
    }
    let stat = files.stat(path)?;
    if stat.kind.is_dir() {
        each(name, Thing::Folder, &stat)?;
        for entry in files.read_dir(path)? {
            let below = format!("{}/{entry}", path.trim_end_matches('/'));
            match walk(files, &below, &format!("{name}/{entry}"), depth + 1, each) {
                // Gone meanwhile, or another thing than it was.
                Err(error) if depth > 0 || error.kind() == ErrorKind::NotFound => {
                    if error.kind() != ErrorKind::NotFound {
                        return Err(error);
                    }
                }
                other => other?,
            }
        }
    } else if stat.kind.is_file() {
        let file = files.open(path)?;
        let size = file.metadata().map_err(io_at(Path::new(path)))?.len();
        each(name, Thing::File(file, size), &stat)?;
    } else if stat.kind.is_symlink() {
        each(name, Thing::Link(files.read_link(path)?), &stat)?;
    }
    Ok(())
}

fn out_to_tar(files: &Files, path: &str) -> Result<()> {
    let wrap = |error: io::Error| Error::io("tar archive", &error);
    let mut tar = tar::Builder::new(io::BufWriter::new(io::stdout().lock()));
    walk(files, path, last_name(path), 0, &mut |name, thing, stat| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(stat.mode);
        header.set_mtime(stat.mtime.max(0).unsigned_abs());
        header.set_uid(stat.uid.into());
        header.set_gid(stat.gid.into());
        header.set_size(0);
        match thing {
            Thing::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, name, io::empty())
            }
            Thing::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, target)
            }
            Thing::File(file, size) => {
                header.set_size(size);
                // As long as was said, whatever becomes of it meanwhile.
                tar.append_data(&mut header, name, file.chain(io::repeat(0)).take(size))
            }
        }
        .map_err(wrap)
    })?;
    tar.into_inner().and_then(|mut out| out.flush()).map_err(wrap)
}

fn out_to(files: &Files, path: &str, to: &Path, archive: bool) -> Result<()> {
    let target = if to.is_dir() { to.join(last_name(path)) } else { to.to_path_buf() };
    walk(files, path, "", 0, &mut |name, thing, stat| {
        let place = match name.trim_start_matches('/') {
            "" => target.clone(),
            below => target.join(below),
        };
        let wrap = io_at(&place);
        match thing {
            Thing::Folder => {
                match fs::DirBuilder::new().mode(stat.mode & 0o777 | 0o700).create(&place) {
                    // A link there would lead elsewhere.
                    Err(_) if fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_dir()) => {}
                    made => made.map_err(&wrap)?,
                }
            }
            Thing::Link(to) => {
                make_way(&place).and_then(|()| symlink(to, &place)).map_err(&wrap)?;
            }
            Thing::File(file, size) => {
                let mut options = fs::OpenOptions::new();
                // No set-id bits: it is ours now.
                let new = options.write(true).create_new(true).mode(stat.mode & 0o777);
                let made = make_way(&place).and_then(|()| new.open(&place));
                let mut made = made.map_err(&wrap)?;
                io::copy(&mut file.take(size), &mut made).map_err(&wrap)?;
                dated(&made, stat.mtime.max(0));
            }
        }
        match archive {
            true => lchown(&place, Some(stat.uid), Some(stat.gid))
                .map_err(|error| not_ours(&place, &error)),
            false => Ok(()),
        }
    })
}

fn not_ours(path: &Path, error: &io::Error) -> Error {
    let text = Error::io(path.display(), error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            text.remedy("root may give files away: leave out --archive")
        }
        _ => text,
    }
}

/// In the place of a file or a link, but not of a folder.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn dated(file: &File, mtime: i64) {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let _ = futimens(file, &Timestamps { last_access: time, last_modification: time });
}

/// Where something of that name goes: into a folder that is there, else to the path itself.
fn target_inside(files: &Files, path: &str, name: &str) -> String {
    if path == "/" || files.stat(&format!("{path}/.")).is_ok_and(|stat| stat.kind.is_dir()) {
        return format!("{}/{name}", path.trim_end_matches('/'));
    }
    path.to_string()
}

fn in_from(files: &mut Files, from: &Path, to: &str, archive: bool) -> Result<()> {
    let whole = from.canonicalize().map_err(io_at(from))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = target_inside(files, to, &name);
    let mut todo: Vec<(PathBuf, String)> = vec![(whole, target)];
    while let Some((source, place)) = todo.pop() {
        let wrap = io_at(&source);
        let meta = fs::symlink_metadata(&source).map_err(&wrap)?;
        if archive {
            files.own_as(meta.uid(), meta.gid());
        }
        if meta.is_dir() {
            make_dir(files, &place, meta.mode())?;
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
    Ok(())
}

fn put(files: &Files, place: &str, mut content: impl Read, mode: u32, mtime: i64) -> Result<()> {
    let mut made = files.create(place, mode & 0o7777)?;
    io::copy(&mut content, &mut made).map_err(io_at(Path::new(place)))?;
    dated(&made, mtime);
    Ok(())
}

/// One that is there is fine.
fn make_dir(files: &Files, place: &str, mode: u32) -> Result<()> {
    match files.create_dir(place, mode & 0o7777) {
        Err(_) if files.stat(place).is_ok_and(|stat| stat.kind.is_dir()) => Ok(()),
        made => made,
    }
}

fn in_from_tar(files: &mut Files, to: &str, archive: bool) -> Result<()> {
    let wrap = |error: io::Error| Error::io("tar archive", &error);
    if !files.stat(&format!("{to}/."))?.kind.is_dir() {
        return Err(Error::invalid(format!("{to}: not a folder")));
    }
    let mut tar = tar::Archive::new(io::stdin().lock());
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
        if archive {
            let id = |id: io::Result<u64>| id.map(|id| u32::try_from(id).unwrap_or(u32::MAX - 1));
            let header = entry.header();
            files.own_as(id(header.uid()).map_err(wrap)?, id(header.gid()).map_err(wrap)?);
        }
        if kind.is_dir() {
            make_dir(files, &place, mode)?;
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
    Ok(())
}
