//! What the process asks of the kernel for itself.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_nofile() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Lowers the scheduling weight of the calling thread, so that the shards go first.
pub fn lower_priority() {
    const NICE: libc::c_int = 5;
    // SAFETY: takes no pointers; process 0 means the calling thread on Linux. Failure leaves the weight as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
