//! Signals between pairs: as many as the server takes, then at a rate that does not wait for it.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::dialect::{Dialect, Heard, Talk};
use crate::link::{Link, connect};
use crate::{Fallible, Options};

const SETTLE: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(8);
const QUIET: Duration = Duration::from_secs(30);

struct Member {
    link: Link,
    talk: Talk,
    /// When each signal that the other has not heard yet was due.
    due: VecDeque<Instant>,
    heard: u64,
    answered: u64,
    is_blocked: bool,
}

struct Load {
    dialect: Dialect,
    epoll: Epoll,
    members: Vec<Member>,
    /// Which member sends next.
    turn: usize,
    pid: u64,
    latencies: Vec<Duration>,
    /// Whether a signal that is heard is followed by the next.
    is_saturating: bool,
}

struct Outcome {
    rate: u64,
    offered: u64,
    delivered: u64,
    cpu: Duration,
    time: Duration,
    p50: Duration,
    p99: Duration,
    /// How late the generator itself was, at worst.
    late: Duration,
}

pub(crate) fn run(options: &Options) -> Fallible<()> {
    let dialect = Dialect::of(options.text("--dialect")?)?;
    let mut load = Load::open(options, dialect)?;
    if let Ok(rate) = options.number("--fixed") {
        let outcome = load.offer(rate, MEASURE)?;
        writeln!(io::stdout(), "{}", outcome.report("fixed"))?;
        return Ok(());
    }
    let full = load.saturate(options.number("--window")?, MEASURE)?;
    let half = load.offer(full.rate / 2, MEASURE)?;
    for (name, outcome) in [("saturated", full), ("half", half)] {
        writeln!(io::stdout(), "{}", outcome.report(name))?;
    }
    Ok(())
}

impl Load {
    fn open(options: &Options, dialect: Dialect) -> Fallible<Load> {
        let (server, pairs) = (options.address("--server")?, usize::try_from(options.number("--pairs")?)?);
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut members: Vec<Member> = Vec::new();
        for pair in 0..pairs {
            let mut ids = Vec::new();
            for side in 0..2 {
                let mut talk = Talk::new(pair, side);
                let stream = connect(server, members.len())?;
                let mut link = Link::open(stream, &dialect.path(&talk), dialect.subprotocol())?;
                for greeting in dialect.greetings(&mut talk, true) {
                    if !greeting.is_empty() {
                        link.send(&greeting)?;
                    }
                    ids.extend(dialect.greeted(&mut talk, &link.wait()?)?);
                }
                let member =
                    Member { link, talk, due: VecDeque::new(), heard: 0, answered: 0, is_blocked: false };
                members.push(member);
            }
            for side in 0..2 {
                Dialect::meet(&mut members[2 * pair + side].talk, ids.get(1 - side));
            }
        }
        for (number, member) in members.iter().enumerate() {
            member.link.stream.set_nonblocking(true)?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll.add(member.link.stream.as_fd(), event)?;
        }
        let pid = options.number("--pid")?;
        Ok(Load { dialect, epoll, members, turn: 0, pid, latencies: Vec::new(), is_saturating: false })
    }

    /// Keeps so many signals of each member on their way for a time.
    fn saturate(&mut self, window: u64, time: Duration) -> Fallible<Outcome> {
        self.is_saturating = true;
        for _ in 0..window {
            for _ in 0..self.members.len() {
                self.send(Instant::now())?;
            }
        }
        let end = Instant::now() + SETTLE;
        while Instant::now() < end {
            self.hear(0)?;
        }
        self.measure(|load| {
            let begun = Instant::now();
            while begun.elapsed() < time {
                load.hear(0)?;
            }
            load.is_saturating = false;
            Ok((load.latencies.len() as u64, Duration::ZERO))
        })
    }

    /// Offers signals at a rate for a time, whatever the server does.
    fn offer(&mut self, rate: u64, time: Duration) -> Fallible<Outcome> {
        self.talk(rate, SETTLE)?;
        self.measure(|load| load.talk(rate, time))
    }

    /// Measures what is done, then waits for those signals that are on their way.
    fn measure(&mut self, work: impl FnOnce(&mut Load) -> Fallible<(u64, Duration)>) -> Fallible<Outcome> {
        self.latencies.clear();
        let (cpu, begun) = (cpu_time(self.pid)?, Instant::now());
        let (offered, late) = work(self)?;
        let (cpu, time) = (cpu_time(self.pid)?.saturating_sub(cpu), begun.elapsed());
        let delivered = self.latencies.len() as u64;
        let end = Instant::now();
        while self.members.iter().any(|one| !one.is_done(self.dialect)) {
            self.hear(1)?;
            if end.elapsed() > QUIET {
                return Err("signals or answers are missing".into());
            }
        }
        self.latencies.sort_unstable();
        let at = |percent: usize| {
            let last = self.latencies.len().saturating_sub(1);
            self.latencies.get((self.latencies.len() * percent / 100).min(last)).copied().unwrap_or_default()
        };
        let rate = (delivered as f64 / time.as_secs_f64()) as u64;
        Ok(Outcome { rate, offered, delivered, cpu, time, p50: at(50), p99: at(99), late })
    }

    /// Sends what falls due and hears what comes for a time. Returns how many signals were due, and how late the
    /// generator itself was at worst.
    fn talk(&mut self, rate: u64, time: Duration) -> Fallible<(u64, Duration)> {
        let (begun, mut late) = (Instant::now(), Duration::ZERO);
        let all = rate * u64::try_from(time.as_millis())? / 1000;
        let mut offered = 0;
        while begun.elapsed() < time {
            // What comes is heard between sends too: neither starves.
            for _ in 0..16 {
                let due = begun + Duration::from_nanos(1_000_000_000 * offered / rate);
                let since = Instant::now().checked_duration_since(due);
                let Some(since) = since.filter(|_| offered < all) else { break };
                late = since.max(late);
                self.send(due)?;
                offered += 1;
            }
            self.hear(0)?;
        }
        Ok((offered, late))
    }

    fn send(&mut self, due: Instant) -> Fallible<()> {
        let member = &mut self.members[self.turn];
        let text = self.dialect.signal(&mut member.talk);
        member.due.push_back(due);
        if !member.link.send(&text)? && !member.is_blocked {
            member.is_blocked = true;
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT, self.turn as u64);
            self.epoll.modify(member.link.stream.as_fd(), &mut event)?;
        }
        self.turn = (self.turn + 1) % self.members.len();
        Ok(())
    }

    fn hear(&mut self, wait_ms: u8) -> Fallible<()> {
        let mut events = [EpollEvent::empty(); 64];
        let ready = self.epoll.wait(&mut events, EpollTimeout::from(wait_ms))?;
        for event in &events[..ready] {
            let number = usize::try_from(event.data())?;
            if event.events().contains(EpollFlags::EPOLLOUT) && self.members[number].link.flush()? {
                let member = &mut self.members[number];
                member.is_blocked = false;
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
                self.epoll.modify(member.link.stream.as_fd(), &mut event)?;
            }
            if event.events().contains(EpollFlags::EPOLLIN) {
                self.members[number].link.receive()?;
                while let Some(text) = self.members[number].link.message()? {
                    self.take(number, &text)?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, number: usize, text: &str) -> Fallible<()> {
        let member = &mut self.members[number];
        match self.dialect.hear(&mut member.talk, text)? {
            Heard::Answer => member.answered += 1,
            Heard::Ping(answer) => _ = member.link.send(&answer)?,
            Heard::Other => {}
            Heard::Signal(signal) => {
                member.heard += 1;
                if signal != member.heard {
                    return Err(format!("signal {signal} where {} was next", member.heard).into());
                }
                let due = self.members[number ^ 1].due.pop_front().ok_or("a signal that nobody sent")?;
                self.latencies.push(due.elapsed());
                if self.is_saturating {
                    self.turn = number ^ 1;
                    self.send(Instant::now())?;
                }
            }
        }
        Ok(())
    }
}

impl Member {
    fn is_done(&self, dialect: Dialect) -> bool {
        self.due.is_empty() && (!dialect.answers() || self.answered == self.talk.sent)
    }
}

impl Outcome {
    fn report(&self, name: &str) -> String {
        let micros = |time: Duration| time.as_micros();
        let each = self.cpu.as_secs_f64() * 1e6 / self.delivered.max(1) as f64;
        let busy = 100.0 * self.cpu.as_secs_f64() / self.time.as_secs_f64();
        format!(
            r#"{{"load":"{name}","rate":{},"offered":{},"delivered":{},"cpuMicros":{each:.2},"busyPercent":{busy:.0},"p50Micros":{},"p99Micros":{},"generatorLateMicros":{}}}"#,
            self.rate,
            self.offered,
            self.delivered,
            micros(self.p50),
            micros(self.p99),
            micros(self.late)
        )
    }
}

/// Time that all threads of a process have run.
fn cpu_time(pid: u64) -> Fallible<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}
