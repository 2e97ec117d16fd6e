//! The root file system of a benchmark: a temporary folder with nothing in it but the tiny
//! programs. Locked while it is in use, so that whoever comes next can remove what benchmarks that
//! were killed have left.

use leanbox::floor::{DIRTY, NOTHING, SLEEP};
use leanbox::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What its name begins with, before the process and a number.
const NAME: &str = "leanbox-bench-";

/// The folder, removed with this value.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Folder {
    pub(crate) fn make() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir();
        remove_left(&place);
        let path = place.join(format!("{NAME}{}-{count}", process::id()));
        let wrap = |error: std::io::Error| Error::io(path.display(), &error);
        fs::create_dir_all(&path).map_err(wrap)?;
        let lock = File::open(&path).map_err(wrap)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| wrap(errno.into()))?;
        let folder = Self { path: path.clone(), _lock: lock };
        for (name, bytes) in [("nothing", NOTHING), ("dirty", DIRTY), ("sleep", SLEEP)] {
            let program = folder.path.join(name);
            fs::write(&program, bytes).map_err(wrap)?;
            fs::set_permissions(&program, Permissions::from_mode(0o755)).map_err(wrap)?;
        }
        Ok(folder)
    }

    /// The do-nothing program's path on the host.
    pub(crate) fn program(&self) -> PathBuf {
        self.path.join("nothing")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes those that nobody holds. One that is just being made is empty yet and stays.
fn remove_left(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(NAME);
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let Some(folder) = (is_ours && is_folder).then(|| File::open(entry.path()).ok()).flatten()
        else {
            continue;
        };
        let is_free = flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok();
        if is_free && fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_some()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_benchmark_left_goes_and_what_is_in_use_stays() {
        let left = std::env::temp_dir().join(format!("{NAME}0-{}", process::id()));
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("nothing"), "").unwrap();
        let first = Folder::make().unwrap();
        let second = Folder::make().unwrap();
        assert!(!left.exists() && first.program().exists() && second.program().exists());
        let path = first.path.clone();
        drop((first, second));
        assert!(!path.exists());
    }
}
