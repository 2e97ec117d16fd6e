//! Connects to all, prepares all, tells all to begin, and listens until the last has ended.

use super::plan::{Plan, Task};
use super::progress::{Progress, State, Step};
use super::report::{self, Report};
use super::session::{Event, Message, Session};
use super::ssh::Ssh;
use leanbox::Result;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Logins at once on one host: sshd drops them at random from ten on (MaxStartups).
const LOGINS_PER_HOST: usize = 4;
/// Logins at once in all: each costs this machine some milliseconds of CPU time.
const LOGINS: usize = 32;
/// How often the time is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// After Ctrl-C, until the rest is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// From the end of the output to the end of ssh, which may still say why.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// Messages not yet looked at; then the hosts wait.
const MESSAGES_MAX: usize = 1024;

/// Runs the plan. `line` gets each host's lines, `problem` a line for whatever goes wrong, both as
/// they come.
///
/// # Errors
/// ssh cannot be started.
pub fn run(
    plan: &Plan,
    ssh: &Ssh,
    line: &mut dyn FnMut(&str),
    problem: &mut dyn FnMut(&str),
) -> Result<Report> {
    raise_descriptors();
    let now = Instant::now();
    let (sender, receiver) = sync_channel(MESSAGES_MAX);
    let mut run = Run {
        tasks: &plan.tasks,
        ssh,
        sessions: plan.tasks.iter().map(|_| None).collect(),
        progress: plan.tasks.iter().map(|_| Progress::new(now)).collect(),
        told: Vec::new(),
        begun: None,
        stopped: None,
        line,
        problem,
    };
    run.listen(&sender, &receiver)?;
    let stopped = run.stopped.is_some();
    Ok(report::make(&plan.tasks, &run.progress, stopped))
}

struct Run<'a> {
    tasks: &'a [Task],
    ssh: &'a Ssh,
    sessions: Vec<Option<Session>>,
    progress: Vec<Progress>,
    /// Problems that were told, one for each host and reason.
    told: Vec<String>,
    begun: Option<Instant>,
    stopped: Option<Instant>,
    line: &'a mut dyn FnMut(&str),
    problem: &'a mut dyn FnMut(&str),
}

impl Run<'_> {
    fn listen(&mut self, sender: &SyncSender<Message>, messages: &Receiver<Message>) -> Result<()> {
        while self.progress.iter().any(|progress| progress.state != State::Ended) {
            self.connect_some(sender)?;
            if let Ok(message) = messages.recv_timeout(LOOK) {
                self.heed(message);
                for message in messages.try_iter().take(MESSAGES_MAX) {
                    self.heed(message);
                }
            }
            self.look(Instant::now());
            self.begin_if_ready();
        }
        Ok(())
    }

    fn connect_some(&mut self, sender: &SyncSender<Message>) -> Result<()> {
        if self.progress.iter().all(|progress| progress.state != State::Waiting) {
            return Ok(());
        }
        for index in 0..self.tasks.len() {
            let is_login = |at: &usize| self.progress[*at].state == State::Connecting;
            let logins = (0..self.tasks.len()).filter(is_login);
            let task = &self.tasks[index];
            let here = logins.clone().filter(|at| self.tasks[*at].target == task.target).count();
            let may = logins.count() < LOGINS && here < LOGINS_PER_HOST && self.stopped.is_none();
            if may && self.progress[index].state == State::Waiting {
                self.sessions[index] = Some(Session::start(task, self.ssh, index, sender)?);
                self.progress[index].enter(State::Connecting, Instant::now());
            }
        }
        Ok(())
    }

    fn heed(&mut self, message: Message) {
        let (index, task) = (message.session, &self.tasks[message.session]);
        let progress = &mut self.progress[index];
        if progress.state == State::Ended {
            return;
        }
        let seconds = self.begun.map_or(0.0, |begun| (message.at - begun).as_secs_f64());
        let step = match message.event {
            Event::Line(line) => progress.line(task, &line, message.at, seconds),
            Event::Open(text) => progress.open(task, &text),
            Event::Said(line) => {
                progress.said(line);
                Step::Nothing
            }
            Event::Closed => {
                progress.closed = Some(message.at);
                Step::Nothing
            }
            Event::Silent => {
                progress.silent = true;
                Step::Nothing
            }
        };
        match step {
            Step::Nothing => {}
            Step::Print(text) if task.quiet => drop(text),
            Step::Print(text) => (self.line)(&format!("@{:<10} {text}", task.label)),
            Step::Password => {
                let password = task.secrets.password.clone().unwrap_or_default();
                if let Some(session) = &mut self.sessions[index] {
                    session.type_line(&password);
                }
            }
            Step::Fail(reason) => self.fail(index, reason),
        }
    }

    /// Ends what has ended, gives up what takes too long, stops after an interrupt.
    fn look(&mut self, now: Instant) {
        if self.stopped.is_none() && crate::interrupted() {
            self.stopped = Some(now);
            self.stop();
        }
        let kill = self.stopped.is_some_and(|since| now.duration_since(since) > STOP_TIMEOUT);
        for index in 0..self.tasks.len() {
            if self.progress[index].state == State::Ended {
                continue;
            }
            if kill {
                self.finish(index);
            } else if let Some(since) = self.progress[index].closed {
                self.end(index, now.duration_since(since));
            } else if let Some(why) = self.progress[index].overdue(now, self.ssh.connect_timeout) {
                self.fail(index, why);
            }
        }
    }

    /// Its output has ended: how did it end, and what did ssh say about it?
    fn end(&mut self, index: usize, waited: Duration) {
        let Some(session) = &mut self.sessions[index] else { return };
        let late = waited > END_TIMEOUT;
        match session.ended() {
            Some(status) if self.progress[index].silent || late => {
                let reason = self.progress[index].end(&self.tasks[index], status);
                match reason.filter(|_| self.stopped.is_none()) {
                    Some(reason) => self.fail(index, reason),
                    None => self.finish(index),
                }
            }
            None if late => session.kill(),
            _ => {}
        }
    }

    /// All that are not yet over are ready: with a line to each, one right after the other.
    fn begin_if_ready(&mut self) {
        let is = |progress: &Progress, state| progress.state == state;
        let all = self.progress.iter().all(|one| is(one, State::Ready) || is(one, State::Ended));
        if self.begun.is_some() || self.stopped.is_some() || !all {
            return;
        }
        let now = Instant::now();
        self.begun = Some(now);
        for (progress, session) in self.progress.iter_mut().zip(&mut self.sessions) {
            if let (State::Ready, Some(session)) = (progress.state, session) {
                session.type_line("go");
                progress.enter(State::Running, now);
            }
        }
    }

    /// Ctrl-C at each terminal; what does not run yet is simply ended.
    fn stop(&mut self) {
        for index in 0..self.tasks.len() {
            match (self.progress[index].state, &mut self.sessions[index]) {
                (State::Running, Some(session)) => session.interrupt(),
                _ => self.finish(index),
            }
        }
    }

    /// It failed; and if there was no login, so do those that wait to log in there as well.
    fn fail(&mut self, index: usize, reason: String) {
        let (host, at) = (&self.tasks[index].label, self.progress[index].state);
        let text = format!("{host}: {reason}");
        if !self.told.contains(&text) {
            (self.problem)(&text);
            self.told.push(text);
        }
        let task = &self.tasks[index];
        let same = |other: &Task| other.target == task.target && other.secrets == task.secrets;
        for other in 0..self.tasks.len() {
            let waits = self.progress[other].state == State::Waiting;
            if at == State::Connecting && waits && same(&self.tasks[other]) {
                self.progress[other].error = Some(reason.clone());
                self.finish(other);
            }
        }
        self.progress[index].error = Some(reason);
        self.finish(index);
    }

    fn finish(&mut self, index: usize) {
        self.sessions[index] = None;
        self.progress[index].state = State::Ended;
    }
}

/// Three descriptors for each session. Where it may not be raised the start of ssh says so.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
