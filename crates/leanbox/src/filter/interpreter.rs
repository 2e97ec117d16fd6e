//! A tiny machine for the tests: runs a filter as the kernel would, and checks it as the kernel
//! does at load.
//!
//! In: a program and one call. Out: the filter's return value. Never: used outside tests.

use super::Instruction;
use super::program::*;

/// What the kernel shows a filter: `struct seccomp_data` without the instruction pointer.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) nr: u32,
    pub(super) args: [u64; 6],
}

/// The filter's verdict on `call`.
pub(super) fn run(program: &[Instruction], call: Call) -> u32 {
    let data = words(call);
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let choose = |condition: bool| usize::from(if condition { jt } else { jf });
        at += 1;
        at += match code {
            LOAD_WORD => {
                accumulator = data[k as usize / 4];
                0
            }
            AND => {
                accumulator &= k;
                0
            }
            JUMP => k as usize,
            JUMP_IF_MORE => choose(accumulator > k),
            JUMP_IF_EQUAL => choose(accumulator == k),
            JUMP_IF_AT_LEAST => choose(accumulator >= k),
            JUMP_IF_ANY_BIT => choose(accumulator & k != 0),
            RETURN => return k,
            other => panic!("instruction {other:#x} is not one of ours"),
        };
    }
}

/// The kernel's own check at load (`bpf_check_classic`): known instructions, jumps that stay
/// inside, aligned loads, a return at the end.
pub(super) fn assert_loadable(program: &[Instruction]) {
    for (at, one) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match one.code {
            LOAD_WORD => assert!(one.k % 4 == 0 && one.k < 64),
            AND => {}
            JUMP => assert!((one.k as usize) < left),
            JUMP_IF_EQUAL | JUMP_IF_MORE | JUMP_IF_AT_LEAST | JUMP_IF_ANY_BIT => {
                assert!(usize::from(one.jt.max(one.jf)) < left);
            }
            RETURN => {}
            other => panic!("instruction {other:#x} is not one of ours"),
        }
    }
    assert!(program.last().is_some_and(|last| last.code == RETURN));
}

fn words(call: Call) -> [u32; 16] {
    let mut words = [call.nr, call.arch, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (argument, value) in call.args.iter().enumerate() {
        words[4 + 2 * argument] = (value & 0xffff_ffff) as u32;
        words[5 + 2 * argument] = (value >> 32) as u32;
    }
    words
}
