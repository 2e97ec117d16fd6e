//! Other programs that are asked for something: nft(8), cp(1), busctl(1), systemctl(1).
//!
//! In: a command and what it is to read. Out: how it ended and what it said. Never: waits for two
//! streams at a time, where the standard library panics in a shortage: they are files in memory.

use crate::{Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, ExitStatus, Stdio};

/// What a program said until its end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Why it failed, in a line.
    pub(crate) fn why(&self) -> String {
        let line = self.err.lines().find(|line| !line.trim().is_empty());
        line.map_or_else(|| self.status.to_string(), |line| line.trim().to_string())
    }
}

/// Runs it to its end.
///
/// # Errors
/// It cannot be run. (That it failed is in what is returned.)
pub(crate) fn ask(command: &mut Command, input: &str) -> Result<Said> {
    let program = command.get_program().to_string_lossy().into_owned();
    let wrap = |error: std::io::Error| Error::io(&program, &error);
    let (out, err) = (in_memory()?, in_memory()?);
    let stdin = match input.is_empty() {
        true => Stdio::null(),
        false => {
            let text = in_memory()?;
            text.write_all_at(input.as_bytes(), 0).map_err(wrap)?;
            text.into()
        }
    };
    let streams = |file: &File| file.try_clone().map(Stdio::from).map_err(wrap);
    command.stdin(stdin).stdout(streams(&out)?).stderr(streams(&err)?);
    let mut child = command.spawn().map_err(wrap)?;
    let status = child.wait().map_err(wrap)?;
    Ok(Said { status, out: text_of(&out).map_err(wrap)?, err: text_of(&err).map_err(wrap)? })
}

fn in_memory() -> Result<File> {
    let file = memfd_create("leanbox-tool", MemfdFlags::CLOEXEC);
    file.map(File::from).map_err(|errno| Error::syscall("memfd_create(\"leanbox-tool\")", errno))
}

/// From its beginning, wherever the program is in it.
fn text_of(file: &File) -> std::io::Result<String> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &str) -> Said {
        ask(Command::new("/bin/sh").args(["-c", script]), input).unwrap()
    }

    #[test]
    fn a_program_reads_its_input_and_what_it_says_is_kept_by_stream() {
        let said = sh("cat; echo line >&2; exit 3", "text");
        assert_eq!((said.out.as_str(), said.err.as_str()), ("text", "line\n"));
        assert_eq!((said.status.code(), said.why().as_str()), (Some(3), "line"));
        assert_eq!(sh("cat", "").out, "");
    }

    #[test]
    fn much_on_both_streams_holds_nothing_up() {
        let said = sh("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2", "");
        assert_eq!((said.out.len(), said.err.len()), (1_000_000, 1_000_000));
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let error = ask(&mut Command::new("/nowhere/tool"), "").unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/tool: "), "{error}");
    }
}
