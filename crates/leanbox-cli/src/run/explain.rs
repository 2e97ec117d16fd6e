//! `--explain` of `leanbox run`: what was refused to the program, and the option that would allow it.

use crate::tell;
use leanbox::{Explanation, Lift, Reason, Refusal};

/// Says it, a line each.
pub(crate) fn say(explanation: &Explanation) {
    if explanation.refusals.is_empty() {
        tell("leanbox: refused: nothing");
    }
    for refusal in &explanation.refusals {
        tell(&format!("leanbox: refused: {}", line(refusal)));
    }
    if explanation.more > 0 {
        tell(&format!("leanbox: refused: {} more", explanation.more));
    }
}

fn line(refusal: &Refusal) -> String {
    format!("{refusal}; {}", option_for(&refusal.reason))
}

/// What would allow it, or that nothing would.
fn option_for(reason: &Reason) -> String {
    let fixed = match reason {
        Reason::Filter(Lift::Capability(capability)) | Reason::Capability(capability) => {
            return format!("--cap-add {}", capability.name());
        }
        Reason::ReadOnly(mount) if mount == "/" => {
            "--writable, or --tmpfs or --volume for that folder"
        }
        Reason::ReadOnly(mount) | Reason::NoExec(mount) if mount.starts_with("/proc") => NOTHING,
        Reason::ReadOnly(_) => "leave :ro out of the volume",
        Reason::NoExec(mount) if is_plain(mount) => {
            return format!("--tmpfs {mount}:exec, or a volume without noexec");
        }
        Reason::NoExec(_) => "--tmpfs with exec, or a volume without noexec",
        Reason::NoDevice(path) if is_plain(path) => return format!("--device {path}"),
        Reason::NoDevice(_) => "--device, if there is such a device",
        Reason::Full(mount) if mount == "/tmp" || mount == "/dev/shm" => "--tmp-size",
        Reason::Full(mount) if mount == "/" => "--writable=SIZE",
        Reason::Full(mount) if is_plain(mount) => return format!("--tmpfs {mount}:size=SIZE"),
        Reason::Full(_) => "--tmpfs with a larger size",
        Reason::Filter(Lift::Docker) => "--security docker",
        Reason::Filter(Lift::Profile) => "--seccomp FILE, for code that is trusted with it",
        Reason::Permission => {
            "--user, --cap-add DAC_OVERRIDE, or other owners and bits in the image"
        }
        Reason::NoTerminal => "--tty",
        Reason::NoNetwork => "--network nat",
        Reason::RefusedAddress => "--allow HOST:PORT",
        Reason::Processes => "--pids N",
        Reason::Ulimit(name) | Reason::HardLimit(name) => return format!("--ulimit {name}=N"),
        Reason::OtherProcess => "--cap-add SYS_PTRACE, but for process 1",
        Reason::NoSetId => "--user, for the run or for leanbox exec",
        Reason::Watched => "leave --explain out",
        _ => NOTHING,
    };
    fixed.into()
}

/// Whether the program's word can be given back as an option.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

const NOTHING: &str = "no option allows it";

#[cfg(test)]
mod tests {
    use super::*;
    use leanbox::Capability;

    #[test]
    fn a_line_says_what_why_and_which_option() {
        let refusal = Refusal {
            call: "mkdir(\"/data\")".into(),
            error: "EROFS".into(),
            count: 3,
            reason: Reason::ReadOnly("/".into()),
        };
        assert_eq!(
            line(&refusal),
            "3 x mkdir(\"/data\") EROFS: the root is read-only; --writable, or --tmpfs or --volume \
             for that folder"
        );
        assert_eq!(option_for(&Reason::Capability(Capability::NetRaw)), "--cap-add NET_RAW");
        assert_eq!(option_for(&Reason::Machine), NOTHING);
        assert_eq!(option_for(&Reason::NoDevice("/dev/fuse".into())), "--device /dev/fuse");
        assert!(!option_for(&Reason::NoDevice("/dev/x:y --privileged".into())).contains("x:y"));
        assert_eq!(option_for(&Reason::ReadOnly("/proc/sys".into())), NOTHING);
    }
}
