//! The Dockerfile as a list of plain instructions with their lines. The grammar is the
//! `parse-dockerfile` crate's; here is which instructions there are, and which are not yet.

use crate::expand;
use leanbox::{Error, Result};
use parse_dockerfile::{Command, Instruction, Source};
use std::path::Path;

/// One instruction of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) what: What,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    From(String),
    Copy { sources: Vec<String>, dest: String },
    Run(Words),
    Env(Vec<(String, String)>),
    Workdir(String),
    User(String),
    Cmd(Words),
    Entrypoint(Words),
}

/// A command in shell or exec form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Words {
    Shell(String),
    Exec(Vec<String>),
}

impl Words {
    /// The argument vector; shell form goes through `/bin/sh -c`.
    pub(crate) fn argv(&self) -> Vec<String> {
        match self {
            Self::Exec(words) => words.clone(),
            Self::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
        }
    }
}

/// The Dockerfile for an app without one. What an app lacks is left out: no step for
/// requirements without a `requirements.txt`.
#[must_use]
pub fn default_dockerfile(app: Option<&Path>) -> String {
    // A link to nothing counts: better an error than an app without what it needs.
    let there = |app: &Path| app.join("requirements.txt").symlink_metadata().is_ok();
    let wants = app.is_none_or(there);
    let requirements =
        "COPY requirements.txt ./\nRUN pip install --no-cache-dir -r requirements.txt\n";
    let requirements = if wants { requirements } else { "" };
    format!(
        "FROM leanbox/python:3\nWORKDIR /app\n{requirements}COPY *.py ./\nENTRYPOINT [\"python3\"]\n"
    )
}

/// Parses a Dockerfile; `name` is what messages call it.
pub(crate) fn parse(text: &str, name: &str) -> Result<Vec<Step>> {
    let parsed = parse_dockerfile::parse(text).map_err(|error| unparsable(&error, name))?;
    let mut steps = Vec::new();
    for instruction in &parsed.instructions {
        let (at, what) = understand(instruction);
        let line = text[..at].matches('\n').count() + 1;
        let what = what.map_err(|why| Error::invalid(format!("{name}:{line}: {why}")))?;
        steps.push(Step { line, what });
    }
    let mut froms = steps.iter().filter(|step| matches!(step.what, What::From(_)));
    if let Some(second) = froms.nth(1) {
        let why = "a second FROM: this version builds one stage; leave the other stages out";
        return Err(Error::invalid(format!("{name}:{}: {why}", second.line)));
    }
    Ok(steps)
}

fn unparsable(error: &parse_dockerfile::Error, name: &str) -> Error {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    match error.line() {
        0 => Error::invalid(format!("{name}: {text}"))
            .remedy("begin with FROM, for example FROM leanbox/python:3"),
        line => Error::invalid(format!("{name}:{line}: {text}")),
    }
}

type Understood = std::result::Result<What, String>;

fn understand(instruction: &Instruction<'_>) -> (usize, Understood) {
    let unsupported = |at: usize, name: &str| {
        let why = format!(
            "{name} is not supported yet; supported are FROM, COPY, RUN, ENV, WORKDIR, USER, CMD, ENTRYPOINT"
        );
        (at, Err(why))
    };
    match instruction {
        Instruction::From(from) => {
            let image = from.image.value.to_string();
            let flags =
                if from.options.is_empty() { Ok(What::From(image)) } else { no_flags("FROM") };
            (from.from.span.start, flags)
        }
        Instruction::Copy(copy) => (copy.copy.span.start, understand_copy(copy)),
        Instruction::Run(run) => {
            let plain = run.options.is_empty() && run.here_docs.is_empty();
            let what = if plain { Ok(What::Run(words(&run.arguments))) } else { no_flags("RUN") };
            (run.run.span.start, what)
        }
        Instruction::Env(env) => {
            let pairs = expand::pairs(&env.arguments.value);
            let why = "ENV takes KEY=value pairs, or one KEY and its value".to_string();
            (env.env.span.start, pairs.map(What::Env).ok_or(why))
        }
        Instruction::Workdir(dir) => {
            (dir.workdir.span.start, Ok(What::Workdir(dir.arguments.value.to_string())))
        }
        Instruction::User(user) => {
            (user.user.span.start, Ok(What::User(user.arguments.value.to_string())))
        }
        Instruction::Cmd(cmd) => (cmd.cmd.span.start, Ok(What::Cmd(words(&cmd.arguments)))),
        Instruction::Entrypoint(entry) => {
            (entry.entrypoint.span.start, Ok(What::Entrypoint(words(&entry.arguments))))
        }
        Instruction::Add(other) => unsupported(other.add.span.start, "ADD"),
        Instruction::Arg(other) => unsupported(other.arg.span.start, "ARG"),
        Instruction::Expose(other) => unsupported(other.expose.span.start, "EXPOSE"),
        Instruction::Healthcheck(other) => unsupported(other.healthcheck.span.start, "HEALTHCHECK"),
        Instruction::Label(other) => unsupported(other.label.span.start, "LABEL"),
        Instruction::Maintainer(other) => unsupported(other.maintainer.span.start, "MAINTAINER"),
        Instruction::Onbuild(other) => unsupported(other.onbuild.span.start, "ONBUILD"),
        Instruction::Shell(other) => unsupported(other.shell.span.start, "SHELL"),
        Instruction::Stopsignal(other) => unsupported(other.stopsignal.span.start, "STOPSIGNAL"),
        Instruction::Volume(other) => unsupported(other.volume.span.start, "VOLUME"),
        _ => unsupported(0, "this instruction"),
    }
}

fn no_flags(name: &str) -> Understood {
    Err(format!("{name} with options or here-documents is not supported yet; leave them out"))
}

fn understand_copy(copy: &parse_dockerfile::CopyInstruction<'_>) -> Understood {
    let path = |source: &Source<'_>| match source {
        Source::Path(path) => Some(path.value.to_string()),
        _ => None,
    };
    let sources: Option<Vec<String>> = copy.src.iter().map(path).collect();
    match sources {
        Some(sources) if copy.options.is_empty() => {
            Ok(What::Copy { sources, dest: copy.dest.value.to_string() })
        }
        _ => no_flags("COPY"),
    }
}

fn words(command: &Command<'_>) -> Words {
    match command {
        Command::Exec(words) => {
            Words::Exec(words.value.iter().map(|word| word.value.to_string()).collect())
        }
        Command::Shell(text) => Words::Shell(without_comments(text.value)),
        _ => Words::Shell(String::new()),
    }
}

/// Comment lines inside a continued instruction are not the shell's.
fn without_comments(text: &str) -> String {
    let keep = |line: &&str| !line.trim_start().starts_with('#');
    text.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_dockerfile_parses() {
        let steps = parse(&default_dockerfile(None), "default").unwrap();
        assert_eq!(steps.len(), 6);
        assert_eq!(steps[0].what, What::From("leanbox/python:3".into()));
        assert_eq!(steps[5].what, What::Entrypoint(Words::Exec(vec!["python3".into()])));
    }

    #[test]
    fn an_unsupported_instruction_names_its_line() {
        let error = parse("FROM scratch\n\nEXPOSE 80\n", "Dockerfile").unwrap_err().to_string();
        assert!(error.starts_with("Dockerfile:3: EXPOSE is not supported yet"), "{error}");
        assert!(parse("FROM a\nFROM b\n", "D").is_err());
        assert!(parse("RUN x\n", "D").is_err());
    }

    #[test]
    fn comments_in_a_continued_run_are_left_out() {
        let steps = parse("FROM a\nRUN one && \\\n  # not this\n  two\n", "D").unwrap();
        let What::Run(Words::Shell(text)) = &steps[1].what else { panic!("{steps:?}") };
        assert!(!text.contains("not this") && text.contains("two"));
    }
}
