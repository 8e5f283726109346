//! Where the admin socket is: for the daemon that binds it, and for the commands that look for it.

use std::path::{Path, PathBuf};

use crate::config::facts::Facts;
use crate::config::mistake::Fault;
use crate::config::reader::{self, Reader};
use crate::config::state;
use crate::config::types::AdminSocketPath;

/// The flags that tell commands where the daemon listens.
pub const REACH_FLAGS: [&str; 3] = ["config", "state-dir", "admin-socket"];

/// Longest path of a Unix socket in bytes, with what is put behind it while it is made.
const LONGEST: usize = 96;
const NAME: &str = "admin.sock";
/// Where the packaged unit has it.
const PACKAGED: &str = "/run/turnpike/admin.sock";

/// Resolves where the daemon binds it.
pub fn socket(r: &mut Reader<'_>, facts: &Facts, state_dir: Option<&Path>) -> Option<AdminSocketPath> {
    if let Some(given) = r.single("admin-socket", path_or_off) {
        return given.map(|path| AdminSocketPath { path, is_default: false });
    }
    let directory = facts.runtime_directory.as_deref().or(state_dir)?;
    Some(AdminSocketPath { path: directory.join(NAME), is_default: true })
}

/// Resolves where commands look for it, in this order.
pub fn reach(r: &mut Reader<'_>, facts: &Facts) -> Vec<PathBuf> {
    let state_dir = r.single("state-dir", reader::path).or_else(|| state::default_directory(facts));
    match r.single("admin-socket", path_or_off) {
        Some(Some(path)) => vec![path],
        Some(None) => {
            r.blame(
                "admin-socket",
                "it is off, so there is no way to the daemon",
                "give the path of the socket",
            );
            Vec::new()
        }
        None => {
            let directories = facts.runtime_directory.iter().chain(&state_dir);
            let mut paths: Vec<PathBuf> = directories.map(|directory| directory.join(NAME)).collect();
            paths.insert(paths.len().min(1), PathBuf::from(PACKAGED));
            paths
        }
    }
}

fn path_or_off(text: &str) -> Result<Option<PathBuf>, Fault> {
    if text == "off" {
        return Ok(None);
    }
    if text.len() > LONGEST {
        return Err(Fault::new(
            "the path is too long for a socket",
            format!("write at most {LONGEST} bytes"),
        ));
    }
    reader::path(text).map(Some)
}
