//! Waiting for sockets: level-triggered epoll with a grain of nanoseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Interest = Interest { read: true, write: false };

    fn bits(self) -> u32 {
        let read = if self.read { libc::EPOLLIN | libc::EPOLLRDHUP } else { 0 };
        let write = if self.write { libc::EPOLLOUT } else { 0 };
        (read | write) as u32
    }
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) failed: bool,
}

/// An epoll set. A descriptor leaves it when it is closed.
pub(crate) struct Poll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    ready: usize,
    has_pwait2: bool,
}

impl Poll {
    /// Descriptors reported by one wait; the rest are reported by the next.
    const EVENTS: usize = 256;

    pub(crate) fn new() -> io::Result<Poll> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; Poll::EVENTS];
        Ok(Poll { fd, events, ready: 0, has_pwait2: true })
    }

    pub(crate) fn add(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    pub(crate) fn change(&self, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, what: libc::c_int, fd: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.bits(), u64: token };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open, and the event lives through the call.
        let done = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), what, fd, &raw mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something is ready or the time is over; none waits without end.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.ready = 0;
        let mut count = if self.has_pwait2 { self.pwait2(timeout) } else { self.wait_ms(timeout) };
        if let Err(error) = &count
            && error.raw_os_error() == Some(libc::ENOSYS)
        {
            self.has_pwait2 = false;
            count = self.wait_ms(timeout);
        }
        match count {
            Ok(count) => self.ready = count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns how many descriptors the last wait reported.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// Returns one of the descriptors that the last wait reported.
    pub(crate) fn event(&self, index: usize) -> Ready {
        let event = self.events[index];
        let has = |bits: libc::c_int| event.events & bits as u32 != 0;
        Ready {
            token: event.u64,
            readable: has(libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR),
            writable: has(libc::EPOLLOUT),
            failed: has(libc::EPOLLHUP | libc::EPOLLERR),
        }
    }

    fn pwait2(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let time = timeout.map(|span| libc::timespec {
            tv_sec: libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: span.subsec_nanos().into(),
        });
        // SAFETY: the events and the time live through the call; no signal mask is given.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                time.as_ref().map_or(ptr::null(), ptr::from_ref),
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn wait_ms(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let ms = timeout.map_or(-1, |span| {
            libc::c_int::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
        });
        // SAFETY: the events live through the call.
        let count = unsafe {
            let (events, len) = (self.events.as_mut_ptr(), self.events.len() as libc::c_int);
            libc::epoll_wait(self.fd.as_raw_fd(), events, len, ms)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::engine::wake::Bell;

    #[test]
    fn a_bell_wakes_the_waiting_thread_until_it_is_silenced() {
        for has_pwait2 in [true, false] {
            let (mut poll, bell) = (Poll::new().unwrap(), Bell::new().unwrap());
            poll.has_pwait2 = has_pwait2;
            poll.add(&bell, 77, Interest::READ).unwrap();
            bell.ring();
            for _ in 0..2 {
                poll.wait(None).unwrap();
                assert_eq!((poll.ready(), poll.event(0).token), (1, 77));
            }
            bell.silence();
            poll.wait(Some(Duration::ZERO)).unwrap();
            assert_eq!(poll.ready(), 0);
        }
    }
}
