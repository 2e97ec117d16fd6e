//! `leanbox cp`: files and folders between a detached container and here, or as a tar archive
//! between it and our streams. The container may change its files meanwhile: what comes out is
//! made anew here, name by name, and no link of it is followed; what goes in is made by who is root
//! inside and no more ([`Files`]).

mod archive;
mod into;
mod out;

use super::Named;
use super::protocol::{self, Request};
use leanbox::{Error, ErrorKind, Files, Result};
use rustix::fs::{Timespec, Timestamps, futimens};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Of a mode, what comes out.
const WITHOUT_SET_IDS: u32 = 0o1777;
/// The deepest folder that is copied.
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
                archive::out_to(&files, &path)?;
            } else {
                out::out_to(&files, &path, Path::new(&args.to), args.archive)?;
            }
        }
        (None, Some((name, path))) => {
            let files = files_of(name)?;
            if args.from == "-" {
                archive::in_from(&files, &path, args.archive)?;
            } else {
                into::in_from(&files, Path::new(&args.from), &path, args.archive)?;
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

/// Deeper folders are a trap.
fn check_depth(path: &str, depth: usize) -> Result<()> {
    match depth > DEPTH_MAX {
        true => Err(Error::invalid(format!("{path}: folders more than {DEPTH_MAX} deep"))),
        false => Ok(()),
    }
}

/// `path` inside, below a folder.
fn below(path: &str, name: &str) -> String {
    format!("{}/{name}", path.trim_end_matches('/'))
}

/// Of what is in a folder, what is gone meanwhile is left out.
fn unless_gone(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn dated(file: &File, mtime: i64) {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let _ = futimens(file, &Timestamps { last_access: time, last_modification: time });
}
