//! How a start is laid out in bytes: environment and paths to try, then tables of texts that the
//! parked container only has to relocate. Nothing is sent here.

use leanbox_launcher::wire::{Start, bytes_of};

/// Where programs are looked for when the environment has no PATH, as with Docker.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Keeps what was laid out, changes what is about descriptors.
pub(crate) fn patch(bytes: &mut [u8], with: &Start) {
    let head = bytes_of(with);
    let targets = size_of::<Start>() - size_of_val(&with.targets);
    bytes[4..16].copy_from_slice(&head[4..16]);
    bytes[targets..size_of::<Start>()].copy_from_slice(&head[targets..]);
}

/// The image's variables, then HOME and PATH where missing, then the caller's on top.
pub(crate) fn environment(
    image: &[String],
    own: &[(String, String)],
    home: Option<&str>,
) -> Vec<String> {
    let mut all: Vec<(String, String)> =
        vec![("PATH".into(), PATH.into()), ("HOME".into(), home.unwrap_or("/").to_string())];
    let image = image.iter().filter_map(|entry| entry.split_once('='));
    let image = image.map(|(key, value)| (key.to_string(), value.to_string()));
    for (key, value) in image.chain(own.iter().cloned()) {
        match all.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => all.push((key, value)),
        }
    }
    all.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// The paths to try: the program itself if it has a slash, else in every folder of PATH.
pub(crate) fn candidates(program: &str, env: &[String]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_string()];
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(PATH);
    let folder = |dir: &str| if dir.is_empty() { ".".to_string() } else { dir.to_string() };
    path.split(':').map(|dir| format!("{}/{program}", folder(dir))).collect()
}

/// Bytes that begin 8 after offset 0, so that no text has offset 0.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) bytes: Vec<u8>,
}

impl Default for Data {
    fn default() -> Self {
        Self { bytes: vec![0; 8] }
    }
}

impl Data {
    pub(crate) fn text(&mut self, text: &str) -> u32 {
        let at = self.bytes.len();
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    pub(crate) fn table<S: AsRef<str>>(&mut self, texts: &[S]) -> u32 {
        let offsets: Vec<u32> = texts.iter().map(|text| self.text(text.as_ref())).collect();
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len();
        let entries = offsets.into_iter().map(u64::from).chain([0]);
        self.bytes.extend(entries.flat_map(u64::to_ne_bytes));
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_variables_win_over_the_images() {
        let image = ["A=1".to_string(), "PATH=/x".to_string()];
        let env = environment(&image, &[("A".into(), "2".into())], Some("/root"));
        assert_eq!(env, ["PATH=/x", "HOME=/root", "A=2"]);
    }

    #[test]
    fn names_are_looked_for_in_path_and_paths_are_not() {
        let env = ["PATH=/a:/b".to_string()];
        assert_eq!(candidates("x", &env), ["/a/x", "/b/x"]);
        assert_eq!(candidates("./x", &env), ["./x"]);
    }
}
