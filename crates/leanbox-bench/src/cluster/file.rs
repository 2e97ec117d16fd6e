//! A cluster file, in the original's form (`[[pass]]` blocks) or in ours (`hosts`), into a plan.

use super::plan::{Copy, Plan, Secrets, Target, Task, word};
use super::script;
use super::table::{Source, Table};
use leanbox::{Error, Result};
use std::path::Path;
use std::time::Duration;

/// Commands in one file: each is an ssh process here.
const TASKS_MAX: usize = 1024;
/// A file of that many blocks is 200 KiB.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// What `leanbox bench start` runs as on a host where no command is given: `bench sync` puts it
/// into the home folder, and it needs root.
const COMMAND: &str = "$(test \"$(id -u)\" = 0 || echo sudo) ./leanbox";
const PROCESSES_MAX: u32 = 256;
const CPUS_MAX: u32 = 4096;

const PASS_TOP: [&str; 9] = [
    "pass",
    "sync",
    "user",
    "pwd",
    "passphrase",
    "global_configs",
    "null",
    "ssh",
    "connect_timeout",
];
const PASS_KEYS: [&str; 7] = ["host", "path", "cmd", "user", "pwd", "passphrase", "local"];
const SYNC_KEYS: [&str; 4] = ["source", "targets", "target", "host"];
const HOST_KEYS: [&str; 13] = [
    "processes",
    "seconds",
    "mode",
    "policy",
    "pin",
    "command",
    "path",
    "user",
    "port",
    "pwd",
    "passphrase",
    "local",
    "name",
];

/// Reads a file. `user` and `password` are those of the command line: what a block says goes before
/// them, what stands at the top of the file after.
///
/// # Errors
/// The file cannot be read, or something in it makes no sense: one line with file and line.
pub fn read(path: &Path, user: Option<&str>, password: Option<&str>) -> Result<Plan> {
    let io = |error: std::io::Error| Error::io(path.display(), &error);
    let meta = std::fs::metadata(path).map_err(io)?;
    if !meta.is_file() || meta.len() > FILE_MAX_BYTES {
        return Err(Error::invalid(format!("{}: not a file of at most 1 MiB", path.display())));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::invalid(format!("{}: not UTF-8 text", path.display())))?;
    let mut plan = parse(Source { path, text: &text }, user, password)?;
    if holds_secrets(&plan, password) && is_open(&meta) {
        plan.warnings.push(format!(
            "{}: holds a password and others can read it; chmod 600 it",
            path.display()
        ));
    }
    Ok(plan)
}

fn holds_secrets(plan: &Plan, given: Option<&str>) -> bool {
    let of_file = |secrets: &Secrets| {
        secrets.passphrase.is_some()
            || secrets.password.as_deref().is_some_and(|password| Some(password) != given)
    };
    plan.tasks.iter().any(|task| of_file(&task.secrets))
}

fn is_open(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o044 != 0
}

fn parse(source: Source<'_>, user: Option<&str>, password: Option<&str>) -> Result<Plan> {
    user.map(|user| word("user", user).map_err(|error| error.during("-u"))).transpose()?;
    let top = source.parse()?;
    let given = Given { user, password };
    let ours = top.has("hosts") || top.has("host");
    let mut plan = match (top.has("pass"), ours) {
        (true, true) => {
            return Err(top.at("pass", "[[pass]] blocks and hosts do not go into one file"));
        }
        (false, true) => hosts(&top, &given)?,
        (true, false) => passes(&top, &given)?,
        (false, false) if top.has("sync") => passes(&top, &given)?,
        (false, false) => {
            let unknown = top.unknown(&PASS_TOP).into_iter().next();
            let words = || top.wrong("no [[pass]] block and no hosts").to_string();
            return Err(Error::invalid(unknown.unwrap_or_else(words)));
        }
    };
    if plan.tasks.len() > TASKS_MAX {
        let count = plan.tasks.len();
        return Err(top.wrong(format!("{count} processes in all; at most {TASKS_MAX}")));
    }
    plan.ssh = top.text("ssh")?;
    plan.connect_timeout = top.seconds("connect_timeout")?.map(Duration::from_secs_f64);
    Ok(plan)
}

/// Of the command line.
struct Given<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
}

impl Given<'_> {
    fn user(&self, block: &Table<'_>, top: &Table<'_>) -> Result<Option<String>> {
        let (own, last) = (block.word("user")?, top.word("user")?);
        Ok(own.or_else(|| self.user.map(Into::into)).or(last))
    }

    fn secrets(&self, block: &Table<'_>, top: &Table<'_>) -> Result<Secrets> {
        let (own, last) = (block.text("pwd")?, top.text("pwd")?);
        let password = own.or_else(|| self.password.map(Into::into)).or(last);
        let passphrase = block.text("passphrase")?.or(top.text("passphrase")?);
        for (key, secret) in [("pwd", &password), ("passphrase", &passphrase)] {
            if secret.as_ref().is_some_and(|secret| secret.contains(['\n', '\r', '\0'])) {
                return Err(block.at(key, format!("{key} must be one line")));
            }
        }
        Ok(Secrets { password, passphrase })
    }
}

/// The original's form. What it does not know it leaves aside, and so do we, but say so.
fn passes(top: &Table<'_>, given: &Given<'_>) -> Result<Plan> {
    let mut plan = Plan { warnings: top.unknown(&PASS_TOP), ..Plan::default() };
    let more = top.text("global_configs")?.unwrap_or_default();
    let null = top.texts("null")?.unwrap_or_default();
    for block in top.blocks("pass")? {
        plan.warnings.extend(block.unknown(&PASS_KEYS));
        plan.tasks.push(pass(&block, top, given, &more, &null)?);
    }
    for block in top.blocks("sync")? {
        plan.warnings.extend(block.unknown(&SYNC_KEYS));
        plan.copies.push(copy(&block)?);
    }
    Ok(plan)
}

fn pass(
    block: &Table<'_>,
    top: &Table<'_>,
    given: &Given<'_>,
    more: &str,
    null: &[String],
) -> Result<Task> {
    let host = block.needed("host", "[[pass]]")?;
    let command = format!("{} {more}", block.needed("cmd", "[[pass]]")?).trim().to_string();
    if command.is_empty() {
        return Err(block.at("cmd", "cmd is empty"));
    }
    let mut target = Target::parse(&host).map_err(|error| block.at("host", error))?;
    let label = target.label();
    target.user = target.user.take().or(given.user(block, top)?);
    Ok(Task {
        quiet: null.contains(&host),
        label,
        target: (!block.yes("local")?).then_some(target),
        folder: block.text("path")?.unwrap_or_default(),
        program: script::own_program(&command),
        command,
        login_shell: true,
        secrets: given.secrets(block, top)?,
    })
}

/// `source`, and `targets` or `target`; with a `host` or hosts the targets are paths there.
fn copy(block: &Table<'_>) -> Result<Copy> {
    let source = block.needed("source", "[[sync]]")?;
    let one = |key| block.text(key).map(|text| vec![text.unwrap_or_default()]);
    let some = |key| block.texts(key).or_else(|_| one(key).map(Some));
    let targets = match some("targets")? {
        Some(targets) => targets,
        None => vec![block.needed("target", "[[sync]]")?],
    };
    let targets = match some("host")? {
        None => targets,
        Some(hosts) => hosts
            .iter()
            .flat_map(|host| targets.iter().map(move |path| format!("{host}:{path}")))
            .collect(),
    };
    let odd = |text: &String| text.is_empty() || text.starts_with('-');
    if odd(&source) || targets.is_empty() || targets.iter().any(odd) {
        return Err(block.wrong("source and targets must be paths, or HOST:PATH"));
    }
    Ok(Copy { source, targets })
}

/// Our own form: what it does not know is a mistake.
fn hosts(top: &Table<'_>, given: &Given<'_>) -> Result<Plan> {
    let known = [&["hosts", "host", "ssh", "connect_timeout"][..], &HOST_KEYS[..11]].concat();
    let blocks = top.blocks("host")?;
    let mut unknown = top.unknown(&known);
    unknown.extend(blocks.iter().flat_map(|block| block.unknown(&HOST_KEYS)));
    if let Some(line) = unknown.into_iter().next() {
        return Err(Error::invalid(line));
    }
    let mut own = named(&blocks)?;
    let mut plan = Plan::default();
    let names = top.texts("hosts")?.unwrap_or_default();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(top.at("hosts", twice(name)));
        }
        let block = own.iter().position(|(own, _)| own == name).map(|at| own.remove(at).1);
        plan.tasks.extend(host(name, block.unwrap_or(top), top, given)?);
    }
    for (name, block) in own {
        plan.tasks.extend(host(&name, block, top, given)?);
    }
    if plan.tasks.is_empty() {
        return Err(top.at("hosts", "hosts is empty"));
    }
    Ok(plan)
}

/// The `[[host]]` blocks by their names.
fn named<'a, 'b>(blocks: &'b [Table<'a>]) -> Result<Vec<(String, &'b Table<'a>)>> {
    let mut named: Vec<(String, &Table<'_>)> = Vec::new();
    for block in blocks {
        let name = block.needed("name", "[[host]]")?;
        if named.iter().any(|(other, _)| *other == name) {
            return Err(block.at("name", twice(&name)));
        }
        named.push((name, block));
    }
    Ok(named)
}

fn twice(name: &str) -> String {
    format!("{name:?} stands there twice; give it processes")
}

/// The processes of one host.
fn host(name: &str, block: &Table<'_>, top: &Table<'_>, given: &Given<'_>) -> Result<Vec<Task>> {
    let mut target = Target::parse(name).map_err(|error| {
        if block.has("name") { block.at("name", error) } else { top.at("hosts", error) }
    })?;
    let label = target.label();
    let port = either(block, top, |table| table.number("port", 1..65536))?;
    target.port = target.port.or(port.and_then(|port| u16::try_from(port).ok()));
    target.user = target.user.take().or(given.user(block, top)?);
    let processes = either(block, top, |table| table.number("processes", 1..PROCESSES_MAX + 1))?;
    let pins = either(block, top, |table| table.numbers("pin", 0..CPUS_MAX))?.unwrap_or_default();
    let words = words(block, top)?;
    let command = either(block, top, |table| table.text("command"))?;
    let program = match &command {
        None => Some("./leanbox".to_string()),
        Some(command) => script::own_program(&format!("{command}{words}")),
    };
    let command = command.unwrap_or_else(|| COMMAND.into());
    let local = block.has("name") && block.yes("local")?;
    let folder = either(block, top, |table| table.text("path"))?.unwrap_or_default();
    let secrets = given.secrets(block, top)?;
    let task = |index: u32| {
        let cpu = usize::try_from(index).ok().zip(pins.len().checked_sub(1));
        let cpu = cpu.map(|(index, last)| pins[index % (last + 1)]);
        let pin = cpu.map_or(String::new(), |cpu| format!(" --pin {cpu}"));
        Task {
            label: label.clone(),
            target: (!local).then(|| target.clone()),
            folder: folder.clone(),
            command: format!("{command}{words}{pin}"),
            login_shell: false,
            program: program.clone(),
            quiet: false,
            secrets: secrets.clone(),
        }
    };
    Ok((0..processes.unwrap_or(1)).map(task).collect())
}

/// The options of `leanbox bench start`.
fn words(block: &Table<'_>, top: &Table<'_>) -> Result<String> {
    let seconds = either(block, top, |table| table.seconds("seconds"))?.unwrap_or(10.0);
    let mode = either(block, top, |table| table.one_of("mode", &["noop", "exec", "fork"]))?;
    let mode = mode.unwrap_or_else(|| "noop".into());
    let policy = either(block, top, |table| table.one_of("policy", &["once", "reuse", "shared"]))?;
    let policy = match policy {
        Some(_) if mode == "fork" => {
            let table = if block.has("policy") { block } else { top };
            return Err(table.at("policy", "mode fork has no slots, and so no policy"));
        }
        Some(policy) => format!(" --policy {policy}"),
        None => String::new(),
    };
    Ok(format!(" bench start --lines-only --seconds {seconds} --mode {mode}{policy}"))
}

/// The block's own, else that of the top.
fn either<T>(
    block: &Table<'_>,
    top: &Table<'_>,
    read: impl Fn(&Table<'_>) -> Result<Option<T>>,
) -> Result<Option<T>> {
    Ok(match read(block)? {
        Some(own) => Some(own),
        None => read(top)?,
    })
}

#[cfg(test)]
mod tests;
