//! A real start, on a root of nothing but a program that does nothing.

use super::{Finding, State};
use leanbox::{Command, Error, ErrorKind, Pool, Result, Rootfs, Template};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Starts, of which the fastest is told.
const STARTS: usize = 5;

/// What was seen.
pub(super) fn run() -> Vec<Finding> {
    let seen = match try_out(true) {
        Err(error) if error.kind() == ErrorKind::Unsupported && !leanbox::is_machine_root() => {
            return without_groups(&error);
        }
        seen => seen,
    };
    match seen {
        Ok(seen) => vec![mapping(&seen), started(&seen)],
        Err(error) => vec![Finding::missing(format!("start: {error}"))],
    }
}

/// As far as it goes for a user to whom no group was delegated.
fn without_groups(error: &Error) -> Vec<Finding> {
    match try_out(false) {
        Ok(seen) => vec![
            Finding::limited(format!("limits: none can be set: {error}")),
            Finding { state: State::Limited, ..started(&seen) },
        ],
        Err(error) => vec![Finding::missing(format!("start: {error}"))],
    }
}

#[derive(Debug)]
struct Seen {
    folder: PathBuf,
    maps_ids: bool,
    fastest: Duration,
}

fn mapping(seen: &Seen) -> Finding {
    let folder = seen.folder.display();
    if !leanbox::is_machine_root() {
        return Finding::limited("idmapped mounts: for root only, so files of the user are root's");
    }
    if seen.maps_ids {
        return Finding::ok(format!("idmapped mounts: on the file system of {folder}"));
    }
    Finding::limited(format!(
        "idmapped mounts: not on the file system of {folder}, so each template needs a copy of \
         its root; keep roots on ext4, xfs or btrfs"
    ))
}

fn started(seen: &Seen) -> Finding {
    let milliseconds = seen.fastest.as_secs_f64() * 1000.0;
    Finding::ok(format!("start: a container started and ended in {milliseconds:.2} ms"))
}

fn try_out(groups: bool) -> Result<Seen> {
    let root = Root::make(&place())?;
    let builder = Template::builder(Rootfs::open(&root.0)?);
    let template = if groups { builder.build()? } else { builder.without_groups().build()? };
    let pool = Pool::new(&template, 1)?;
    let mut fastest = Duration::MAX;
    for _ in 0..STARTS {
        pool.settle()?;
        let outcome = Command::new("/nothing").status(&pool)?;
        if !outcome.success() {
            let error = Error::invalid(format!("a program that does nothing: {:?}", outcome.end));
            return Err(error.remedy("please report it"));
        }
        fastest = fastest.min(outcome.wall);
    }
    let folder = root.0.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(Seen { folder, maps_ids: template.maps_ids(), fastest })
}

/// On a disk where there is one, as roots are; `/tmp` is often memory.
fn place() -> PathBuf {
    let disk = Path::new("/var/tmp");
    if disk.is_dir() { disk.to_path_buf() } else { std::env::temp_dir() }
}

/// A root that goes with this value.
struct Root(PathBuf);

impl Root {
    fn make(below: &Path) -> Result<Self> {
        let path = below.join(format!("leanbox-doctor-{}", std::process::id()));
        let wrap = |error| Error::io(path.display(), &error);
        fs::create_dir(&path).map_err(wrap)?;
        let root = Self(path.clone());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(wrap)?;
        let mut program = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path.join("nothing"))
            .map_err(wrap)?;
        program.write_all(leanbox::floor::NOTHING).map_err(wrap)?;
        Ok(root)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
