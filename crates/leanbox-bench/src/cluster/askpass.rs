//! How ssh gets a password without any process list, environment or file having it.
//!
//! ssh runs the program that `SSH_ASKPASS` names, here a link to this very program under the name
//! [`ASKPASS`], in a folder closed to others. Beside it links lead to memfds that this process
//! holds, by `/proc/PID/fd`, which the kernel opens for our own user only. They end with this
//! process. (An inherited descriptor would not do: ssh closes all but the three streams.)

use super::plan::Secrets;
use leanbox::{Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// The name under which this program answers ssh.
pub const ASKPASS: &str = "leanbox-askpass";
/// Of the folders' names; the process's id and a number follow.
const PREFIX: &str = "leanbox-askpass-";
/// Folders of one process; there is one for each pair of secrets.
const FOLDERS_MAX: u32 = 10_000;
/// Longer is no password.
const SECRET_MAX_BYTES: u64 = 4096;

/// Answers for one pair of secrets; they go with it.
#[derive(Debug)]
pub(super) struct Askpass {
    folder: PathBuf,
    /// Held open.
    _secrets: Vec<File>,
}

impl Askpass {
    pub(super) fn make(secrets: &Secrets) -> Result<Self> {
        let folder = new_folder()?;
        let mut askpass = Self { folder, _secrets: Vec::new() };
        let pid = std::process::id();
        askpass.link(&format!("/proc/{pid}/exe"), ASKPASS)?;
        let named = [("password", &secrets.password), ("passphrase", &secrets.passphrase)];
        for (name, secret) in named {
            if let Some(secret) = secret {
                let file = in_memory(secret)?;
                askpass.link(&format!("/proc/{pid}/fd/{}", file.as_raw_fd()), name)?;
                askpass._secrets.push(file);
            }
        }
        Ok(askpass)
    }

    /// What `SSH_ASKPASS` says.
    pub(super) fn program(&self) -> PathBuf {
        self.folder.join(ASKPASS)
    }

    fn link(&self, to: &str, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        symlink(to, &path).map_err(|error| Error::io(path.display(), &error))
    }
}

impl Drop for Askpass {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn in_memory(secret: &str) -> Result<File> {
    let fd = memfd_create("leanbox", MemfdFlags::CLOEXEC)
        .map_err(|errno| Error::syscall("memfd_create", errno))?;
    let mut file = File::from(fd);
    file.write_all(secret.as_bytes()).map_err(|error| Error::io("memfd", &error))?;
    Ok(file)
}

/// Closed to others, and made by us: a name that is taken is left alone.
fn new_folder() -> Result<PathBuf> {
    remove_old();
    let mut last = None;
    for count in 0..FOLDERS_MAX {
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(Error::io(path.display(), &error)),
        }
    }
    let error = last.unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into());
    Err(Error::io(std::env::temp_dir().display(), &error))
}

/// Folders of processes that were killed, with links that lead nowhere any more.
fn remove_old() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Called as [`ASKPASS`]: the answer to `prompt`, if there is one. A host key is never agreed to.
#[must_use]
pub fn answer(called_as: &Path, prompt: &str) -> Option<String> {
    let name = which(prompt)?;
    let file = File::open(called_as.parent()?.join(name)).ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, SECRET_MAX_BYTES), &mut text)
        .ok()?;
    Some(text)
}

fn which(prompt: &str) -> Option<&'static str> {
    let prompt = prompt.to_lowercase();
    if prompt.contains("passphrase for") {
        Some("passphrase")
    } else if prompt.contains("yes/no") || prompt.contains("fingerprint") {
        None
    } else if prompt.contains("password") {
        Some("password")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_gets_no_answer_and_a_passphrase_is_no_password() {
        assert_eq!(which("me@h's password: "), Some("password"));
        assert_eq!(which("(me@h) Password: "), Some("password"));
        assert_eq!(which("Enter passphrase for key '/k': "), Some("passphrase"));
        assert_eq!(which("Are you sure you want to continue (yes/no/[fingerprint])? "), None);
    }

    #[test]
    fn the_secret_is_read_back_and_goes_with_the_folder() {
        let secrets = Secrets { password: Some("s3cret".into()), passphrase: None };
        let askpass = Askpass::make(&secrets).unwrap();
        let program = askpass.program();
        assert_eq!(answer(&program, "password: ").as_deref(), Some("s3cret"));
        assert_eq!(answer(&program, "passphrase for key k: "), None);
        drop(askpass);
        assert_eq!(answer(&program, "password: "), None);
        assert!(!program.parent().unwrap().exists());
    }
}
