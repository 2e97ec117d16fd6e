//! What to execute: the words of the command line and of the image become one list of program
//! and arguments, as Docker does it; a Python file is run by the root's own interpreter.
//!
//! In: words, the image's configuration, and ways to ask what is in the root. Out: at least one
//! word. Never: reads a file.

use leanbox::{Error, ErrorKind, ImageConfig, Result};

/// Where programs are looked for when the environment has no PATH, as with Docker.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was asked for on the command line.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    /// Words after the root.
    pub(crate) words: &'a [String],
    /// Instead of the image's entrypoint; empty: none.
    pub(crate) entrypoint: Option<&'a str>,
    /// Instead of the image's working directory.
    pub(crate) workdir: Option<&'a str>,
    /// Instead of the image's PATH.
    pub(crate) path: Option<&'a str>,
}

/// How to ask what is in the root: paths from its top, links resolved inside.
pub(crate) struct Files<'a> {
    pub(crate) is_file: &'a dyn Fn(&str) -> bool,
    pub(crate) is_program: &'a dyn Fn(&str) -> bool,
}

/// The program and its arguments.
///
/// # Errors
/// There is nothing to run, or a Python file and no interpreter for it.
pub(crate) fn resolve(
    asked: &Asked<'_>,
    config: &ImageConfig,
    files: &Files<'_>,
) -> Result<Vec<String>> {
    let words = words(asked, config);
    let Some(first) = words.first() else {
        return Err(Error::invalid("no command given, and the image names none")
            .remedy("write one after the root file system"));
    };
    if first.starts_with('-') && asked.words.first() == Some(first) {
        return Err(Error::new(ErrorKind::NotFound, format!("{first:?}: no such program"))
            .remedy("options go before the root file system"));
    }
    let place = Place::new(asked, config);
    match place.python_file(first, files) {
        None => Ok(words),
        Some(file) => {
            let python = place.python(files).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("{first:?} is a Python file"))
                    .remedy("the root file system has neither python3 nor python in its PATH")
            })?;
            Ok([python.to_string(), file].into_iter().chain(words.into_iter().skip(1)).collect())
        }
    }
}

/// Entrypoint and command, each from the command line or else from the image.
fn words(asked: &Asked<'_>, config: &ImageConfig) -> Vec<String> {
    let mut words = match asked.entrypoint {
        None => config.entrypoint.clone(),
        Some("") => Vec::new(),
        Some(program) => vec![program.to_string()],
    };
    if !asked.words.is_empty() {
        words.extend_from_slice(asked.words);
    } else if asked.entrypoint.is_none() && !config.cmd.is_empty() {
        words.extend_from_slice(&config.cmd);
    } else if takes_main(asked, &words) {
        words.extend(config.main.clone());
    }
    words
}

/// The app's main file goes where it is the program, or to the image's bare interpreter.
fn takes_main(asked: &Asked<'_>, words: &[String]) -> bool {
    match words {
        [] => true,
        [one] => asked.entrypoint.is_none() && base_name(one).starts_with("python"),
        _ => false,
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Where names are looked for.
struct Place<'a> {
    workdir: &'a str,
    path: &'a str,
}

impl<'a> Place<'a> {
    fn new(asked: &Asked<'a>, config: &'a ImageConfig) -> Self {
        let image_path = config.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
        Self {
            workdir: asked.workdir.unwrap_or(&config.working_dir),
            path: asked.path.or(image_path).unwrap_or(PATH),
        }
    }

    /// The path by which an interpreter finds `word`, if it is a Python file and no program.
    fn python_file(&self, word: &str, files: &Files<'_>) -> Option<String> {
        let is_program = || {
            if word.contains('/') {
                (files.is_program)(&self.below_workdir(word))
            } else {
                self.in_path(word, files)
            }
        };
        if !word.ends_with(".py") || is_program() {
            return None;
        }
        let at_root = format!("/{word}");
        if (files.is_file)(&self.below_workdir(word)) {
            Some(word.to_string())
        } else if (files.is_file)(&at_root) {
            Some(at_root)
        } else {
            None
        }
    }

    fn python(&self, files: &Files<'_>) -> Option<&'static str> {
        ["python3", "python"].into_iter().find(|name| self.in_path(name, files))
    }

    fn in_path(&self, name: &str, files: &Files<'_>) -> bool {
        let mut folders = self.path.split(':');
        folders.any(|folder| (files.is_program)(&self.below_workdir(&format!("{folder}/{name}"))))
    }

    fn below_workdir(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_string() } else { format!("{}/{path}", self.workdir) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[&str] = &["/app/hello.py", "/top.py", "/app/tool.py"];
    const PROGRAMS: &[&str] = &["/usr/bin/python3", "/bin/sh", "/app/tool.py", "/bin/run.py"];

    fn config(entrypoint: &[&str], cmd: &[&str], main: Option<&str>) -> ImageConfig {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        ImageConfig {
            entrypoint: own(entrypoint),
            cmd: own(cmd),
            main: main.map(str::to_string),
            working_dir: "/app".into(),
            ..ImageConfig::default()
        }
    }

    fn resolved(asked: &Asked<'_>, config: &ImageConfig) -> Result<String> {
        let files = Files {
            is_file: &|path| FILES.contains(&path) || PROGRAMS.contains(&path),
            is_program: &|path| PROGRAMS.contains(&path),
        };
        resolve(asked, config, &files).map(|words| words.join(" "))
    }

    fn run(words: &[&str], config: &ImageConfig) -> String {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        resolved(&Asked { words: &words, ..Asked::default() }, config).unwrap()
    }

    #[test]
    fn words_become_arguments_of_the_entrypoint() {
        let python = config(&["python3"], &["other.py"], None);
        assert_eq!(run(&["hello.py", "-v"], &python), "python3 hello.py -v");
        assert_eq!(run(&["sh", "-c", "x"], &python), "python3 sh -c x");
    }

    #[test]
    fn without_words_the_images_command_runs_and_else_its_main_file() {
        assert_eq!(run(&[], &config(&["python3"], &["a.py"], Some("hello.py"))), "python3 a.py");
        assert_eq!(run(&[], &config(&["python3"], &[], Some("hello.py"))), "python3 hello.py");
        assert_eq!(run(&[], &config(&[], &[], Some("hello.py"))), "python3 hello.py");
        assert_eq!(run(&[], &config(&["/server"], &[], Some("hello.py"))), "/server");
        assert_eq!(run(&[], &config(&["python3", "-i"], &[], Some("hello.py"))), "python3 -i");
    }

    #[test]
    fn a_python_file_without_entrypoint_is_run_by_the_roots_python() {
        let none = config(&[], &[], None);
        assert_eq!(run(&["hello.py", "a"], &none), "python3 hello.py a");
        assert_eq!(run(&["./top.py"], &none), "./top.py");
        assert_eq!(run(&["top.py"], &none), "python3 /top.py");
        assert_eq!(run(&["/top.py"], &none), "python3 /top.py");
    }

    #[test]
    fn a_python_file_that_is_a_program_runs_itself() {
        let none = config(&[], &[], None);
        assert_eq!(run(&["/app/tool.py"], &none), "/app/tool.py");
        assert_eq!(run(&["run.py"], &none), "run.py");
        // not in PATH, so a shell would not find it either
        assert_eq!(run(&["tool.py"], &none), "python3 tool.py");
    }

    #[test]
    fn an_entrypoint_of_the_command_line_replaces_entrypoint_and_command() {
        let image = config(&["python3"], &["a.py"], Some("hello.py"));
        let words = ["-c".to_string(), "id".to_string()];
        let sh = Asked { words: &words, entrypoint: Some("sh"), ..Asked::default() };
        assert_eq!(resolved(&sh, &image).unwrap(), "sh -c id");
        let bare = Asked { entrypoint: Some("python3"), ..Asked::default() };
        assert_eq!(resolved(&bare, &image).unwrap(), "python3");
        let none = Asked { entrypoint: Some(""), ..Asked::default() };
        assert_eq!(resolved(&none, &image).unwrap(), "python3 hello.py");
    }

    #[test]
    fn nothing_to_run_is_an_error_in_one_line() {
        let line = resolved(&Asked::default(), &config(&[], &[], None)).unwrap_err().to_string();
        assert!(line.starts_with("no command given, and the image names none; "), "{line}");
    }

    #[test]
    fn a_python_file_without_an_interpreter_is_not_found() {
        let words = ["hello.py".to_string()];
        let asked = Asked { words: &words, path: Some("/none"), ..Asked::default() };
        let error = resolved(&asked, &config(&[], &[], None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_option_behind_the_root_is_explained() {
        let words = ["--memory".to_string(), "1g".to_string()];
        let asked = Asked { words: &words, ..Asked::default() };
        let line = resolved(&asked, &config(&[], &[], None)).unwrap_err().to_string();
        assert!(line.contains("options go before"), "{line}");
    }
}
