//! Escapes: every hole that we know, tried from inside. The attacker is this program, started in
//! a container in a hidden mode; the same attacker in `classic` shows that the attacks are real.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "attacks are system calls; tests print a table"
)]

mod attacks;
mod call;
mod cases;
mod classic;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/host.rs"]
mod host;
mod host_side;
mod images;
mod inside;
#[path = "../common/itself.rs"]
mod itself;
mod stage;
mod table;
mod verdict;

use cases::{Attack, CASES};
use std::collections::BTreeSet;

/// Fewer would say that the attacks have become tame.
const CASES_LEAST: usize = 60;
const OPEN_IN_CLASSIC_LEAST: usize = 90;

/// Not a test: what the attacker does when a test has started it in a container.
#[test]
fn inside() {
    if let Ok(mode) = std::env::var(stage::MODE) {
        inside::run(&mode);
    }
}

#[test]
fn no_attack_gets_out_of_leanbox_and_most_get_out_of_classic() {
    let outside = host_side::Outside::new();
    let leanbox = host_side::on_leanbox(&outside);
    let classic = host_side::on_classic(&outside);
    let table = table::markdown(&leanbox, &classic);
    println!("{table}");
    if let Ok(path) = std::env::var("LEANBOX_ESCAPE_TABLE") {
        std::fs::write(path, &table).unwrap();
    }
    let promised = CASES.iter().filter(|case| case.is_promised());
    let silent = promised.filter(|case| !leanbox.contains_key(case.name));
    assert_eq!(silent.map(|case| case.name).collect::<Vec<_>>(), [""; 0], "cases that say nothing");
    let open: Vec<String> = table::open(&leanbox)
        .into_iter()
        .map(|name| format!("\n  {name}: {}", leanbox[name]))
        .collect();
    assert!(open.is_empty(), "open in leanbox:{}", open.concat());
    let through = table::open(&classic).len();
    assert!(through >= OPEN_IN_CLASSIC_LEAST, "only {through} are open in classic");
}

#[test]
fn the_cases_are_many_and_each_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
    assert!(names.len() >= CASES_LEAST);
    let twice = CASES.iter().filter(|case| matches!(case.attack, Attack::Twice(..)));
    assert!(twice.count() > 5);
}

#[test]
fn the_table_in_the_docs_has_every_case() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/escapes.md");
    let docs = std::fs::read_to_string(path).expect("docs/escapes.md: make test-escape writes it");
    let line = |case: &&cases::Case| format!("| {} | {} | blocked", case.name, case.hole);
    let missing = CASES.iter().filter(|case| !docs.contains(&line(case)));
    let missing: Vec<&str> = missing.map(|case| case.name).collect();
    assert!(
        missing.is_empty(),
        "LEANBOX_ESCAPE_TABLE=docs/escapes.md make test-escape: {missing:?}"
    );
}
