//! Beginning, signalling and ending the built command, for all tests.

use std::process::{Child, Command, Output};

/// `leanbox`, with signals as from a terminal: a shell's background job, and so its tests, ignore
/// some.
pub(crate) fn leanbox() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", env!("CARGO_BIN_EXE_leanbox")]);
    command
}

/// Sends a signal by its name.
pub(crate) fn send(child: &Child, signal: &str) {
    // The shell's own kill: kill(1) is a package that a small system lacks.
    let kill = format!("kill -s {signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_string();
        let code = output.status.code().expect("leanbox itself was killed");
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}
