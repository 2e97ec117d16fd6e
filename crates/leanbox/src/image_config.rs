//! What an image says about running it: the part of the OCI image configuration that a start
//! needs (OCI image specification, "config"), kept beside an exported folder as `DIR.json`.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Environment, working directory, user and command of an image, under their OCI names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `KEY=value` each.
    #[serde(rename = "Env")]
    pub env: Vec<String>,
    /// Empty: `/`.
    #[serde(rename = "WorkingDir")]
    pub working_dir: String,
    /// Empty: root. `name`, `uid`, `name:group` or `uid:gid`.
    #[serde(rename = "User")]
    pub user: String,
    /// Goes before the command.
    #[serde(rename = "Entrypoint")]
    pub entrypoint: Vec<String>,
    /// The command when none is given.
    #[serde(rename = "Cmd")]
    pub cmd: Vec<String>,
    /// Free words.
    #[serde(rename = "Labels", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The app's main file, e.g. `hello.py`.
    #[serde(rename = "leanbox.main", skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
}

impl ImageConfig {
    /// Where the configuration of the exported folder `dir` lies: `DIR.json` beside it.
    #[must_use]
    pub fn beside(dir: &Path) -> PathBuf {
        let mut name = dir.file_name().unwrap_or_default().to_os_string();
        name.push(".json");
        dir.with_file_name(name)
    }

    /// Reads the configuration beside `dir`; `None` where there is none.
    ///
    /// # Errors
    /// It is there but cannot be read or understood.
    pub fn read_beside(dir: &Path) -> Result<Option<Self>> {
        let path = Self::beside(dir);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| Error::io(path.display(), &error))?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::invalid(format!("{}: {error}", path.display()))
                .remedy("export the image again, or remove the file")
        })
    }

    /// Writes the configuration beside `dir`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_beside(&self, dir: &Path) -> Result<()> {
        let path = Self::beside(dir);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        fs::write(&path, text).map_err(|error| Error::io(path.display(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_lies_beside_the_folder() {
        assert_eq!(ImageConfig::beside(Path::new("/a/rootfs")), Path::new("/a/rootfs.json"));
    }

    #[test]
    fn oci_names_are_understood() {
        let config: ImageConfig =
            serde_json::from_str(r#"{"Env":["A=b"],"WorkingDir":"/app","Cmd":["x"]}"#).unwrap();
        assert_eq!(config.env, ["A=b"]);
        assert_eq!(config.working_dir, "/app");
        assert_eq!(config.cmd, ["x"]);
    }
}
