//! The default filter, judged call by call.

use super::interpreter::{Call, assert_loadable, run};
use super::policy::{Action, EAFNOSUPPORT, ENOSYS, EPERM, Policy, Verdict};
use super::program::{ARCH, RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, assemble};
use super::{Instruction, table};
use crate::{Capability, Security};
use linux_raw_sys::general::*;

const ALLOW: u32 = RET_ALLOW;
const NO_RIGHT: u32 = RET_ERRNO | EPERM as u32;
const NO_CALL: u32 = RET_ERRNO | ENOSYS as u32;
const NO_FAMILY: u32 = RET_ERRNO | EAFNOSUPPORT as u32;

fn policy(caps: &[Capability]) -> Policy {
    table::policy(Security::Strict, caps)
}

fn compile(caps: &[Capability]) -> Vec<Instruction> {
    assemble(&policy(caps))
}

fn verdict(program: &[Instruction], nr: u32, args: [u64; 2]) -> u32 {
    run(program, Call { arch: ARCH, nr, args: [args[0], args[1], 0, 0, 0, 0] })
}

fn both() -> [Vec<Instruction>; 2] {
    [compile(&[]), compile(Capability::DOCKER_DEFAULT)]
}

#[test]
fn the_program_passes_the_kernels_check_and_stays_small() {
    for caps in [&[], Capability::DOCKER_DEFAULT, Capability::ALL] {
        let program = compile(caps);
        assert_loadable(&program);
        assert!(program.len() <= 400, "{} instructions", program.len());
    }
}

#[test]
fn targets_out_of_a_jumps_reach_are_reached_by_long_jumps() {
    let odd = |nr: u32| if nr % 2 == 1 { Action::Allow } else { Action::Errno(EPERM) };
    let calls = (0..1_000).map(|nr| (nr, Verdict::from(odd(nr)))).collect();
    let program = assemble(&Policy { calls, ..policy(&[]) });
    assert_loadable(&program);
    for nr in 0..1_000 {
        let wanted = if nr % 2 == 1 { ALLOW } else { NO_RIGHT };
        assert_eq!(verdict(&program, nr, [0, 0]), wanted, "call {nr}");
    }
    assert_eq!(verdict(&program, 1_000, [0, 0]), NO_CALL);
}

#[test]
fn what_programs_and_the_launcher_need_is_allowed() {
    let calls = [
        __NR_wait4,
        __NR_recvmsg,
        __NR_sendmsg,
        __NR_setresuid,
        __NR_setresgid,
        __NR_setgroups,
        __NR_capset,
        __NR_prctl,
        __NR_dup3,
        __NR_fcntl,
        __NR_execve,
        __NR_exit_group,
        __NR_mmap,
        __NR_munmap,
        __NR_close,
        __NR_close_range,
        __NR_chdir,
        __NR_kill,
        __NR_setsid,
        __NR_prlimit64,
        __NR_futex,
        __NR_read,
        __NR_openat,
        __NR_ptrace,
        __NR_seccomp,
        __NR_rseq,
        __NR_statx,
        __NR_newfstatat,
        __NR_getrandom,
        __NR_landlock_restrict_self,
    ];
    for program in both() {
        for nr in calls {
            assert_eq!(verdict(&program, nr, [0, 0]), ALLOW, "call {nr}");
        }
    }
}

#[test]
fn every_plain_verdict_of_the_table_is_what_the_program_returns() {
    for caps in [&[], Capability::DOCKER_DEFAULT, Capability::ALL] {
        let program = compile(caps);
        for (&nr, wanted) in &policy(caps).calls {
            let got = verdict(&program, nr, [0, 0]);
            match (wanted.rules.as_slice(), wanted.otherwise) {
                ([], Action::Allow) => assert_eq!(got, ALLOW, "call {nr}"),
                ([], Action::Errno(errno)) => assert_eq!(got, RET_ERRNO | u32::from(errno)),
                ([], other) => panic!("{other:?} is in no table"),
                _ => {} // the tests below
            }
        }
    }
}

#[test]
fn docker_has_more_socket_families_and_its_own_refusals() {
    const AF_ALG: u64 = 38;
    let docker = table::policy(Security::Docker, Capability::DOCKER_DEFAULT);
    let program = assemble(&docker);
    assert_loadable(&program);
    assert_eq!(verdict(&program, __NR_socket, [31, 0]), ALLOW);
    assert_eq!(verdict(&program, __NR_socketpair, [31, 0]), ALLOW);
    for family in [12, 37, AF_ALG, 40, 46, 1 << 32 | 2] {
        assert_eq!(verdict(&program, __NR_socket, [family, 0]), NO_RIGHT, "family {family}");
    }
    assert_eq!(verdict(&program, __NR_chroot, [0, 0]), ALLOW);
    assert_eq!(verdict(&program, __NR_mount, [0, 0]), NO_RIGHT);
    // what containers here have in common, and Docker's do not
    assert_eq!(verdict(&program, __NR_ioctl, [0, 0x5412]), NO_RIGHT);
    assert_eq!(verdict(&program, __NR_fcntl, [0, 1024]), NO_RIGHT);
}

#[test]
fn what_is_known_and_dangerous_is_refused() {
    let calls = [
        __NR_mount,
        __NR_umount2,
        __NR_fsopen,
        __NR_open_tree,
        __NR_move_mount,
        __NR_pivot_root,
        __NR_setns,
        __NR_unshare,
        __NR_bpf,
        __NR_perf_event_open,
        __NR_userfaultfd,
        __NR_io_uring_setup,
        __NR_io_uring_enter,
        __NR_io_uring_register,
        __NR_keyctl,
        __NR_add_key,
        __NR_request_key,
        __NR_kexec_load,
        __NR_init_module,
        __NR_finit_module,
        __NR_delete_module,
        __NR_clock_settime,
        __NR_settimeofday,
        __NR_reboot,
        __NR_swapon,
        __NR_acct,
        __NR_open_by_handle_at,
        __NR_quotactl,
        __NR_syslog,
        __NR_sethostname,
        __NR_mbind,
        __NR_kcmp,
    ];
    for program in both() {
        for nr in calls {
            assert_eq!(verdict(&program, nr, [0, 0]), NO_RIGHT, "call {nr}");
        }
    }
}

#[test]
fn a_capability_lifts_the_denials_that_only_repeat_it() {
    let cases = [
        (Capability::SysChroot, __NR_chroot),
        (Capability::SysAdmin, __NR_mount),
        (Capability::SysAdmin, __NR_unshare),
        (Capability::SysAdmin, __NR_clone3),
        (Capability::SysAdmin, __NR_bpf),
        (Capability::SysAdmin, __NR_syslog),
        (Capability::Bpf, __NR_bpf),
        (Capability::Perfmon, __NR_perf_event_open),
        (Capability::Syslog, __NR_syslog),
        (Capability::SysTime, __NR_clock_settime),
        (Capability::SysNice, __NR_mbind),
        (Capability::SysPtrace, __NR_kcmp),
        (Capability::SysModule, __NR_init_module),
        (Capability::SysBoot, __NR_reboot),
        (Capability::DacReadSearch, __NR_open_by_handle_at),
    ];
    for (capability, nr) in cases {
        assert_ne!(verdict(&compile(&[]), nr, [0, 0]), ALLOW, "{capability}, call {nr}");
        assert_eq!(verdict(&compile(&[capability]), nr, [0, 0]), ALLOW, "{capability}, call {nr}");
    }
}

#[test]
fn no_capability_opens_io_uring_or_the_keyrings() {
    let program = compile(Capability::ALL);
    for nr in [__NR_io_uring_setup, __NR_keyctl, __NR_userfaultfd, __NR_kexec_load] {
        assert_eq!(verdict(&program, nr, [0, 0]), NO_RIGHT, "call {nr}");
    }
}

#[test]
fn clone_makes_processes_and_threads_but_no_namespace() {
    const LAUNCHER: u64 = (CLONE_VM | CLONE_VFORK | CLONE_PIDFD | 17) as u64;
    const THREAD: u64 = 0x003d_0f00;
    const NAMESPACES: [u32; 7] = [
        CLONE_NEWNS,
        CLONE_NEWCGROUP,
        CLONE_NEWUTS,
        CLONE_NEWIPC,
        CLONE_NEWUSER,
        CLONE_NEWPID,
        CLONE_NEWNET,
    ];
    for program in both() {
        for flags in [0, 17, LAUNCHER, THREAD] {
            assert_eq!(verdict(&program, __NR_clone, [flags, 0]), ALLOW, "{flags:#x}");
        }
        for flag in NAMESPACES {
            let flags = u64::from(flag) | 17;
            assert_eq!(verdict(&program, __NR_clone, [flags, 0]), NO_RIGHT, "{flags:#x}");
        }
    }
    let admin = compile(&[Capability::SysAdmin]);
    assert_eq!(verdict(&admin, __NR_clone, [u64::from(CLONE_NEWNS), 0]), ALLOW);
}

#[test]
fn clone3_looks_absent_so_that_libc_takes_clone() {
    for program in both() {
        assert_eq!(verdict(&program, __NR_clone3, [0, 0]), NO_CALL);
    }
}

#[test]
fn numbers_nobody_knows_look_absent() {
    for program in both() {
        for nr in [470, 1_000, 0x4000_0000, 0x4000_0001, u32::MAX] {
            assert_eq!(verdict(&program, nr, [0, 0]), NO_CALL, "call {nr:#x}");
        }
    }
}

#[test]
fn a_foreign_architecture_is_killed() {
    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    for program in both() {
        for arch in [0, I386, ARM] {
            let call = Call { arch, nr: __NR_read, args: [0; 6] };
            assert_eq!(run(&program, call), RET_KILL_PROCESS);
        }
    }
}

#[test]
fn personality_takes_only_the_harmless_ones() {
    const NO_RANDOM_LAYOUT: u64 = 0x4_0000;
    for program in both() {
        for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
            assert_eq!(verdict(&program, __NR_personality, [persona, 0]), ALLOW, "{persona:#x}");
        }
        for persona in [1, 9, NO_RANDOM_LAYOUT, 0xffff_fffe] {
            assert_eq!(verdict(&program, __NR_personality, [persona, 0]), NO_RIGHT);
        }
    }
}

#[test]
fn sockets_come_in_the_common_families_only() {
    const AF_ALG: u64 = 38;
    const AF_VSOCK: u64 = 40;
    for program in both() {
        for call in [__NR_socket, __NR_socketpair] {
            for family in [1, 2, 10, 16, 17] {
                assert_eq!(verdict(&program, call, [family, 0]), ALLOW, "family {family}");
            }
            for family in [0, 3, 29, 31, AF_ALG, AF_VSOCK, 46] {
                assert_eq!(verdict(&program, call, [family, 0]), NO_FAMILY, "family {family}");
            }
        }
    }
}

#[test]
fn nobody_types_into_the_terminal_not_even_with_high_bits_set() {
    const TIOCSTI: u64 = 0x5412;
    const TIOCLINUX: u64 = 0x541c;
    const TCGETS: u64 = 0x5401;
    for program in both() {
        assert_eq!(verdict(&program, __NR_ioctl, [0, TCGETS]), ALLOW);
        for request in [TIOCSTI, TIOCLINUX, TIOCSTI | 1 << 32, TIOCSTI | 0xffff_ffff << 32] {
            assert_eq!(verdict(&program, __NR_ioctl, [0, request]), NO_RIGHT, "{request:#x}");
        }
    }
}
