//! What a host is told to run: a small POSIX shell script around the command, and the words it says
//! on the way.

use super::plan::Task;
use crate::READY;

/// Begins each word of the script's own.
pub(super) const MARK: &str = "leanbox-cluster: ";
/// The connection stands and somebody let us in.
pub(super) const UP: &str = "up";
/// The folder cannot be entered.
pub(super) const NO_FOLDER: &str = "no folder";
/// The command has no barrier: the script waits in its place, right before it.
pub(super) const FOREIGN: &str = "foreign";
/// What `sudo` asks with.
pub(super) const PROMPT: &str = "password: ";

/// One of the user's shell words, which any login shell takes apart rightly.
pub(super) fn command_line(task: &Task) -> String {
    format!("exec /bin/sh -c {}", quote(&script(task)))
}

/// The script.
pub(super) fn script(task: &Task) -> String {
    let folder = folder(&task.folder);
    let shell = if task.login_shell { "\"${SHELL:-/bin/sh}\"" } else { "/bin/sh" };
    let command = quote(&task.command);
    let wait = format!("echo '{MARK}{FOREIGN}'; read -r go || exit 1");
    let begin = match &task.program {
        Some(program) => format!(
            "if grep -qs '{READY}' \"$(command -v {program})\"; then run=\"$run --await-go\"; \
             else {wait}; fi"
        ),
        None => wait,
    };
    format!(
        "stty -echo -onlcr 2>/dev/null; export SUDO_PROMPT='{MARK}{PROMPT}'; echo '{MARK}{UP}'; \
         cd {folder} 2>/dev/null || {{ echo '{MARK}{NO_FOLDER}'; exit 1; }}; \
         run={command}; {begin}; exec {shell} -c \"$run\""
    )
}

/// `''` and `~` are home, where `~/` begins too.
fn folder(path: &str) -> String {
    match path.strip_prefix('~') {
        Some("") => "\"$HOME\"".into(),
        Some(rest) if rest.starts_with('/') => format!("\"$HOME\"{}", quote(rest)),
        _ if path.is_empty() => "\"$HOME\"".into(),
        _ => quote(path),
    }
}

/// In single quotes.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The program of ours that a plain command runs: one without anything a shell would do more with
/// than split it into words, so that an option can be put behind it.
pub(super) fn own_program(command: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " ._/-+=,:@%~".contains(c);
    if !command.chars().all(is_plain) {
        return None;
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let named = |at: &usize| match words[*at].rsplit('/').next() {
        Some("benchmark_lean_container") => true,
        Some("leanbox") => words.get(at + 1..at + 3) == Some(&["bench", "start"]),
        _ => false,
    };
    (0..words.len()).find(named).map(|at| words[at].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_plain_command_is_found() {
        let found = |command| own_program(command);
        let program = Some("./benchmark_lean_container".to_string());
        assert_eq!(found("sudo ./benchmark_lean_container 40 test0"), program);
        assert_eq!(found("taskset -c 3 ./benchmark_lean_container 40"), program);
        assert_eq!(found("sudo leanbox bench start --seconds 3"), Some("leanbox".into()));
        for other in ["leanbox run x", "x; ./benchmark_lean_container 1", "ls", "leanbox"] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn home_is_where_no_path_or_a_tilde_leads() {
        assert_eq!(folder(""), "\"$HOME\"");
        assert_eq!(folder("~"), "\"$HOME\"");
        assert_eq!(folder("~/a b"), "\"$HOME\"'/a b'");
        assert_eq!(folder("/x'y"), "'/x'\\''y'");
    }
}
