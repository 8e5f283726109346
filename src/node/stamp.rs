//! Whether a file that is followed has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often a file is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, u64, i64, i64, u64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Stamp {
        let found = fs::metadata(path).ok();
        Stamp(found.map(|file| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len())))
    }
}
