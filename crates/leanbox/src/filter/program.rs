//! The assembler: from verdicts to instructions.
//!
//! In: a verdict per known number. Out: a program that checks the architecture, finds the number
//! by a binary search over ranges, and returns. Never: knows a call by name.
//!
//! It is written from its last instruction to its first: a jump goes forward only, so its target
//! is always there already, and a target out of reach (255) gets a long jump between.

use super::Instruction;
use super::table::{Check, ENOSYS, Test, Verdict};
use std::collections::BTreeMap;

// linux/bpf_common.h, linux/filter.h
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
pub(super) const JUMP_IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

// linux/seccomp.h
pub(super) const RET_ALLOW: u32 = 0x7fff_0000;
pub(super) const RET_ERRNO: u32 = 0x0005_0000;
pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;

// struct seccomp_data: number, architecture, instruction pointer, six 64-bit arguments
pub(super) const AT_NUMBER: u32 = 0;
pub(super) const AT_ARCH: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

// linux/audit.h
#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: u32 = 0xc000_00b7;

/// A run of numbers with one verdict, up to the next range's first.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u32,
    verdict: Verdict,
}

/// The whole program for a policy.
pub(super) fn assemble(policy: &BTreeMap<u32, Verdict>) -> Vec<Instruction> {
    let mut program = Backwards { code: Vec::new(), returns: Vec::new(), checks: Vec::new() };
    let search = program.search(&ranges(policy));
    program.goto(search);
    program.emit(LOAD_WORD, AT_NUMBER);
    let body = program.here();
    let kill = program.emit(RETURN, RET_KILL_PROCESS);
    program.branch(JUMP_IF_EQUAL, ARCH, body, kill);
    program.emit(LOAD_WORD, AT_ARCH);
    program.code.reverse();
    program.code
}

/// All numbers from 0 up. What has no verdict is unknown, and so is everything after the last
/// known number: on x86_64 that includes the numbers of the x32 architecture, from 2³⁰ on.
fn ranges(policy: &BTreeMap<u32, Verdict>) -> Vec<Range> {
    let unknown = Verdict::Refuse(ENOSYS);
    let last = policy.keys().next_back().map_or(0, |&nr| nr + 1);
    let mut ranges: Vec<Range> = Vec::new();
    for first in 0..=last {
        let verdict = policy.get(&first).copied().unwrap_or(unknown);
        if ranges.last().is_none_or(|range| range.verdict != verdict) {
            ranges.push(Range { first, verdict });
        }
    }
    ranges
}

/// An instruction's place, counted from the end: it stays true while the program grows in front.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Label(usize);

/// A program in reverse, with the blocks that are shared.
struct Backwards {
    code: Vec<Instruction>,
    returns: Vec<(u32, Label)>,
    checks: Vec<(&'static Check, Label)>,
}

impl Backwards {
    /// The search over `ranges`, which are sorted and not empty.
    fn search(&mut self, ranges: &[Range]) -> Label {
        if let [only] = ranges {
            return self.leaf(only.verdict);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let first_high = high[0].first;
        let high = self.search(high);
        let low = self.search(low);
        self.branch(JUMP_IF_AT_LEAST, first_high, high, low)
    }

    fn leaf(&mut self, verdict: Verdict) -> Label {
        match verdict {
            Verdict::Allow => self.ret(RET_ALLOW),
            Verdict::Refuse(errno) => self.ret(RET_ERRNO | u32::from(errno)),
            Verdict::Check(check) => self.check(check),
        }
    }

    fn ret(&mut self, value: u32) -> Label {
        if let Some((_, label)) = self.returns.iter().find(|(known, _)| *known == value) {
            return *label;
        }
        let label = self.emit(RETURN, value);
        self.returns.push((value, label));
        label
    }

    fn check(&mut self, check: &'static Check) -> Label {
        if let Some((_, label)) = self.checks.iter().find(|(known, _)| *known == check) {
            return *label;
        }
        let pass = self.ret(RET_ALLOW);
        let fail = self.ret(RET_ERRNO | u32::from(check.errno));
        match check.test {
            Test::WithoutBits(bits) => {
                self.branch(JUMP_IF_ANY_BIT, bits, fail, pass);
            }
            Test::Among(values) => self.find(values, pass, fail),
            Test::NotAmong(values) => self.find(values, fail, pass),
        }
        // both machines are little-endian: an argument's low word is its first
        let label = self.emit(LOAD_WORD, AT_ARGUMENTS + 8 * check.argument);
        self.checks.push((check, label));
        label
    }

    /// Compares with each of `values` in turn.
    fn find(&mut self, values: &[u32], found: Label, not_found: Label) {
        let mut otherwise = not_found;
        for &value in values.iter().rev() {
            otherwise = self.branch(JUMP_IF_EQUAL, value, found, otherwise);
        }
    }

    /// A comparison with both its targets, each by way of a long jump if it is out of reach.
    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let yes = self.within_reach(yes, 1); // the other's long jump may come between
        let no = self.within_reach(no, 0);
        let short = |distance| u8::try_from(distance).expect("both were brought within reach");
        let (jt, jf) = (short(self.distance(yes)), short(self.distance(no)));
        self.code.push(Instruction { code, jt, jf, k });
        self.here()
    }

    /// `target`, or a long jump to it, when `between` more instructions may come before the
    /// branch to it.
    fn within_reach(&mut self, target: Label, between: u32) -> Label {
        if self.distance(target) + between <= u32::from(u8::MAX) {
            return target;
        }
        self.emit(JUMP, self.distance(target))
    }

    /// Continues at `target`, which costs nothing if it is the next instruction.
    fn goto(&mut self, target: Label) {
        if target != self.here() {
            self.emit(JUMP, self.distance(target));
        }
    }

    fn emit(&mut self, code: u16, k: u32) -> Label {
        self.code.push(Instruction { code, jt: 0, jf: 0, k });
        self.here()
    }

    /// The instruction that is the first of the program so far.
    fn here(&self) -> Label {
        Label(self.code.len())
    }

    /// How many instructions the next one emitted would skip to reach `target`.
    fn distance(&self, target: Label) -> u32 {
        u32::try_from(self.code.len() - target.0).expect("a program has few instructions")
    }
}
