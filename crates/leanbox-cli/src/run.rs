//! `leanbox run`: one program in one container, from its words to its exit code.
//!
//! Nothing is done before the start that the start does not need: the time of the whole command
//! is what people feel.

mod detach;

use crate::images;
use crate::outcome::{self, Failure, Json};
use crate::program::{self, Asked, Files};
use crate::signals::Signals;
use crate::values::{self, Capabilities};
use leanbox::{
    Command, Container, Error, ErrorKind, Limits, Outcome, Pool, Result, Rootfs, Template,
    parse_bytes, parse_cpus,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `leanbox run`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "leanbox run [OPTIONS] ROOTFS|NAME [COMMAND [ARGS]...]",
    after_help = HELP
)]
pub(crate) struct Args {
    /// The most memory it may use, with what is in /tmp; going past it kills it
    #[arg(long, short, value_name = "SIZE", value_parser = parse_bytes)]
    #[arg(default_value = "512m", allow_hyphen_values = true)]
    pub(crate) memory: u64,
    /// CPU time a second, as in 1.5 for one CPU and a half [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_cpus, allow_hyphen_values = true)]
    cpus: Option<f64>,
    /// The most processes and threads at one time
    #[arg(long, value_name = "N", default_value_t = 256, allow_hyphen_values = true)]
    pids: u32,
    /// Kill it after this time, as in 10, 1.5s, 500ms, 2m (exit code 124) [default: never]
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// Set a variable; KEY alone takes its value from here. May be given again
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = values::variable)]
    env: Vec<(String, Option<String>)>,
    /// Start in this folder [default: the image's, else /]
    #[arg(long, short, value_name = "DIR", value_parser = values::absolute)]
    workdir: Option<String>,
    /// Run as this user of the root: name, uid, name:group or uid:gid [default: the image's]
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// The most that /tmp holds
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    #[arg(default_value = "64m", allow_hyphen_values = true)]
    tmp_size: u64,
    /// Give it a capability inside its own user namespace: a name of capabilities(7), or ALL.
    /// May be given again [default: none]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = values::capabilities)]
    cap_add: Vec<Capabilities>,
    /// Run this program instead of the image's entrypoint; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The host name inside
    #[arg(long, value_name = "NAME", default_value = "leanbox", value_parser = values::hostname)]
    hostname: String,
    /// Tell the outcome as one line of JSON: last on standard error, or in FILE (-: last on
    /// standard output)
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "")]
    json: Option<String>,
    #[command(flatten)]
    pub(crate) detach: detach::Detach,
    /// A root file system (with a slash in it: a folder; else an image, else a folder), then the
    /// command with its arguments [default: the image's command, else the app's main file]
    #[arg(value_name = "ROOTFS|NAME", required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

const HELP: &str = "\
Words after ROOTFS are arguments of the image's entrypoint if it has one, else program and
arguments. A Python file of the working directory or of / is run by the root's own python3.

Examples:
  leanbox run ./rootfs sh -c 'id; cat /proc/self/status'
  leanbox run --memory 64m --timeout 10s hello
  leanbox run .base/hello/rootfs hello.py
  leanbox run --entrypoint sh hello -c 'ls -l'

Exit codes: the program's own; 128+N if signal N ended it (137: killed, as when out of memory);
124 timed out; 125 leanbox could not do it; 126 not executable; 127 no such program.";

/// Runs it to the program's end.
pub(crate) fn run(args: &Args) -> ExitCode {
    if args.detach.detach {
        return detach::run(args);
    }
    let json = match Json::open(args.json.as_deref()) {
        Ok(json) => json,
        Err(error) => return outcome::conclude(Err(error.into()), args, Json::None),
    };
    outcome::conclude(args.carry_out(), args, json)
}

impl Args {
    /// The word for the root.
    pub(crate) fn root(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    /// The words for its program.
    pub(crate) fn words_behind_root(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_max_bytes: self.memory,
            pids_max: self.pids,
            cpus: self.cpus,
            tmp_max_bytes: self.tmp_size,
        }
    }

    fn carry_out(&self) -> Result<Outcome, Failure> {
        self.limits().validate()?;
        let mut signals = Signals::take()?;
        let template = self.template().map_err(|error| match images::interrupted() {
            Some(code) => Failure { error: Error::new(ErrorKind::Gone, "interrupted"), code },
            None => error.into(),
        })?;
        let mut command = self.command(template.rootfs()).map_err(Failure::of_program)?;
        let pool = Pool::new(&template, 0)?;
        // The pool is its last user: keeper and slot end together, which waits once, not twice.
        drop(template);
        let container = command.spawn(&pool).map_err(Failure::of_program)?;
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        await_end(&container, &mut signals, deadline)?;
        Ok(container.wait()?)
    }

    pub(crate) fn template(&self) -> Result<Template> {
        let mut builder = Template::builder(Rootfs::open(root_folder(self.root())?)?)
            .limits(self.limits())
            .hostname(&self.hostname)
            .ahead();
        if let Some(user) = &self.user {
            builder = builder.user(user);
        }
        for capability in self.cap_add.iter().flat_map(|one| one.0) {
            builder = builder.cap_add(*capability);
        }
        builder.build()
    }

    pub(crate) fn command(&self, rootfs: &Rootfs) -> Result<Command> {
        let own_path = self.env.iter().rfind(|(key, _)| key == "PATH");
        let asked = Asked {
            words: self.words_behind_root(),
            entrypoint: self.entrypoint.as_deref(),
            workdir: self.workdir.as_deref(),
            path: own_path.and_then(|(_, value)| value.as_deref()),
        };
        let files = Files {
            is_file: &|path| rootfs.is_file(path),
            is_program: &|path| rootfs.is_program(path),
        };
        let mut words = program::resolve(&asked, rootfs.config(), &files)?.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        for (key, value) in &self.env {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        if let Some(dir) = &self.workdir {
            command.current_dir(dir);
        }
        if let Some(timeout) = self.timeout {
            command.timeout(timeout);
        }
        Ok(command)
    }
}

/// A folder where the word has a slash; else an image of the store, else a folder of that name.
pub(crate) fn root_folder(word: &str) -> Result<PathBuf> {
    if word.is_empty() {
        return Err(Error::invalid("no root file system named").remedy("name a folder or an image"));
    }
    if word.contains('/') {
        return Ok(word.into());
    }
    match images::rootfs(word) {
        Ok(folder) => Ok(folder),
        Err(_) if Path::new(word).exists() => Ok(word.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::new(
            ErrorKind::NotFound,
            format!("{word}: no such image, and no such folder"),
        )
        .remedy("leanbox images lists the images")),
        Err(error) => Err(error),
    }
}

/// Hands signals on until the program has ended or its time is up.
fn await_end(
    container: &Container,
    signals: &mut Signals,
    deadline: Option<Instant>,
) -> Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        let mut fds = [
            PollFd::from_borrowed_fd(container.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.event(), PollFlags::IN),
        ];
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::syscall("poll(container)", errno)),
        }
        let [ended, signalled] = fds.map(|fd| !fd.revents().is_empty());
        if ended {
            return Ok(());
        }
        if signalled {
            for signal in signals.come() {
                // the program may have ended meanwhile, which the next look tells
                let _ = container.signal(signal);
            }
        }
    }
}
