//! The state directory, and files in it that only the daemon may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::RngCore;

use crate::config::facts::Facts;

/// A state file that cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct StateError {
    pub path: PathBuf,
    pub problem: String,
}

impl StateError {
    pub fn new(path: &Path, problem: impl ToString) -> StateError {
        StateError { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// Returns the directory that holds where none is given.
pub fn default_directory(facts: &Facts) -> Option<PathBuf> {
    let of_user = || facts.user_state_home.as_ref().map(|home| home.join("turnpike"));
    let of_root = || facts.root.then(|| PathBuf::from("/var/lib/turnpike"));
    facts.state_directory.clone().or_else(of_root).or_else(of_user)
}

/// Makes the directory, and those above it, for the owner alone.
pub fn create_directory(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| StateError::new(path, format!("the state directory cannot be made: {error}")))
}

/// What `write_private` does where the file exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it; the caller reads what another process has just made.
    Keep,
    Replace,
}

/// Writes a file for the owner alone, whole or not at all, and onto the disk.
pub fn write_private(path: &Path, content: &[u8], existing: Existing) -> Result<(), StateError> {
    let temporary = path.with_extension(format!("{}.new", random_text(8)));
    let written = write_and_name(&temporary, path, content, existing);
    let _ = fs::remove_file(&temporary);
    written.map_err(|error| StateError::new(path, format!("cannot be written: {error}")))
}

/// Returns what to say of a file with a secret that users other than owner and group may read or change.
pub fn warning_if_open(path: &Path) -> Option<String> {
    let is_open = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0);
    let path = path.display();
    is_open.then(|| format!("{path} holds a secret and is open to other users; run chmod o-rwx {path}"))
}

/// Returns random bytes of the operating system's generator in base64url.
pub fn random_text(bytes: usize) -> String {
    let mut buffer = zeroize::Zeroizing::new(vec![0; bytes]);
    rand::rng().fill_bytes(&mut buffer);
    BASE64_URL_SAFE_NO_PAD.encode(&*buffer)
}

fn write_and_name(temporary: &Path, path: &Path, content: &[u8], existing: Existing) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    match existing {
        Existing::Replace => fs::rename(temporary, path)?,
        Existing::Keep => match fs::hard_link(temporary, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Some file systems know no links.
            Err(_) => fs::rename(temporary, path)?,
        },
    }
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
