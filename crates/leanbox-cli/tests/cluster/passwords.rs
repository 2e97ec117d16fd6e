//! Passwords: they open a login and sudo, and are seen nowhere.

use crate::common::{Done, fed, place};
use crate::lab::{Lab, PASSWORD, install};
use crate::runs::pass;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Every process that has the password in its words or its environment.
fn exposed() -> Vec<String> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter(|entry| *entry.file_name() != *own);
    let shows = |path: &Path| {
        ["cmdline", "environ"].iter().any(|file| {
            let bytes = fs::read(path.join(file)).unwrap_or_default();
            bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes())
        })
    };
    let paths = processes.map(|entry| entry.path()).filter(|path| shows(path));
    paths.map(|path| format!("{}: {:?}", path.display(), fs::read(path.join("cmdline")))).collect()
}

#[test]
fn a_password_opens_the_login_and_sudo_and_is_in_no_process_list() {
    let lab = Lab::make("password");
    install(&lab);
    lab.sudo_asks("val01");
    let text = pass("pw-val01", 3, "test0") + &pass("pw-val02", 3, "test1");
    let mut command = lab.cluster_command(&text, &["-p", PASSWORD]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(400));
    let mut looks = 0;
    while child.try_wait().unwrap().is_none() {
        assert_eq!(exposed(), [""; 0]);
        looks += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(looks > 10, "it was over at once");
    let done = Done::of(child.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.err.contains("-p alone asks for it"), "{done:?}");
    assert!(!done.out.contains("s3cret") && !done.err.contains("s3cret"), "{done:?}");
    assert!(done.out.contains("all 2 processes"), "{done:?}");
    assert_eq!(fs::read_dir(lab.folder.join("client")).unwrap().count(), 0, "askpass is left");
}

#[test]
fn a_password_comes_from_standard_input_and_goes_no_further() {
    let lab = Lab::make("stdin");
    let text = "[[pass]]\nhost = 'pw-val01'\npath = ''\ncmd = 'echo in'\n\
                [[pass]]\nhost = 'here'\npath = '/'\ncmd = 'ls -l /proc/self/fd'\n\
                local = 'yes'\n";
    let mut command = lab.cluster_command(text, &["--password-stdin"]);
    let done = Done::of(fed(&mut command, format!("{PASSWORD}\n").as_bytes()));
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("@pw-val01   in"), "{done:?}");
    assert!(done.out.contains("0 -> /dev/pts/"), "{done:?}");
    assert!(!done.out.contains("memfd"), "{done:?}");
}

#[test]
fn a_wrong_password_and_none_are_said() {
    let lab = Lab::make("wrong");
    install(&lab);
    lab.sudo_asks("val02");
    let block = "[[pass]]\nhost = 'val02'\npath = ''\ncmd = 'sudo true'\n";
    let done = lab.cluster(&(pass("pw-val01", 2, "x") + block + "pwd = 'bad'\n"), &["-p", "bad"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.err.contains("leanbox: pw-val01: refused the login: wrong user, pass"),
        "{done:?}"
    );
    assert!(done.err.contains("leanbox: val02: sudo refused the password"), "{done:?}");
    let done = lab.cluster(&(pass("pw-val01", 2, "x") + block), &[]);
    assert!(done.err.contains("give -p for a password"), "{done:?}");
    assert!(done.err.contains("leanbox: val02: sudo asks for a password; give -p"), "{done:?}");
}

#[test]
fn every_sudo_of_a_command_gets_the_password() {
    let lab = Lab::make("twice");
    lab.sudo_asks("val01");
    let text = "[[pass]]\nhost = 'val01'\npath = ''\ncmd = 'sudo echo one; sudo echo two'\n";
    let done = lab.cluster(text, &["-p", PASSWORD]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("@val01      one\n@val01      two\n"), "{done:?}");
}

#[test]
fn without_an_ssh_client_it_says_so() {
    let lab = Lab::make("no-client");
    let mut command = lab.cluster_command(&pass("val01", 1, "a"), &[]);
    let done = Done::of(command.env("LEANBOX_SSH", "nosuch-ssh").output().unwrap());
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("openssh-client"), "{done:?}");
}

#[test]
fn a_file_s_own_password_works_and_an_open_file_is_warned_of() {
    let lab = Lab::make("own");
    install(&lab);
    let password = format!("pwd = \"{PASSWORD}\"\nuser = 'root'\n");
    let done = lab.cluster(&(pass("pw-val01", 1, "x") + &password), &[]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let status = lab.inside(&["chmod", "644", "bench.toml"]).status().unwrap();
    assert!(status.success());
    let done = Done::of(lab.bench(&["cluster", "-f", "bench.toml"]).output().unwrap());
    assert!(done.err.contains("others can read it"), "{done:?}");
}

#[test]
fn a_key_s_passphrase_is_answered() {
    let lab = Lab::make("passphrase");
    let key = lab.folder.join("key").display().to_string();
    let status =
        lab.inside(&["ssh-keygen", "-q", "-p", "-P", "", "-N", "open it", "-f", &key]).status();
    assert!(status.unwrap().success());
    let block = "[[pass]]\nhost = 'val01'\npath = ''\ncmd = 'echo in'\n";
    let done = lab.cluster(&format!("passphrase = 'open it'\n{block}"), &[]);
    assert!(done.out.contains("@val01      in") && done.code == 0, "{done:?}");
    let done = lab.cluster(block, &[]);
    assert!(done.code == 1 && done.err.contains("refused the login"), "{done:?}");
}

#[test]
fn p_alone_asks_once_at_the_terminal_without_showing_it() {
    let lab = Lab::make("asked");
    install(&lab);
    let text = pass("pw-val01", 1, "a") + &pass("pw-val02", 1, "b");
    fs::write(lab.folder.join("bench.toml"), text).unwrap();
    let leanbox = env!("CARGO_BIN_EXE_leanbox");
    let words = format!("{leanbox} bench cluster -f bench.toml -p");
    let mut command = lab.inside(&["script", "-qec", &words, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, format!("{PASSWORD}\n").as_bytes()).unwrap();
    let done = Done::of(child.wait_with_output().unwrap());
    drop(input);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.out.matches("password: ").count(), 1, "{done:?}");
    assert!(!done.out.contains("s3cret"), "{done:?}");
    assert!(done.out.contains("all 2 processes"), "{done:?}");
}

#[test]
fn p_alone_without_a_terminal_is_refused() {
    let place = place("cluster-no-terminal");
    let words = ["-w", env!("CARGO_BIN_EXE_leanbox"), "bench", "cluster", "-f", "x", "-p"];
    let output = Command::new("setsid").args(words).current_dir(&place.0).output();
    Done::of(output.unwrap()).failed(1, "-p asks at a terminal, and there is none");
}
