//! Both forms of a file, and what is wrong in it.

use super::*;

fn parsed(text: &str) -> Result<Plan> {
    let source = Source { path: Path::new("x.toml"), text };
    parse(source, Some("me"), Some("word"))
}

#[track_caller]
fn refused(text: &str, words: &str) {
    let line = parsed(text).unwrap_err().to_string();
    assert!(line.contains(words) && line.starts_with("x.toml:"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

const ORIGINAL: &str = "[[pass]]\nhost = \"val01\"\npath = ''\n\
                        cmd  = 'sudo ./benchmark_lean_container 30 test0'\n\n";

#[test]
fn the_original_s_blocks_become_a_task_each() {
    let plan = parsed(&ORIGINAL.repeat(24)).unwrap();
    assert_eq!(plan.tasks.len(), 24);
    let task = &plan.tasks[0];
    assert_eq!((task.label.as_str(), task.folder.as_str()), ("val01", ""));
    assert_eq!(task.command, "sudo ./benchmark_lean_container 30 test0");
    assert_eq!(task.program.as_deref(), Some("./benchmark_lean_container"));
    assert_eq!(task.target.as_ref().unwrap().user.as_deref(), Some("me"));
    assert!(plan.warnings.is_empty());
}

#[test]
fn a_block_s_own_user_goes_first_and_the_top_s_last() {
    let block =
        "[[pass]]\nhost='a'\ncmd='x'\nuser='own'\npwd='mine'\n[[pass]]\nhost='b'\ncmd='x'\n";
    let top = format!("user = 'top'\npwd = 'theirs'\n{block}");
    let user = |plan: &Plan, at: usize| plan.tasks[at].target.clone().unwrap().user.unwrap();
    let password = |plan: &Plan, at: usize| plan.tasks[at].secrets.password.clone().unwrap();
    let plan = parsed(&top).unwrap();
    assert_eq!((user(&plan, 0), user(&plan, 1)), ("own".into(), "me".into()));
    assert_eq!((password(&plan, 0), password(&plan, 1)), ("mine".into(), "word".into()));
    let source = Source { path: Path::new("x.toml"), text: &top };
    let plan = parse(source, None, None).unwrap();
    assert_eq!((user(&plan, 1), password(&plan, 1)), ("top".into(), "theirs".into()));
}

#[test]
fn what_the_original_also_knew_is_known() {
    let text = "global_configs = 'a=1'\nnull = ['q']\n[[sync]]\nsource='f'\ntargets=['h:']\n\
                [[pass]]\nhost='q'\npath='~'\ncmd='x'\nlocal=\"yes\"\n";
    let plan = parsed(text).unwrap();
    let task = &plan.tasks[0];
    assert_eq!((task.command.as_str(), task.quiet), ("x a=1", true));
    assert_eq!(task.target, None);
    assert_eq!(plan.copies, [Copy { source: "f".into(), targets: vec!["h:".into()] }]);
}

#[test]
fn an_unknown_key_of_the_original_is_a_warning_with_its_line() {
    let plan = parsed(&format!("{ORIGINAL}speed = 3\n")).unwrap();
    assert_eq!(plan.warnings.len(), 1);
    assert!(plan.warnings[0].starts_with("x.toml:6: unknown key \"speed\""), "{plan:?}");
}

#[test]
fn our_form_makes_a_task_for_each_process() {
    let text = "hosts = ['a', 'you@b:2222']\nprocesses = 3\nseconds = 40\nmode = 'noop'\n\
                policy = 'reuse'\npin = [0, 1]\n[[host]]\nname = 'a'\nprocesses = 1\npin = 5\n\
                [[host]]\nname = 'c'\nuser = 'root'\nport = 22\ncommand = 'leanbox'\n";
    let plan = parsed(text).unwrap();
    let labels: Vec<&str> = plan.tasks.iter().map(|task| task.label.as_str()).collect();
    assert_eq!(labels, ["a", "b:2222", "b:2222", "b:2222", "c", "c", "c"]);
    let words = " bench start --lines-only --seconds 40 --mode noop --policy reuse --pin ";
    assert_eq!(plan.tasks[0].command, format!("{COMMAND}{words}5"));
    assert_eq!(plan.tasks[3].command, format!("{COMMAND}{words}0"));
    assert_eq!(plan.tasks[5].command, format!("leanbox{words}1"));
    let target = plan.tasks[4].target.clone().unwrap();
    assert_eq!((target.user.as_deref(), target.port), (Some("root"), Some(22)));
    assert_eq!(plan.tasks[1].target.clone().unwrap().user.as_deref(), Some("you"));
}

#[test]
fn whatever_is_wrong_is_one_line_with_its_place() {
    refused("hosts = ['a'", "x.toml:1: ");
    refused("[[pass]]\nhost = 'a'\n", "x.toml:1: this [[pass]] has no cmd");
    refused("[[pass]]\ncmd = 'x'\n", "has no host");
    refused("\n[[pass]]\nhost = 'a'\ncmd = 3\n", "x.toml:4: cmd must be a text");
    refused("[[pass]]\nhost = '-oProxyCommand=x'\ncmd = 'x'\n", "x.toml:2: ");
    refused("[[pass]]\nhost = 'a'\ncmd = ' '\n", "cmd is empty");
    refused("[[pas]]\nhost = 'a'\n", "x.toml:1: unknown key \"pas\"");
    refused("", "no [[pass]] block and no hosts");
    refused("hosts = []\n", "hosts is empty");
    refused("hosts = ['a', 'a']\n", "twice");
    refused("[[host]]\nname = 'a'\n[[host]]\nname = 'a'\n", "x.toml:4: \"a\" stands there twice");
    refused("hosts = ['a']\nprocesses = 0\n", "x.toml:2: processes must be a whole number from 1");
    refused("hosts = ['a']\nseconds = -1\n", "x.toml:2: seconds must be");
    refused("hosts = ['a']\nseconds = nan\n", "seconds must be");
    refused("hosts = ['a']\nmode = 'fast'\n", "mode must be one of noop, exec, fork");
    refused("hosts = ['a']\nmode = 'fork'\npolicy = 'once'\n", "x.toml:3: mode fork has no slots");
    refused("hosts = ['a']\nspeed = 1\n", "x.toml:2: unknown key \"speed\"");
    refused("hosts = ['a']\n[[host]]\nport = 1\n", "this [[host]] has no name");
    refused("hosts = ['a b']\n", "x.toml:1: \"a b\" is not a host");
    refused("hosts = ['a']\nport = 0\n", "port must be");
    refused("hosts = ['a']\n[[pass]]\nhost='a'\ncmd='x'\n", "do not go into one file");
    refused("user = '-x'\n[[pass]]\nhost='a'\ncmd='x'\n", "is not a user");
    refused("[[pass]]\npwd = \"a\\nb\"\nhost='a'\ncmd='x'\n", "pwd must be one line");
    refused("hosts = ['a','b','c','d','e']\nprocesses = 256\n", "at most 1024");
}
