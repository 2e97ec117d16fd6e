//! Profiles of files: what the compiled program decides, measured against a plain reading of the
//! JSON that shares nothing with it.

use super::super::interpreter::{Call, assert_loadable, run};
use super::super::policy::Policy;
use super::super::program::{ARCH, assemble};
use super::super::{names, table};
use super::{parse, write};
use crate::{Capability, Profile, Security};
use linux_raw_sys::general::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// In the shape of Docker's own: an allow-list in which capabilities, the processor and the kernel
/// decide about entries, and arguments about calls.
fn of_docker() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            { "architecture": "SCMP_ARCH_X86_64",
              "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
            { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null }
        ],
        "syscalls": [
            { "names": ["read", "write", "openat", "futex", "chown32", "mseal", "execve"],
              "action": "SCMP_ACT_ALLOW" },
            { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } },
            { "names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "99.0" } },
            { "names": ["vhangup"], "action": "SCMP_ACT_ALLOW",
              "excludes": { "minKernel": "4.8" } },
            { "names": ["personality"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 0, "op": "SCMP_CMP_EQ" }] },
            { "names": ["personality"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 4294967295u32, "op": "SCMP_CMP_EQ" }] },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_NE" }] },
            { "names": ["mount", "clone", "clone3", "unshare"], "action": "SCMP_ACT_ALLOW",
              "includes": { "caps": ["CAP_SYS_ADMIN"] } },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ" }],
              "excludes": { "caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"] } },
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
              "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
            { "names": ["arch_prctl", "getcwd"], "action": "SCMP_ACT_ALLOW",
              "includes": { "arches": ["amd64", "arm64"] } },
            { "names": ["riscv_flush_icache", "sync"], "action": "SCMP_ACT_ALLOW",
              "includes": { "arches": ["riscv64"] }, "comment": "not here" },
            { "names": ["bpf"], "action": "SCMP_ACT_ALLOW",
              "includes": { "caps": ["CAP_BPF", "CAP_SYS_ADMIN"] } }
        ]
    })
}

/// Every comparison on every sort of value, and all actions.
fn of_comparisons() -> Value {
    const ODD: u64 = 0x1234_5678_9abc_def0;
    let mut entries = Vec::new();
    let comparisons = ["EQ", "NE", "LT", "LE", "GT", "GE"];
    let values = [0, 1, 0xffff_ffff, 1 << 32, ODD, u64::MAX];
    let mut calls = names::calls().map(|(name, _)| name);
    for (at, op) in comparisons.iter().enumerate() {
        for (index, value) in values.iter().enumerate() {
            entries.push(json!({ "names": [calls.next().unwrap()], "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": (index + at) % 6, "value": value,
                           "op": format!("SCMP_CMP_{op}") }] }));
        }
    }
    let masks = [
        (0, 0),
        (0, 1),
        (u64::MAX, ODD),
        (0xffff_ffff, 7),
        (0xff << 32, 0x12 << 32),
        (0xff00_0000_00ff, 0x1200_0000_00f0),
        (1 << 40 | 1, 0),
    ];
    for (mask, value) in masks {
        entries.push(json!({ "names": [calls.next().unwrap()], "action": "SCMP_ACT_TRAP",
            "args": [{ "index": 2, "value": mask, "valueTwo": value,
                       "op": "SCMP_CMP_MASKED_EQ" }] }));
    }
    let two = json!([{ "index": 0, "value": 7, "op": "SCMP_CMP_GE" },
                     { "index": 1, "value": 9, "op": "SCMP_CMP_LT" }]);
    let same = json!([{ "index": 0, "value": 7, "op": "SCMP_CMP_EQ" },
                      { "index": 0, "value": ODD, "op": "SCMP_CMP_EQ" }]);
    for (action, args) in [("ALLOW", &two), ("ERRNO", &same), ("KILL", &two), ("LOG", &two)] {
        entries.push(json!({ "names": [calls.next().unwrap(), "kill"],
            "action": format!("SCMP_ACT_{action}"), "args": args }));
    }
    entries.push(json!({ "name": "tkill", "action": "SCMP_ACT_KILL_THREAD" }));
    entries.push(json!({ "name": "tgkill", "action": "SCMP_ACT_KILL_PROCESS" }));
    entries.push(json!({ "name": "tgkill", "action": "SCMP_ACT_ALLOW" }));
    entries.push(json!({ "name": "sync", "action": "SCMP_ACT_ERRNO", "errno": "ENOSPC" }));
    json!({ "defaultAction": "SCMP_ACT_LOG", "syscalls": entries })
}

/// A file read plainly: its rules by call, for one set of capabilities.
struct Reading {
    calls: BTreeMap<String, Vec<Value>>,
    last: u32,
    default: u32,
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().cloned().unwrap_or_default();
    list.iter().map(|text| text.as_str().unwrap().to_string()).collect()
}

fn value_of(action: &Value, errno: &Value) -> u32 {
    match action.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ERRNO" => 0x5_0000 + u32::try_from(errno.as_u64().unwrap_or(1)).unwrap(),
        "SCMP_ACT_TRAP" => 0x3_0000,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        _ => 0,
    }
}

impl Reading {
    fn new(file: &Value, caps: &[Capability]) -> Self {
        let held: Vec<String> = caps.iter().map(ToString::to_string).collect();
        let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let (mut calls, mut last) = (BTreeMap::<String, Vec<Value>>::new(), 0);
        for entry in file["syscalls"].as_array().unwrap() {
            let (with, without) = (&entry["includes"], &entry["excludes"]);
            let arches = texts(&with["arches"]);
            let counts = texts(&with["caps"]).iter().all(|cap| held.contains(cap))
                && (arches.is_empty() || arches.iter().any(|one| one == arch))
                && with["minKernel"] != "99.0"
                && !texts(&without["caps"]).iter().any(|cap| held.contains(cap))
                && !texts(&without["arches"]).iter().any(|one| one == arch)
                && without["minKernel"] != "4.8";
            let single = entry["name"].as_str().map(str::to_string);
            for name in texts(&entry["names"]).into_iter().chain(single).filter(|_| counts) {
                last = last.max(names::number(&name).unwrap_or(0));
                calls.entry(name).or_default().push(entry.clone());
            }
        }
        let default = value_of(&file["defaultAction"], &file["defaultErrnoRet"]);
        Self { calls, last, default }
    }

    /// The strictest of the rules that hold, which is the one with the least value as the kernel
    /// orders them; of equal ones the first.
    fn decides(&self, name: &str, nr: u32, args: &[u64; 6]) -> u32 {
        if nr > self.last && self.default < 0x7ffc_0000 {
            return 0x5_0000 + 38;
        }
        let term = |arg: &Value| {
            let got = args[usize::try_from(arg["index"].as_u64().unwrap()).unwrap()];
            let value = arg["value"].as_u64().unwrap();
            match arg["op"].as_str().unwrap() {
                "SCMP_CMP_NE" => got != value,
                "SCMP_CMP_LT" => got < value,
                "SCMP_CMP_LE" => got <= value,
                "SCMP_CMP_EQ" => got == value,
                "SCMP_CMP_GE" => got >= value,
                "SCMP_CMP_GT" => got > value,
                _ => got & value == arg["valueTwo"].as_u64().unwrap_or(0),
            }
        };
        let holds = |entry: &&Value| {
            let args = entry["args"].as_array().map(Vec::as_slice).unwrap_or_default();
            let indices: BTreeSet<_> = args.iter().map(|arg| arg["index"].as_u64()).collect();
            if indices.len() < args.len() { args.iter().any(term) } else { args.iter().all(term) }
        };
        let own = self.calls.get(name).map(Vec::as_slice).unwrap_or_default();
        let found = own.iter().filter(holds).map(|entry| {
            let errno = if entry["errno"] == "ENOSPC" { &json!(28) } else { &entry["errnoRet"] };
            value_of(&entry["action"], errno)
        });
        #[expect(clippy::cast_possible_wrap, reason = "the kernel compares them so")]
        found.min_by_key(|value| (*value & 0xffff_0000) as i32).unwrap_or(self.default)
    }
}

fn samples() -> Vec<[u64; 6]> {
    const ODD: u64 = 0x1234_5678_9abc_def0;
    let interesting = [
        0,
        1,
        2,
        7,
        8,
        9,
        16,
        40,
        0x2000_0000,
        0x7e02_0000,
        0xffff_fffe,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 1,
        1 << 40,
        ODD - 1,
        ODD,
        ODD + 1,
        0x1200_0000_00f0,
        u64::MAX,
    ];
    let mut all: Vec<[u64; 6]> = interesting.map(|value| [value; 6]).into();
    all.extend([[7, 8, 0, 0, 0, 0], [6, 8, 0, 0, 0, 0], [7, 9, 0, 0, 0, 0], [ODD, 0, 0, 0, 0, 0]]);
    all
}

fn assert_agrees(policy: &Policy, wanted: impl Fn(&str, u32, &[u64; 6]) -> u32) {
    let program = assemble(policy);
    assert_loadable(&program);
    for (name, nr) in names::calls() {
        for args in samples() {
            let got = run(&program, Call { arch: ARCH, nr, args });
            let wanted = wanted(name, nr, &args);
            assert_eq!(got, wanted, "{name}({args:#x?}): {got:#x}, not {wanted:#x}");
        }
    }
}

#[test]
fn the_program_decides_as_a_plain_reading_of_the_file_does() {
    let admin = [Capability::SysAdmin];
    let both = [Capability::SysAdmin, Capability::Bpf];
    for file in [of_docker(), of_comparisons()] {
        let parsed = parse(&file.to_string()).unwrap();
        for caps in [&[], Capability::DOCKER_DEFAULT, &admin, &both] {
            let reading = Reading::new(&file, caps);
            let policy = parsed.policy(caps).unwrap();
            assert_agrees(&policy, |name, nr, args| reading.decides(name, nr, args));
        }
    }
}

#[test]
fn what_is_written_down_reads_back_as_the_same() {
    let mut policies = vec![parse(&of_docker().to_string()).unwrap().policy(&[]).unwrap()];
    policies.push(parse(&of_comparisons().to_string()).unwrap().policy(&[]).unwrap());
    for security in [Security::Strict, Security::Docker] {
        for caps in [&[], Capability::DOCKER_DEFAULT, Capability::ALL] {
            policies.push(table::policy(security, caps));
        }
    }
    for policy in policies {
        let again = parse(&write(&policy)).unwrap().policy(&[]).unwrap();
        assert_eq!((again.default, again.unknown), (policy.default, policy.unknown));
        let program = assemble(&policy);
        assert_agrees(&again, |_, nr, args| run(&program, Call { arch: ARCH, nr, args: *args }));
    }
}

#[test]
fn numbers_of_no_call_look_absent_and_those_of_x32_always() {
    let decide = |file: &Value, nr| {
        let policy = parse(&file.to_string()).unwrap().policy(&[]).unwrap();
        let program = assemble(&policy);
        let got = run(&program, Call { arch: ARCH, nr, args: [0; 6] });
        assert_eq!(got == 0x7fff_0000, policy.decide(nr, &[0; 6]).allows());
        got
    };
    const ABSENT: u32 = 0x5_0000 + 38;
    let deny_list = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["mount"], "action": "SCMP_ACT_ERRNO" }] });
    assert_eq!(decide(&of_docker(), 600), ABSENT);
    assert_eq!(decide(&deny_list, 600), 0x7fff_0000);
    assert_eq!(decide(&deny_list, __NR_mount), 0x5_0001);
    // newer than all it names
    assert_eq!(
        decide(
            &json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        { "names": ["read"], "action": "SCMP_ACT_ALLOW" }] }),
            __NR_statx
        ),
        ABSENT
    );
    #[cfg(target_arch = "x86_64")]
    for file in [of_docker(), deny_list] {
        for nr in [0x4000_0000, 0x4000_0000 + __NR_mount, u32::MAX] {
            assert_eq!(decide(&file, nr), ABSENT, "{nr:#x}");
        }
    }
}

#[test]
fn names_of_other_processors_are_ignored_and_listed() {
    let profile: Profile = of_docker().to_string().parse().unwrap();
    assert!(profile.unknown_names().contains(&"chown32"));
    assert!(profile.unknown_names().contains(&"riscv_flush_icache"));
    assert!(!profile.unknown_names().contains(&"read"));
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line_that_says_where() {
    let with = |entry: Value| {
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [entry] }).to_string()
    };
    let arg =
        |arg: Value| with(json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [arg] }));
    let cases = [
        ("{".to_string(), "EOF"),
        (json!({ "syscalls": [] }).to_string(), "defaultAction"),
        (json!({ "defaultAction": "SCMP_ACT_FLY" }).to_string(), "SCMP_ACT_FLY"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "sycalls": [] }).to_string(), "sycalls"),
        (json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 }).to_string(), "errno"),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"] }).to_string(),
            "\"x86\" is not an architecture",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [], "archMap": [] })
                .to_string(),
            "both",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x" }).to_string(),
            "listenerPath",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] })
            .to_string(),
            "WAIT_KILLABLE_RECV",
        ),
        (with(json!({ "names": ["read"], "action": "SCMP_ACT_NOTIFY" })), "SCMP_ACT_NOTIFY"),
        (with(json!({ "names": ["read"], "action": "SCMP_ACT_TRACE" })), "syscalls[0]"),
        (with(json!({ "names": [], "action": "SCMP_ACT_ALLOW" })), "names no call"),
        (with(json!({ "name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW" })), "both"),
        (
            with(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000 })),
            "at most 4095",
        ),
        (with(json!({ "names": ["a"], "action": "SCMP_ACT_KILL", "errnoRet": 1 })), "no errno"),
        (
            with(json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW",
                "includes": { "minKernel": "new" } })),
            "not a version",
        ),
        (arg(json!({ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" })), "0 to 5"),
        (arg(json!({ "index": 0, "value": 0, "op": "==" })), "not a comparison"),
        (arg(json!({ "index": 0, "value": -1, "op": "SCMP_CMP_EQ" })), "invalid value"),
    ];
    for (text, words) in cases {
        let error = text.parse::<Profile>().unwrap_err().to_string();
        assert!(error.starts_with("seccomp profile: "), "{error}");
        assert!(error.contains(words), "{words:?} is not in {error:?}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_profile_that_lets_nothing_start_names_what_is_missing() {
    let compile = |text: Value| {
        let profile: Profile = text.to_string().parse().unwrap();
        profile.compile(&[]).map(drop)
    };
    let error = compile(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["futex", "execve", "mount"], "action": "SCMP_ACT_ERRNO" },
        { "names": ["clone"], "action": "SCMP_ACT_KILL",
          "args": [{ "index": 0, "value": 256, "valueTwo": 256, "op": "SCMP_CMP_MASKED_EQ" }] }]
    }))
    .unwrap_err();
    let wanted = "seccomp profile: it does not allow futex, clone, execve, without which nothing \
        starts; allow them in the profile";
    assert_eq!(error.to_string(), wanted);
    compile(json!({ "defaultAction": "SCMP_ACT_ALLOW" })).unwrap();
    assert!(compile(json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS" })).is_err());
}

#[test]
fn a_profile_too_large_for_the_kernel_is_refused() {
    let rule = |value: u64| {
        json!({ "names": ["ioctl"], "action": "SCMP_ACT_ERRNO",
        "args": [{ "index": 1, "value": value, "op": "SCMP_CMP_EQ" }] })
    };
    let rules: Vec<Value> = (0..2_000).map(|at| rule(at << 31)).collect();
    let file = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
    let profile: Profile = file.to_string().parse().unwrap();
    let error = profile.compile(&[]).unwrap_err().to_string();
    assert!(error.contains("the kernel takes 4096"), "{error}");
}
