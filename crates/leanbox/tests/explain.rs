//! What `Command::explain` tells of programs that are not simple: threads, children of all kinds,
//! calls that kill; and that the lift it names is one.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, hostile};
use leanbox::{
    Command, Explanation, Lift, Limits, Pool, Profile, Reason, Rootfs, Security, Template,
    TemplateBuilder,
};

fn builder(root: &Folder) -> TemplateBuilder {
    Template::builder(Rootfs::open(&root.0).unwrap())
}

fn explained(builder: TemplateBuilder, words: &[&str]) -> Explanation {
    let pool = Pool::new(&builder.build().unwrap(), 0).unwrap();
    let mut command = Command::new(words[0]);
    command.args(words[1..].iter().copied()).explain();
    command.output(&pool).unwrap().explanation.unwrap()
}

fn reason(explanation: &Explanation, call: &str) -> Option<Reason> {
    let refusals = &explanation.refusals;
    refusals.iter().find(|one| one.call.starts_with(call)).map(|one| one.reason.clone())
}

#[test]
fn threads_and_children_of_all_kinds_are_told_of() {
    let root = hostile("explain-threads");
    let told = explained(builder(&root), &["attack", "folders"]);
    for path in ["/of-thread", "/of-vfork", "/of-orphan", "/of-exec"] {
        let reason = reason(&told, &format!("mkdir({path:?})"));
        assert_eq!(reason, Some(Reason::ReadOnly("/".into())), "{path} in {told:?}");
    }
}

#[test]
fn a_call_of_another_architecture_is_told_with_the_signal_that_it_kills_by() {
    let root = hostile("explain-foreign");
    let told = explained(builder(&root), &["attack", "foreign-call"]);
    let last = told.refusals.last().unwrap();
    assert_eq!(last.to_string(), "1 x call 20 of another architecture SIGSYS: the seccomp profile");
    assert_eq!(last.reason, Reason::Filter(Lift::Profile));
}

#[test]
fn the_lift_of_the_filter_is_one() {
    let root = hostile("explain-lift");
    // AF_RDS, which Docker lets pass; and io_uring_setup, which it does not.
    let (socket, ring) = (["attack", "call", "41", "21", "5"], ["attack", "call", "425", "1"]);
    let strict = explained(builder(&root), &socket);
    assert_eq!(reason(&strict, "socket"), Some(Reason::Filter(Lift::Docker)), "{strict:?}");
    let docker = explained(builder(&root).security(Security::Docker), &socket);
    assert!(!matches!(reason(&docker, "socket"), Some(Reason::Filter(_))), "{docker:?}");
    let docker = explained(builder(&root).security(Security::Docker), &ring);
    let lift = reason(&docker, "io_uring_setup");
    assert_eq!(lift, Some(Reason::Filter(Lift::Profile)), "{docker:?}");
    let free = explained(builder(&root).seccomp(Profile::unconfined()), &ring);
    assert!(!matches!(reason(&free, "io_uring_setup"), Some(Reason::Filter(_))), "{free:?}");
}

#[test]
fn set_user_id_bits_without_effect_are_told_to_those_who_miss_it() {
    let root = hostile("explain-setid");
    let ids = ["attack-as-root", "ids"];
    let told = explained(builder(&root).user("app"), &ids);
    assert_eq!(reason(&told, "execve(\"/bin/attack-as-root\")"), Some(Reason::NoSetId), "{told:?}");
    let root_has_it = explained(builder(&root), &ids);
    assert_eq!(reason(&root_has_it, "execve"), None, "{root_has_it:?}");
}

#[test]
fn a_limit_of_a_process_is_told_by_its_name() {
    let root = hostile("explain-ulimit");
    let with = |limit: &str| {
        let rlimits = vec![limit.parse().unwrap()];
        builder(&root).limits(Limits { rlimits, ..Limits::default() })
    };
    let has = |explanation: &Explanation, reason: Reason| {
        explanation.refusals.iter().any(|one| one.reason == reason)
    };
    let opens = "i=3; while eval \"exec $i</dev/null\"; do i=$((i+1)); done";
    let files = explained(with("nofile=16"), &["sh", "-c", opens]);
    assert!(has(&files, Reason::Ulimit("nofile")), "{files:?}");
    let writes = ["sh", "-c", "trap '' XFSZ; head -c 9000 /dev/zero >/tmp/x"];
    let size = explained(with("fsize=8192"), &writes);
    assert!(has(&size, Reason::Ulimit("fsize")), "{size:?}");
    let raised = explained(with("nofile=16"), &["sh", "-c", "ulimit -n 17"]);
    assert!(has(&raised, Reason::HardLimit("nofile")), "{raised:?}");
    let free = explained(with("nofile=17"), &["sh", "-c", "ulimit -n 17"]);
    assert!(!has(&free, Reason::HardLimit("nofile")), "{free:?}");
}
