//! The table: a line for each case, as Markdown.

use crate::cases::CASES;
use crate::host_side::Verdicts;
use crate::verdict::Verdict;
use std::fmt::Write;

/// How many of the cases that were tried are open.
pub(crate) fn open(verdicts: &Verdicts) -> Vec<&'static str> {
    verdicts.iter().filter(|(_, verdict)| verdict.is_open()).map(|(name, _)| *name).collect()
}

pub(crate) fn markdown(leanbox: &Verdicts, classic: &Verdicts) -> String {
    let (tried, through) = (classic.len(), open(classic).len());
    let mut text = format!(
        "\
# Escapes

What a hostile program tries, case by case. `make test-escape` runs all of them inside containers \
with leanbox's defaults, as root and as a user, and fails if one is open; then the same program in \
containers of `classic`, leanbox's own implementation of the original lean container's critical \
path (cached namespaces, `setns`, `chroot`; no user namespace, no filter), and prints this table.

**leanbox: {} cases, {} open. classic: {tried} cases, {through} open.**

A case is open if a single one of its tries got through, or past the kernel's or the filter's \
check of who may: an attack stops at the proof. `blocked` names what it met. What happens between \
runs (`left-…`) is with policy `reuse`, `host-network-…` with the host's network; `link-…` and `self-exe` are root file systems that mean \
ill, which `classic`, making no mounts, has no part in. `classic` shares the host's network and \
user namespace, so that its results also say how the machine is set up; these are of Linux {}.

| case | the hole | leanbox | classic |
|---|---|---|---|
",
        leanbox.len(),
        open(leanbox).len(),
        kernel()
    );
    for case in CASES {
        let show = |verdict: Option<&Verdict>| match verdict {
            None => "–".to_string(),
            Some(Verdict::Blocked(detail)) => format!("blocked: {detail}"),
            Some(Verdict::Open(detail)) => format!("**open**: {detail}"),
        };
        let (ours, theirs) = (show(leanbox.get(case.name)), show(classic.get(case.name)));
        let _ = writeln!(text, "| {} | {} | {ours} | {theirs} |", case.name, case.hole);
    }
    text
}

/// `6.18` of `6.18.4-x`.
fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.trim().split(['.', '-']).take(2).collect::<Vec<_>>().join(".")
}
