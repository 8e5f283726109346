//! The shared secret that the daemon makes for itself on first start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::state::{self, Existing, StateError};
use crate::config::types::Secret;

const SECRET_BYTES: usize = 32;

/// Returns the path of the generated secret in a state directory.
pub fn auth_secret_path(directory: &Path) -> PathBuf {
    directory.join("auth-secret")
}

/// Reads the generated secret, `None` before the first start.
pub fn read_auth_secret(directory: &Path) -> Result<Option<Secret>, StateError> {
    let path = auth_secret_path(directory);
    match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) if text.trim().is_empty() => {
            Err(StateError::new(&path, "is empty; remove it to make a new one"))
        }
        Ok(text) => Ok(Some(Secret::new(text.trim()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::new(&path, format!("cannot be read: {error}"))),
    }
}

/// Reads the generated secret or makes it; the flag tells whether it is new.
pub fn read_or_make_auth_secret(directory: &Path) -> Result<(Secret, bool), StateError> {
    if let Some(secret) = read_auth_secret(directory)? {
        return Ok((secret, false));
    }
    state::create_directory(directory)?;
    let path = auth_secret_path(directory);
    let text = Zeroizing::new(format!("{}\n", state::random_text(SECRET_BYTES)));
    state::write_private(&path, text.as_bytes(), Existing::Keep)?;
    let secret = read_auth_secret(directory)?;
    secret.map(|secret| (secret, true)).ok_or_else(|| StateError::new(&path, "vanished while it was made"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_for_the_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        assert!(read_auth_secret(&directory).unwrap().is_none());
        let (made, new) = read_or_make_auth_secret(&directory).unwrap();
        assert!(new);
        assert_eq!(made.expose().len(), 43);
        let (read, new) = read_or_make_auth_secret(&directory).unwrap();
        assert!(!new);
        assert_eq!(made.expose(), read.expose());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&auth_secret_path(&directory)), 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_made_meanwhile_by_another_process_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = auth_secret_path(directory.path());
        state::write_private(&path, b"first\n", Existing::Keep).unwrap();
        state::write_private(&path, b"second\n", Existing::Keep).unwrap();
        assert_eq!(read_auth_secret(directory.path()).unwrap().unwrap().expose(), "first");
    }

    #[test]
    fn an_empty_secret_file_is_an_error_and_not_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(auth_secret_path(directory.path()), "\n").unwrap();
        let error = read_or_make_auth_secret(directory.path()).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}
