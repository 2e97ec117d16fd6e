//! For each limit a program that goes over it, and what that program got; for each figure of
//! [`Stats`](leanbox::Stats) a load that is known, and what was told. Prints both as the tables
//! of docs/limits.md, with what this kernel and layout gave.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod known;
mod place;
mod rows;

use place::Place;
use std::fmt::Write as _;
use std::io::Write as _;

/// What there is, what a program does, and what came of it.
type Row = (&'static str, &'static str, fn(&Place) -> String);

#[test]
fn a_program_that_goes_over_a_limit_gets_what_the_table_says() {
    print("limits", &["limit", "a program", "got"], &rows::ROWS);
}

#[test]
fn what_a_known_load_used_is_told_within_five_percent() {
    print("loads", &["figure", "a program", "told"], &known::ROWS);
}

fn print(name: &str, titles: &[&str], rows: &[Row]) {
    let place = Place::make(name);
    let mut text = format!("{name}, {}:\n| {} |\n", place::machine(), titles.join(" | "));
    for (what, program, got) in rows {
        let _ = writeln!(text, "| {what} | {program} | {} |", got(&place));
    }
    // Past what captures a test's words.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
