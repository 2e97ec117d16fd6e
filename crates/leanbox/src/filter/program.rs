//! The assembler: from verdicts to instructions.
//!
//! In: a verdict per known number. Out: a program that checks the architecture, finds the number
//! by a binary search over ranges, compares arguments where the verdict depends on them, and
//! returns. Never: knows a call by name.
//!
//! It is written from its last instruction to its first: a jump goes forward only, so its target
//! is always there already, and a target out of reach (255) gets a long jump between.

use super::Instruction;
use super::policy::{Action, Comparison, Condition, ENOSYS, Policy, Rule, Verdict, X32};

// linux/bpf_common.h, linux/filter.h
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_MORE: u16 = 0x25;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
pub(super) const JUMP_IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

// linux/seccomp.h
pub(super) const RET_ALLOW: u32 = 0x7fff_0000;
pub(super) const RET_LOG: u32 = 0x7ffc_0000;
pub(super) const RET_ERRNO: u32 = 0x0005_0000;
pub(super) const RET_TRAP: u32 = 0x0003_0000;
pub(super) const RET_KILL_THREAD: u32 = 0;
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
#[derive(Debug, Clone)]
struct Range {
    first: u32,
    verdict: Verdict,
}

/// The whole program for a policy.
pub(super) fn assemble(policy: &Policy) -> Vec<Instruction> {
    let (code, returns, verdicts) = (Vec::new(), Vec::new(), Vec::new());
    let mut program = Backwards { code, returns, verdicts };
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
/// known number; on x86_64 the numbers of the x32 architecture look absent, whatever is said of
/// unknown ones.
fn ranges(policy: &Policy) -> Vec<Range> {
    let unknown = Verdict::from(policy.unknown);
    let last = policy.calls.keys().next_back().map_or(0, |&nr| nr + 1);
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |first, verdict: &Verdict| {
        if ranges.last().is_none_or(|range| range.verdict != *verdict) {
            ranges.push(Range { first, verdict: verdict.clone() });
        }
    };
    for nr in 0..=last {
        add(nr, policy.calls.get(&nr).unwrap_or(&unknown));
    }
    if cfg!(target_arch = "x86_64") {
        add(X32, &Verdict::from(Action::Errno(ENOSYS)));
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
    verdicts: Vec<(Verdict, Label)>,
}

impl Backwards {
    /// The search over `ranges`, which are sorted and not empty.
    fn search(&mut self, ranges: &[Range]) -> Label {
        if let [only] = ranges {
            return self.leaf(&only.verdict);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let first_high = high[0].first;
        let high = self.search(high);
        let low = self.search(low);
        self.branch(JUMP_IF_AT_LEAST, first_high, high, low)
    }

    fn leaf(&mut self, verdict: &Verdict) -> Label {
        if verdict.rules.is_empty() {
            return self.action(verdict.otherwise);
        }
        if let Some((_, label)) = self.verdicts.iter().find(|(known, _)| known == verdict) {
            return *label;
        }
        let otherwise = self.action(verdict.otherwise);
        let label = verdict.rules.iter().rev().fold(otherwise, |next, rule| self.rule(rule, next));
        self.verdicts.push((verdict.clone(), label));
        label
    }

    fn action(&mut self, action: Action) -> Label {
        self.ret(match action {
            Action::Allow => RET_ALLOW,
            Action::Log => RET_LOG,
            Action::Errno(errno) => RET_ERRNO | u32::from(errno),
            Action::Trap => RET_TRAP,
            Action::KillThread => RET_KILL_THREAD,
            Action::KillProcess => RET_KILL_PROCESS,
        })
    }

    fn ret(&mut self, value: u32) -> Label {
        if let Some((_, label)) = self.returns.iter().find(|(known, _)| *known == value) {
            return *label;
        }
        let label = self.emit(RETURN, value);
        self.returns.push((value, label));
        label
    }

    /// To its action where all its conditions hold, else on to `next`.
    fn rule(&mut self, rule: &Rule, next: Label) -> Label {
        let action = self.action(rule.action);
        rule.conditions.iter().rev().fold(action, |then, one| self.condition(*one, then, next))
    }

    fn condition(&mut self, one: Condition, yes: Label, no: Label) -> Label {
        let halves = |value: u64| ((value & 0xffff_ffff) as u32, (value >> 32) as u32);
        let (low, high) = halves(one.value);
        // both machines are little-endian: an argument's low word is its first
        let at = AT_ARGUMENTS + 8 * one.argument;
        let words = [Word { at, value: low }, Word { at: at + 4, value: high }];
        match one.comparison {
            Comparison::Equal => self.equal(words, [u32::MAX; 2], yes, no),
            Comparison::NotEqual => self.equal(words, [u32::MAX; 2], no, yes),
            Comparison::Masked(mask) => {
                let (mask_low, mask_high) = halves(mask);
                self.equal(words, [mask_low, mask_high], yes, no)
            }
            Comparison::Greater => self.more(words, JUMP_IF_MORE, yes, no),
            Comparison::LessOrEqual => self.more(words, JUMP_IF_MORE, no, yes),
            Comparison::GreaterOrEqual => self.more(words, JUMP_IF_AT_LEAST, yes, no),
            Comparison::Less => self.more(words, JUMP_IF_AT_LEAST, no, yes),
        }
    }

    /// Whether both words, under their masks, are as they should be. A word of which the mask
    /// leaves nothing is not looked at.
    fn equal(&mut self, [low, high]: [Word; 2], masks: [u32; 2], yes: Label, no: Label) -> Label {
        let then = self.word_equals(low, masks[0], yes, no);
        self.word_equals(high, masks[1], then, no)
    }

    fn word_equals(&mut self, word: Word, mask: u32, yes: Label, no: Label) -> Label {
        if word.value & !mask != 0 {
            return no;
        }
        if mask == 0 {
            return yes;
        }
        if mask == u32::MAX {
            let (yes, no) = (self.after_load(yes, word.at), self.after_load(no, word.at));
            self.branch(JUMP_IF_EQUAL, word.value, yes, no);
        } else if word.value == 0 {
            let (yes, no) = (self.after_load(yes, word.at), self.after_load(no, word.at));
            self.branch(JUMP_IF_ANY_BIT, mask, no, yes);
        } else {
            self.branch(JUMP_IF_EQUAL, word.value, yes, no);
            self.emit(AND, mask);
        }
        self.emit(LOAD_WORD, word.at)
    }

    /// Whether the argument is more than the value: by its high word alone, or where that is
    /// equal by `code` on the low one.
    fn more(&mut self, [low, high]: [Word; 2], code: u16, yes: Label, no: Label) -> Label {
        self.branch(code, low.value, yes, no);
        let low = self.emit(LOAD_WORD, low.at);
        let equal = self.branch(JUMP_IF_EQUAL, high.value, low, no);
        self.branch(JUMP_IF_MORE, high.value, yes, equal);
        self.emit(LOAD_WORD, high.at)
    }

    /// `target`, or what follows it where it would only load the word that is loaded already.
    fn after_load(&self, target: Label, at: u32) -> Label {
        match self.code.get(target.0 - 1) {
            Some(one) if one.code == LOAD_WORD && one.k == at => Label(target.0 - 1),
            _ => target,
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

/// A word of the call, and what it should be.
#[derive(Clone, Copy)]
struct Word {
    at: u32,
    value: u32,
}
