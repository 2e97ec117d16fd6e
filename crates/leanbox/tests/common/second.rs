//! Starting second programs in a running container, for the tests.

#![allow(dead_code, reason = "not every test uses all of it")]

use leanbox::{Command, Container, Exit, Pool, Stdio};

pub(crate) fn spawn(pool: &Pool, script: &str) -> Container {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
    command.spawn(pool).unwrap()
}

pub(crate) fn captured(script: &str) -> Command {
    let mut command = Command::new("sh");
    let kept = || Stdio::Captured { max_bytes: 1 << 20 };
    command.args(["-c", script]).stdin(Stdio::Null).stdout(kept()).stderr(kept());
    command
}

pub(crate) fn exec(container: &Container, script: &str) -> Exit {
    container.exec(&mut captured(script)).unwrap().wait().unwrap()
}

pub(crate) fn says(container: &Container, script: &str) -> String {
    let exit = exec(container, script);
    assert_eq!(String::from_utf8_lossy(&exit.stderr.bytes), "", "{script}");
    String::from_utf8_lossy(&exit.stdout.bytes).trim_end().to_string()
}
