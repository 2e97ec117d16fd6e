//! What to run: program, arguments, environment, streams, as with `std::process::Command`. The
//! message that starts it is laid out once, and again only after a change.

mod second;

use crate::container::{Container, Started};
use crate::identity::Identity;
use crate::message::{Data, candidates, environment, patch};
use crate::slot::empty_start;
use crate::stdio::{Stdio, Streams};
use crate::template::{Inner, no_nul};
use crate::{Error, ErrorKind, Outcome, Pool, Result, keeper};
use leanbox_launcher::wire::{Go, INLINE_MAX, START_FDS_MAX, Start, bytes_of};
use rustix::process::Signal;
use second::told_of_exec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whether a start waits for its slot.
#[derive(Debug, Clone, Copy)]
enum Take {
    /// Behind those who came before.
    InTurn,
    IfReady,
}

/// A program to be started in a container.
#[derive(Debug)]
pub struct Command {
    program: Arc<str>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    env_clear: bool,
    current_dir: Option<String>,
    streams: [Option<Stdio>; 3],
    fds: Vec<(i32, OwnedFd)>,
    timeout: Option<Duration>,
    terminal_size: Option<(u16, u16)>,
    cpu_time: Option<Duration>,
    grace: Option<(Signal, Duration)>,
    output_max: Option<u64>,
    noop: bool,
    stamp: bool,
    explain: bool,
    controls: bool,
    user: Option<String>,
    message: Option<Message>,
}

/// A start, laid out for one template.
#[derive(Debug)]
struct Message {
    template: usize,
    bytes: Vec<u8>,
    memfd: Option<OwnedFd>,
}

impl Command {
    /// A program by its path inside, or by name, looked for in PATH.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into().into(),
            args: Vec::new(),
            env: Vec::new(),
            env_clear: false,
            current_dir: None,
            streams: [None, None, None],
            fds: Vec::new(),
            timeout: None,
            terminal_size: None,
            cpu_time: None,
            grace: None,
            output_max: None,
            noop: false,
            stamp: false,
            explain: false,
            controls: false,
            user: None,
            message: None,
        }
    }

    /// A container that exits at once without executing anything: the original's critical path.
    #[must_use]
    pub fn noop() -> Self {
        Self { noop: true, ..Self::new("") }
    }

    /// One more argument.
    pub fn arg(&mut self, arg: impl Into<String>) -> &mut Self {
        self.args.push(arg.into());
        self.changed()
    }

    /// More arguments.
    pub fn args<S: Into<String>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.args.extend(args.into_iter().map(Into::into));
        self.changed()
    }

    /// A variable beside (or instead of) the image's.
    pub fn env(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.env.push((key.into(), value.into()));
        self.changed()
    }

    /// Nothing of the image's environment.
    pub fn env_clear(&mut self) -> &mut Self {
        self.env.clear();
        self.env_clear = true;
        self.changed()
    }

    /// Another working directory than the image's.
    pub fn current_dir(&mut self, dir: impl Into<String>) -> &mut Self {
        self.current_dir = Some(dir.into());
        self.changed()
    }

    /// Standard input.
    pub fn stdin(&mut self, stdio: Stdio) -> &mut Self {
        self.streams[0] = Some(stdio);
        self
    }

    /// Standard output.
    pub fn stdout(&mut self, stdio: Stdio) -> &mut Self {
        self.streams[1] = Some(stdio);
        self
    }

    /// Standard error.
    pub fn stderr(&mut self, stdio: Stdio) -> &mut Self {
        self.streams[2] = Some(stdio);
        self
    }

    /// Gives the container a descriptor under this number: a socket, a file, a pipe.
    pub fn fd(&mut self, number: i32, fd: OwnedFd) -> &mut Self {
        self.fds.push((number, fd));
        self
    }

    /// Kills the container when this much time has passed since its start, whether anybody waits
    /// for it or not. The first one that is spawned with a timeout begins a thread of this process,
    /// which sleeps until a time is up; [`status`](Self::status) and [`output`](Self::output)
    /// need none.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = Some(timeout);
        self
    }

    /// The size of its terminal from its first instruction on
    /// ([`TemplateBuilder::terminal`](crate::TemplateBuilder::terminal)); 0 × 0 unless set.
    pub fn terminal_size(&mut self, rows: u16, columns: u16) -> &mut Self {
        self.terminal_size = Some((rows, columns));
        self
    }

    /// Kills the container when all its processes together have used this much CPU time, whether
    /// anybody waits for it or not: at most 5 ms later on each CPU. The thread for timeouts looks
    /// at it, the more often the closer it comes. Only where cgroups count CPU time (v1's
    /// `cpuacct`; v2 always).
    pub fn cpu_time(&mut self, cpu_time: Duration) -> &mut Self {
        self.cpu_time = Some(cpu_time);
        self
    }

    /// When its time is up, wall or CPU, the program gets this signal first (15: SIGTERM), and the
    /// whole slot SIGKILL only after `grace`. The outcome says that its time was up however the
    /// program ends then.
    ///
    /// # Errors
    /// `InvalidInput`: no such signal (signal(7)).
    pub fn grace(&mut self, signal: i32, grace: Duration) -> Result<&mut Self> {
        let named = Signal::from_named_raw(signal)
            .ok_or_else(|| Error::invalid(format!("{signal}: no such signal")))?;
        self.grace = Some((named, grace));
        Ok(self)
    }

    /// Kills the container when it has written more than this to standard output and standard
    /// error together. What is not captured is read and passed on by whoever waits: until
    /// somebody does, the program stands still when the pipes are full. Not with
    /// [`Stdio::Piped`] outputs, which the caller reads.
    pub fn output_max(&mut self, bytes: u64) -> &mut Self {
        self.output_max = Some(bytes);
        self
    }

    /// Has the outcome say what was refused to it and why ([`Outcome::explanation`]): system calls,
    /// files, rights. Every system call of its processes is watched for that (ptrace(2)), which
    /// makes them many times slower. Nothing else is different, and nothing more is allowed; a
    /// program that traces its own children cannot.
    pub fn explain(&mut self) -> &mut Self {
        self.explain = true;
        self
    }

    /// Has the container tell when it woke ([`Outcome::first_instruction`]): for benchmarks.
    pub fn stamp(&mut self) -> &mut Self {
        self.stamp = true;
        self
    }

    /// Starts the program and returns when it has been executed. Streams are inherited unless set,
    /// or are the terminal that the template gives.
    ///
    /// # Errors
    /// No slot, or the program cannot be executed: [`NotFound`](crate::ErrorKind::NotFound) (a
    /// shell's 127), [`NotExecutable`](crate::ErrorKind::NotExecutable) (126).
    pub fn spawn(&mut self, pool: &Pool) -> Result<Container> {
        let spawned = self.spawn_in(pool, Take::InTurn)?;
        spawned.ok_or_else(|| Error::new(ErrorKind::Busy, "no slot is free"))
    }

    /// As [`spawn`](Self::spawn), but only if a slot is ready just now; else `None`, and
    /// [`Pool::event`] tells when to try again.
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn).
    pub fn try_spawn(&mut self, pool: &Pool) -> Result<Option<Container>> {
        self.spawn_in(pool, Take::IfReady)
    }

    fn spawn_in(&mut self, pool: &Pool, how: Take) -> Result<Option<Container>> {
        let streams = self.open_streams(pool, || Stdio::Inherit)?;
        let (tell, told) = told_of_exec()?;
        let started = self.start(pool, streams, Some(&told), how)?;
        drop(told);
        let Some(container) = started else { return Ok(None) };
        container.confirm_exec(tell)?.end_at_deadline().map(Some)
    }

    /// Runs the program to its end. Streams are inherited unless set.
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn).
    pub fn status(&mut self, pool: &Pool) -> Result<Outcome> {
        let streams = self.open_streams(pool, || Stdio::Inherit)?;
        self.run_in(pool, streams)
    }

    /// Runs the program to its end; output and errors are captured, up to
    /// [`Limits::output_max_bytes`](crate::Limits::output_max_bytes) each, unless set, and the
    /// input is empty.
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn).
    pub fn output(&mut self, pool: &Pool) -> Result<Outcome> {
        if self.streams[0].is_none() {
            self.streams[0] = Some(Stdio::Null);
        }
        let max_bytes = pool.template().inner.output_max_bytes;
        let streams = self.open_streams(pool, || Stdio::Captured { max_bytes })?;
        self.run_in(pool, streams)
    }

    fn open_streams(&self, pool: &Pool, default: impl Fn() -> Stdio) -> Result<Streams> {
        let (terminal, counted) = (pool.template().inner.plan.terminal, self.output_max.is_some());
        if terminal && counted {
            return Err(Error::invalid("an output limit does not go with a terminal")
                .remedy("count what you read of it"));
        }
        Streams::open(&self.streams, default, terminal, counted)
    }

    fn run_in(&mut self, pool: &Pool, streams: Streams) -> Result<Outcome> {
        match self.start(pool, streams, None, Take::InTurn)? {
            // The clock is looked at by whoever waits.
            Some(container) if self.cpu_time.is_none() && self.grace.is_none() => container.wait(),
            Some(container) => container.end_at_deadline()?.wait(),
            None => Err(Error::new(ErrorKind::Busy, "no slot is free")),
        }
    }

    fn go(&self) -> Go {
        if self.noop { Go::Noop } else { Go::Exec }
    }

    fn changed(&mut self) -> &mut Self {
        self.message = None;
        self
    }

    /// Starts in a slot of the pool: `None` where none is free and `how` does not wait.
    fn start(
        &mut self,
        pool: &Pool,
        mut streams: Streams,
        tell: Option<&OwnedFd>,
        how: Take,
    ) -> Result<Option<Container>> {
        let began = Instant::now();
        if self.user.is_some() {
            return Err(Error::invalid("a command's user is that of a second program")
                .remedy("name a container's own user when its template is built"));
        }
        if self.controls {
            return Err(Error::invalid(
                "a command's controlling terminal is that of a second program",
            )
            .remedy("have the template give its containers terminals"));
        }
        self.lay_out(pool)?;
        let Some(message) = &self.message else {
            return Err(Error::invalid("no start was laid out"));
        };
        let ours = streams.take_ours();
        let (bytes, fds) = self.complete(message, &streams, tell)?;
        let bytes = bytes.as_deref().unwrap_or(&message.bytes);
        let slot = match how {
            Take::InTurn => pool.take(began).map_err(|error| pool.blamed(error))?,
            Take::IfReady => match pool.try_take(began) {
                Some(slot) => slot,
                None => return Ok(None),
            },
        };
        let deadline = self.timeout.and_then(|timeout| began.checked_add(timeout));
        let stamp_ns = self.stamp.then(leanbox_sys::sync::now_ns);
        let (cpu, grace, output_max) = (self.cpu_time, self.grace, self.output_max);
        let start = Duration::ZERO;
        let started = Started { began, start, deadline, cpu, grace, output_max, stamp_ns };
        // Whole before the start, so that nothing but a look at the clock is between it and a wait.
        let mut container = Container::new(pool.clone(), slot, ours, started, &self.program);
        if pool.template().inner.plan.terminal {
            container.take_terminal(self.terminal_size)?;
        }
        if self.explain {
            container.explain()?;
        }
        container.start(self.go(), bytes, &fds).map_err(|error| pool.blamed(error))?;
        Ok(Some(container))
    }

    /// The descriptors of this start, and the message again where it must speak of them.
    fn complete<'a>(
        &'a self,
        message: &'a Message,
        streams: &'a Streams,
        tell: Option<&'a OwnedFd>,
    ) -> Result<(Option<Vec<u8>>, Vec<BorrowedFd<'a>>)> {
        let mut places: Vec<(i32, BorrowedFd<'a>)> = streams.theirs().collect();
        places.extend(self.fds.iter().map(|(number, fd)| (*number, fd.as_fd())));
        if places.is_empty() && tell.is_none() && message.memfd.is_none() {
            return Ok((None, Vec::new()));
        }
        let bad = |number: i32| !(0..500).contains(&number);
        if places.len() > START_FDS_MAX || places.iter().any(|(number, _)| bad(*number)) {
            return Err(Error::invalid(format!(
                "{} descriptors: at most {START_FDS_MAX}, numbered 0 to 499",
                places.len()
            )));
        }
        let mut start = empty_start();
        for (target, (number, _)) in start.targets.iter_mut().zip(&places) {
            *target = *number;
        }
        start.fds = u32::try_from(places.len()).unwrap_or(0);
        start.tell_exec = u32::from(tell.is_some());
        start.data_in_memfd = u32::from(message.memfd.is_some());
        let mut bytes = message.bytes.clone();
        patch(&mut bytes, &start);
        let fds = places.into_iter().map(|(_, fd)| fd);
        let extra = tell.into_iter().chain(&message.memfd).map(AsFd::as_fd);
        Ok((Some(bytes), fds.chain(extra).collect()))
    }

    /// Lays the message out unless that was done for this template.
    fn lay_out(&mut self, pool: &Pool) -> Result<()> {
        let template = std::ptr::from_ref(&*pool.template().inner).addr();
        if self.message.as_ref().is_some_and(|message| message.template == template) {
            return Ok(());
        }
        let identity = pool.template().inner.plan.identity.clone();
        self.message = Some(self.message_for(pool, &identity)?);
        Ok(())
    }

    fn message_for(&self, pool: &Pool, identity: &Identity) -> Result<Message> {
        let inner = &pool.template().inner;
        let mut start = empty_start();
        start.go = self.go() as u32;
        let data = if self.noop { Vec::new() } else { self.data(inner, identity, &mut start)? };
        let mut bytes = bytes_of(&start).to_vec();
        let memfd = if data.len() > INLINE_MAX {
            Some(keeper::sealed_memory("leanbox-start", &data)?)
        } else {
            bytes.extend(&data);
            None
        };
        Ok(Message { template: std::ptr::from_ref(&**inner).addr(), bytes, memfd })
    }

    fn data(&self, inner: &Inner, identity: &Identity, start: &mut Start) -> Result<Vec<u8>> {
        let config = inner.rootfs.config();
        let image = if self.env_clear { &[][..] } else { &config.env[..] };
        let env = environment(image, &self.env, identity.home.as_deref());
        let argv: Vec<&str> =
            std::iter::once(&*self.program).chain(self.args.iter().map(String::as_str)).collect();
        let paths = candidates(&self.program, &env);
        let dir = self.current_dir.as_deref().unwrap_or("");
        for text in argv.iter().copied().chain(env.iter().map(String::as_str)).chain([dir]) {
            no_nul(text)?;
        }
        if self.program.is_empty() {
            return Err(Error::invalid("no program to run"));
        }
        let mut data = Data::default();
        start.workdir = if dir.is_empty() { 0 } else { data.text(dir) };
        start.paths = data.table(&paths);
        start.argv = data.table(&argv);
        start.envp = data.table(&env);
        start.length = data.bytes.len() as u64;
        Ok(data.bytes)
    }
}
