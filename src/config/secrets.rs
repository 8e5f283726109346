//! The secrets that the daemon makes for itself on first start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::state::{self, Existing, StateError};
use crate::config::types::Secret;

const SECRET_BYTES: usize = 32;

/// A secret that is made where none is given; each is a file of the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    /// Key of the HTTP API.
    ApiKey,
    /// Shared secret of TURN credentials.
    AuthSecret,
    /// Shared secret of join tokens.
    TokenSecret,
}

impl Generated {
    /// Returns the path in a state directory.
    pub fn path(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Generated::ApiKey => "api-key",
            Generated::AuthSecret => "auth-secret",
            Generated::TokenSecret => "token-secret",
        })
    }

    /// Reads the secret, `None` before the first start.
    pub fn read(self, directory: &Path) -> Result<Option<Secret>, StateError> {
        let path = self.path(directory);
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) if text.trim().is_empty() => {
                Err(StateError::new(&path, "is empty; remove it to make a new one"))
            }
            Ok(text) => Ok(Some(Secret::new(text.trim()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::new(&path, format!("cannot be read: {error}"))),
        }
    }

    /// Reads the secret or makes it; the flag tells whether it is new.
    pub fn read_or_make(self, directory: &Path) -> Result<(Secret, bool), StateError> {
        if let Some(secret) = self.read(directory)? {
            return Ok((secret, false));
        }
        state::create_directory(directory)?;
        let path = self.path(directory);
        let text = Zeroizing::new(format!("{}\n", state::random_text(SECRET_BYTES)));
        state::write_private(&path, text.as_bytes(), Existing::Keep)?;
        let secret = self.read(directory)?;
        secret
            .map(|secret| (secret, true))
            .ok_or_else(|| StateError::new(&path, "vanished while it was made"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_for_the_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        assert!(Generated::AuthSecret.read(&directory).unwrap().is_none());
        let (made, new) = Generated::AuthSecret.read_or_make(&directory).unwrap();
        assert!(new);
        assert_eq!(made.expose().len(), 43);
        let (read, new) = Generated::AuthSecret.read_or_make(&directory).unwrap();
        assert!(!new);
        assert_eq!(made.expose(), read.expose());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&Generated::AuthSecret.path(&directory)), 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_made_meanwhile_by_another_process_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = Generated::AuthSecret.path(directory.path());
        state::write_private(&path, b"first\n", Existing::Keep).unwrap();
        state::write_private(&path, b"second\n", Existing::Keep).unwrap();
        assert_eq!(Generated::AuthSecret.read(directory.path()).unwrap().unwrap().expose(), "first");
    }

    #[test]
    fn an_empty_secret_file_is_an_error_and_not_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(Generated::AuthSecret.path(directory.path()), "\n").unwrap();
        let error = Generated::AuthSecret.read_or_make(directory.path()).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}
