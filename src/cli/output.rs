//! Standard output and standard error, where a person or a script reads.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// Tells whether standard output is a terminal or a plain file, and not the journal.
pub fn is_for_a_person() -> bool {
    let stdout = io::stdout();
    let is_file = || {
        let file = stdout.as_fd().try_clone_to_owned().map(File::from);
        file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
    };
    stdout.is_terminal() || (env::var_os("JOURNAL_STREAM").is_none() && is_file())
}

/// Prints on standard output; a reader that went away is no mistake.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints on standard error.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
