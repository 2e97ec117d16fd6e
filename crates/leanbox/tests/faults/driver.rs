//! The process whose calls fail: it makes a template and a pool, starts containers, takes all
//! apart again, and says how that went.

use leanbox::{
    Cause, Command, End, Error, ErrorKind, Nat, Network, Policy, Pool, Rootfs, Template,
};
use std::path::{Path, PathBuf};

/// Names the root file system to it.
pub(crate) const ROOT: &str = "LEANBOX_TEST_FAULTS_ROOT";
pub(crate) const POLICY: &str = "LEANBOX_TEST_FAULTS_POLICY";
/// A policy of it that is not the library's.
pub(crate) const NAT: &str = "nat";
pub(crate) const NAME: &str = "the_host_whose_calls_fail";
/// Has it copy the root file system into the state folder.
pub(crate) const COPIED: &str = "LEANBOX_TEST_FAULTS_COPIED";
/// How many descriptors it may have.
pub(crate) const DESCRIPTORS: &str = "LEANBOX_TEST_FAULTS_DESCRIPTORS";
/// How it ends: as asked, with an error, or with an outcome that is not true.
pub(crate) const DONE: i32 = 0;
pub(crate) const ERROR: i32 = 1;
pub(crate) const WRONG: i32 = 2;

/// Does nothing where nobody asked for it.
pub(crate) fn run() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let asked = std::env::var(POLICY).unwrap_or_default();
    let policy = match asked.as_str() {
        "reuse" => Policy::Reuse,
        "shared" => Policy::Shared,
        _ => Policy::Once,
    };
    if let Ok(count) = std::env::var(DESCRIPTORS) {
        let count = count.parse().ok();
        let limit = rustix::process::Rlimit { current: count, maximum: count };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    }
    // The two calls between which others fail.
    let _ = std::env::current_dir();
    let done = use_slots(&root, policy, asked == NAT);
    let _ = std::env::current_dir();
    let code = match done {
        Ok(()) => DONE,
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            eprintln!("{error}");
            WRONG
        }
        Err(error) => {
            eprintln!("error: {error}");
            ERROR
        }
    };
    std::process::exit(code);
}

fn use_slots(root: &Path, policy: Policy, nat: bool) -> Result<(), Error> {
    let mut builder = Template::builder(Rootfs::open(root)?).policy(policy);
    if nat {
        builder = builder.network(Network::Nat(Nat::default()));
    }
    let builder =
        if std::env::var_os(COPIED).is_some() { builder.without_idmap() } else { builder };
    let template = builder.build()?;
    let pool = Pool::new(&template, 2)?;
    for _ in 0..2 {
        let outcome = Command::new("sh").args(["-c", "echo hello; exit 7"]).output(&pool)?;
        if outcome.cause == Cause::HostGone {
            return Err(Error::new(ErrorKind::Gone, "the keeper has ended"));
        }
        if outcome.end != End::Exited(7) || outcome.stdout.bytes != b"hello\n" {
            return Err(Error::invalid(format!("a wrong outcome: {outcome:?}")));
        }
    }
    Ok(())
}
