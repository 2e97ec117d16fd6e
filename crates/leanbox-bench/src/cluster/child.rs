//! A command to its end, with a bound: for copying.

use super::reasons;
use leanbox::{Error, ErrorKind, Result};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What a command may say.
const OUTPUT_MAX_BYTES: u64 = 64 << 10;

/// Feeds it `input` and gives back what it printed. `password`: whether one was given.
///
/// # Errors
/// It cannot be started, takes longer than `limit`, was interrupted, or fails.
pub(super) fn finish(
    mut command: Command,
    input: &'static [u8],
    limit: Duration,
    password: bool,
) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Error::io(&name, &error)
            .remedy("install the OpenSSH client: apt-get install openssh-client")
    })?;
    let feeder = child.stdin.take().map(|mut pipe| {
        // Who ends early has said why.
        std::thread::spawn(move || drop(pipe.write_all(input)))
    });
    let (out, said) = (read(child.stdout.take()), read(child.stderr.take()));
    let status = wait(&mut child, limit);
    let gathered = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
    let (out, said) = (gathered(out), gathered(said));
    drop(feeder.map(JoinHandle::join));
    let status = status?;
    if status.success() {
        return Ok(out);
    }
    let said: Vec<String> = said.lines().map(Into::into).collect();
    let words = reasons::reason(&said, password).unwrap_or_else(|| status.to_string());
    // what the far side found out itself goes before what ssh has to say
    let own = out.lines().find_map(|line| line.strip_prefix(super::script::MARK));
    Err(Error::new(ErrorKind::System, own.unwrap_or(&words)))
}

fn wait(child: &mut Child, limit: Duration) -> Result<std::process::ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| Error::io("waitpid", &error))? {
            return Ok(status);
        }
        let late = begin.elapsed() > limit;
        if late || crate::interrupted() {
            let _ = child.kill();
            let _ = child.wait();
            let seconds = limit.as_secs();
            let late = format!("not done within {seconds} s");
            return Err(Error::new(
                ErrorKind::Gone,
                if crate::interrupted() { "interrupted".into() } else { late },
            ));
        }
        std::thread::sleep(LOOK);
    }
}

fn read(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = (&mut pipe).take(OUTPUT_MAX_BYTES).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
