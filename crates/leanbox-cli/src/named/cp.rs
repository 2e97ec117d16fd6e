//! `leanbox cp`: files and folders between a detached container and here, or as a tar archive
//! between it and our streams. The container may change its files meanwhile: what comes out is
//! made anew here, name by name, and no link of it is followed; what goes in is made by who is root
//! inside and no more ([`Files`]).

mod into;
mod out;

use super::Named;
use super::protocol::{self, Request};
use leanbox::{Error, ErrorKind, FileStat, Files, Result};
use rustix::fs::{Timespec, Timestamps, futimens};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// Of a mode, what comes out.
const WITHOUT_SET_IDS: u32 = 0o1777;
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
                out::out_to(&files, &path, Path::new(&args.to), args.archive)?;
            }
        }
        (None, Some((name, path))) => {
            let mut files = files_of(name)?;
            if args.from == "-" {
                into::in_from_tar(&mut files, &path, args.archive)?;
            } else {
                into::in_from(&mut files, Path::new(&args.from), &path, args.archive)?;
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
    File(File),
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
        let (file, stat) = files.open_with_stat(path)?;
        each(name, Thing::File(file), &stat)?;
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
        // Root's tar would make another's program one of root's.
        header.set_mode(stat.mode & WITHOUT_SET_IDS);
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
            Thing::File(file) => {
                header.set_size(stat.size);
                // As long as was said, whatever becomes of it meanwhile.
                tar.append_data(&mut header, name, file.chain(io::repeat(0)).take(stat.size))
            }
        }
        .map_err(wrap)
    })?;
    tar.into_inner().and_then(|mut out| out.flush()).map_err(wrap)
}

fn dated(file: &File, mtime: i64) {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let _ = futimens(file, &Timestamps { last_access: time, last_modification: time });
}
