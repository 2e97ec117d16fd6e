//! `bench sync`: this very program onto the hosts, also under the original's name.
//!
//! It grows under a temporary name, is checked there (sum, and whether it runs), and takes its
//! names by rename, so that neither a half one nor a mix of two is ever there.

use super::child;
use super::plan::{Secrets, Target};
use super::script::{MARK, quote};
use super::ssh::Ssh;
use leanbox::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

/// Hosts at once.
const HOSTS_AT_ONCE: usize = 8;
/// To look what is there, once connected.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// To copy some megabytes.
const COPY_TIMEOUT: Duration = Duration::from_secs(300);
/// A program is smaller; more would not be read into memory.
const PROGRAM_MAX_BYTES: u64 = 256 << 20;

/// What was done on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Synced {
    /// It was there already, under both names.
    Nothing,
    /// It was copied: so many bytes.
    Copied(usize),
}

/// This program, read once.
static PROGRAM: LazyLock<Result<Vec<u8>>> = LazyLock::new(|| {
    let wrap = |error: std::io::Error| Error::io("/proc/self/exe", &error);
    let len = std::fs::metadata("/proc/self/exe").map_err(wrap)?.len();
    if len > PROGRAM_MAX_BYTES {
        return Err(Error::invalid("/proc/self/exe: larger than 256 MiB"));
    }
    std::fs::read("/proc/self/exe").map_err(wrap)
});

fn program() -> Result<&'static [u8]> {
    PROGRAM.as_ref().map(Vec::as_slice).map_err(Clone::clone)
}

/// Brings the program to these hosts, some at a time; `done` gets each one's result as it comes.
///
/// # Errors
/// This program cannot be read.
pub fn sync(
    hosts: &[(Target, Secrets)],
    folder: &str,
    ssh: &Ssh,
    done: &mut (dyn FnMut(&Target, Result<Synced>) + Send),
) -> Result<()> {
    let program = program()?;
    let sum = hex(&Sha256::digest(program));
    let (next, done) = (Mutex::new(hosts.iter()), Mutex::new(done));
    std::thread::scope(|scope| {
        for _ in 0..hosts.len().min(HOSTS_AT_ONCE) {
            scope.spawn(|| {
                while let Some((target, secrets)) = next.lock().ok().and_then(|mut all| all.next())
                {
                    let result = one(target, secrets, folder, ssh, program, &sum);
                    if let Ok(mut done) = done.lock() {
                        done(target, result);
                    }
                }
            });
        }
    });
    Ok(())
}

fn one(
    target: &Target,
    secrets: &Secrets,
    folder: &str,
    ssh: &Ssh,
    program: &'static [u8],
    sum: &str,
) -> Result<Synced> {
    let run = |script: String, input, limit| {
        let line = format!("exec /bin/sh -c {}", quote(&script));
        let command = ssh.command(target, secrets, false, &line);
        child::finish(command, input, limit + ssh.connect_timeout, secrets.password.is_some())
    };
    let there = run(look(folder), &[], LOOK_TIMEOUT)?;
    if there.lines().filter(|line| line.strip_prefix(MARK) == Some(sum)).count() == 2 {
        return Ok(Synced::Nothing);
    }
    let answer = run(bring(folder, sum), program, COPY_TIMEOUT)?;
    if answer.lines().any(|line| line.strip_prefix(MARK) == Some("done")) {
        return Ok(Synced::Copied(program.len()));
    }
    Err(Error::new(ErrorKind::System, "said nothing about what it did; does its shell run sh?"))
}

/// Enters the folder, made if it is not there.
fn enter(folder: &str) -> String {
    let folder = match folder.strip_prefix("~/") {
        Some(rest) => format!("\"$HOME\"/{}", quote(rest)),
        None if folder.is_empty() || folder == "~" => "\"$HOME\"".into(),
        None => quote(folder),
    };
    format!(
        "mkdir -p -- {folder} && cd -- {folder} || {{ echo '{MARK}no such folder'; exit 1; }}; "
    )
}

/// The sums of what is there under both names, if it can be executed.
fn look(folder: &str) -> String {
    let enter = enter(folder);
    format!(
        "{enter}for file in leanbox benchmark_lean_container; do \
         if [ -d $file ]; then echo \"{MARK}$file is a folder there\"; exit 1; fi; \
         if [ -x $file ]; then echo \"{MARK}$(sha256sum <$file | cut -c 1-64)\"; fi; done"
    )
}

/// Takes the program from standard input.
fn bring(folder: &str, sum: &str) -> String {
    let enter = enter(folder);
    format!(
        "{enter}one=.leanbox.$$.tmp; two=.benchmark_lean_container.$$.tmp; \
         trap 'rm -f $one $two' EXIT; trap 'exit 1' HUP INT TERM; \
         stop() {{ echo \"{MARK}$1\"; exit 1; }}; \
         cat >$one || stop 'cannot write there: is the disk full?'; \
         [ \"$(sha256sum <$one | cut -c 1-64)\" = {sum} ] || \
         stop 'it arrived damaged, or there is no sha256sum to check it with'; \
         chmod 755 $one; said=$(./$one --version 2>&1) || \
         stop \"it does not run there: $(echo \"$said\" | head -n 1)\"; \
         ln $one $two 2>/dev/null || cp -p $one $two || stop 'cannot write there'; \
         mv -f $one leanbox && mv -f $two benchmark_lean_container || stop 'cannot rename there'; \
         echo '{MARK}done'"
    )
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether this program needs nothing that is linked at its start (elf(5): no PT_INTERP).
///
/// # Errors
/// This program cannot be read.
pub fn is_static() -> Result<bool> {
    Ok(!has_interpreter(program()?))
}

fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| -> usize {
        let field = elf.get(at..at.saturating_add(bytes)).unwrap_or_default();
        field.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let headers = (0..count).filter_map(|index| table.checked_add(index.checked_mul(size)?));
    headers.into_iter().any(|at| number(at, 4) == PT_INTERP as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_is_linked_at_its_start_and_noise_is_not() {
        assert_eq!(has_interpreter(program().unwrap()), !cfg!(target_feature = "crt-static"));
        assert!(!has_interpreter(b"\x7fELF"));
        assert!(!has_interpreter(&[0xff; 200]));
    }

    #[test]
    fn a_sum_is_written_as_sha256sum_does() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&Sha256::digest(b"")), empty);
    }
}
