//! `leanbox exec`: a second program in a detached container, brought in by its host, with the streams
//! of this command or in a terminal that is shown in this one's.

use super::Named;
use super::protocol::{self, Exec, Request};
use crate::outcome::FAILED;
use crate::run::terminal;
use crate::signals::Signals;
use crate::values;
use leanbox::{Error, Result};
use signal_hook::consts::signal::SIGWINCH;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Arguments of `leanbox exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    /// Set a variable; KEY alone takes its value from here. May be given again
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = values::variable)]
    env: Vec<(String, Option<String>)>,
    /// Start in this folder [default: the image's, else /]
    #[arg(long, short, value_name = "DIR", value_parser = values::absolute)]
    workdir: Option<String>,
    /// Run as this user of the root [default: the container's]
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    terminal: terminal::Options,
    #[arg(value_name = "NAME")]
    name: String,
    /// The program with its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// `exec`: a second program, with our streams.
pub(crate) fn exec(args: &ExecArgs) -> Result<ExitCode> {
    let named = Named::find(&args.name)?;
    let set = |(key, value): &(String, Option<String>)| Some((key.clone(), value.clone()?));
    let exec = Exec {
        words: args.words.clone(),
        env: args.env.iter().filter_map(set).collect(),
        workdir: args.workdir.clone(),
        user: args.user.clone(),
        tty: args.terminal.tty,
    };
    let request = Request::Exec(exec);
    let reply = if args.terminal.tty {
        exec_in_terminal(&named, &request, &args.terminal)?
    } else {
        let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        protocol::ask(&named, &request, &streams)?
    };
    if let Some(text) = reply.error {
        crate::tell(&format!("leanbox: {:?}: {text}", named.name));
        return Ok(ExitCode::from(if reply.code == 0 { FAILED } else { reply.code }));
    }
    Ok(ExitCode::from(reply.code))
}

/// A second program in a terminal of its own, shown in this one. When this command is ended, so is
/// the program.
fn exec_in_terminal(
    named: &Named,
    request: &Request,
    options: &terminal::Options,
) -> Result<protocol::Reply> {
    options.check()?;
    let mut signals = Signals::take()?;
    let (master, slave) = terminal::pair()?;
    let streams = [slave.as_fd(), slave.as_fd(), slave.as_fd()];
    let socket = protocol::begin(named, request, &streams)?;
    drop(slave);
    let sized = master.try_clone().map_err(|error| Error::io("terminal", &error))?;
    let mut screen = options.show_master(master)?;
    let mut ended_by = None;
    screen.until_end(socket.as_fd(), &mut signals, None, |signal| {
        if signal == SIGWINCH {
            terminal::take_size(&sized);
            return Ok(ControlFlow::Continue(()));
        }
        ended_by = Some(signal);
        Ok(ControlFlow::Break(()))
    })?;
    let reply = match ended_by {
        // The host sees that nobody waits any more.
        Some(signal) => {
            let code = u8::try_from(128 + signal).unwrap_or(FAILED);
            protocol::Reply { code, ..protocol::Reply::default() }
        }
        None => protocol::answer(named, &socket)?.0,
    };
    screen.finish()?;
    Ok(reply)
}
