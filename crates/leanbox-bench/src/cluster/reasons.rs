//! Why a connection failed, in one line with what to do, out of what ssh said.

/// What ssh says (in lower case), why that is, and what to do.
const KNOWN: &[(&str, &str)] = &[
    (
        "remote host identification has changed",
        "its host key is another one than before; if that is right: ssh-keygen -R HOST",
    ),
    (
        "host key verification failed",
        "its host key is not known; connect once with ssh and look at the key, or add it to \
         known_hosts, or set StrictHostKeyChecking accept-new in ssh_config",
    ),
    ("could not resolve", "no such host name; look at the file, ssh_config or /etc/hosts"),
    ("too many authentication failures", "too many keys were tried; name one in ssh_config"),
    ("connection refused", "refused the connection; is sshd running on that port?"),
    ("no route to host", "no route to it; is it up?"),
    ("network is unreachable", "its network cannot be reached"),
    ("timed out during banner", "does not answer as an ssh server in time"),
    ("connection timed out", "no answer in time; is it up? --connect-timeout waits longer"),
    ("operation timed out", "no answer in time; is it up? --connect-timeout waits longer"),
    ("not responding", "connection lost: it does not answer any more"),
    ("kex_exchange_identification", "closed the connection before login; does its sshd take more?"),
    ("broken pipe", "connection lost"),
    ("connection reset", "connection lost: reset by the host"),
    ("closed by remote host", "connection lost: closed by the host"),
    ("connection closed by", "connection lost: closed by the host"),
    ("failed to execute", "no such program; is the OpenSSH client (openssh-client) installed?"),
    ("terminal is required", "sudo wants a terminal"),
];

/// The reason in what ssh said, if there is any. `password` says whether one was given.
pub(super) fn reason(said: &[String], password: bool) -> Option<String> {
    let lower: Vec<String> = said.iter().map(|line| line.to_lowercase()).collect();
    if lower.iter().any(|line| line.contains("permission denied (")) {
        return Some(denied(&lower, password).into());
    }
    let known = KNOWN.iter().find(|(words, _)| lower.iter().any(|line| line.contains(words)));
    if let Some((_, reason)) = known {
        return Some((*reason).into());
    }
    let line = said.iter().rev().find(|line| !is_noise(line))?;
    Some(line.trim_start_matches("ssh: ").into())
}

fn denied(lower: &[String], password: bool) -> &'static str {
    let line = lower.iter().find(|line| line.contains("permission denied ("));
    let takes_password =
        line.is_some_and(|line| line.contains("password") || line.contains("keyb"));
    match (password, takes_password) {
        (true, true) => "refused the login: wrong user, password or key",
        (true, false) => "refused the login: it takes keys only, and none of ours",
        (false, true) => "refused the login: no key it knows; give -p for a password, or -u",
        (false, false) => "refused the login: no key it knows; add one to its authorized_keys",
    }
}

/// What ssh says though nothing is wrong.
fn is_noise(line: &str) -> bool {
    let line = line.trim();
    line.is_empty()
        || line.starts_with("Warning: Permanently added")
        || (line.starts_with("Connection to ") && line.ends_with(" closed."))
        || line.starts_with("Pseudo-terminal")
        || line.starts_with("**")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> String {
        reason(&[line.to_string()], false).unwrap_or_default()
    }

    #[test]
    fn what_ssh_says_becomes_a_reason() {
        assert!(of("me@h: Permission denied (publickey,password).").contains("give -p"));
        assert!(of("me@h: Permission denied (publickey).").contains("authorized_keys"));
        assert!(of("Host key verification failed.").contains("known_hosts"));
        assert!(of("ssh: connect to host h port 22: Connection refused").contains("sshd"));
        assert!(of("Timeout, server h not responding.").contains("lost"));
        assert_eq!(of("ssh: something new"), "something new");
        assert_eq!(of("Connection to h closed."), "");
    }
}
