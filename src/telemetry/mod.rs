//! Logs: structured, redacted, and safe against text from outside.

pub mod escape;
pub mod redact;
pub mod settings;

use std::io::{self, Write};
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

pub use escape::Subject;
pub use redact::{ClientAddr, PeerAddrLog};
pub use settings::{AddressPolicy, LogConfig, LogFormat, LogLevel};

/// Target of the lines that name the bound addresses, which are logged at every level.
pub const LISTENING: &str = "turnpike::listening";

/// Writes what is still queued when it is dropped.
#[must_use]
pub struct Logging(#[expect(dead_code, reason = "held until it is dropped")] WorkerGuard);

/// Sets up logging of the whole process, once; a second call changes nothing but the address policy.
///
/// Lines go through a bounded queue to a thread of their own: whoever reads them slowly stops no media
/// thread. When the queue is full, lines are lost.
pub fn init(config: &LogConfig) -> Logging {
    redact::set_policy(config.addresses, config.level);
    let lines = SafeLines { writer: io::stderr(), escape: escape_for(config.format) };
    let (writer, guard) = tracing_appender::non_blocking(lines);
    let (subscriber, handle) = subscriber(config, writer);
    if subscriber.try_init().is_ok() {
        let _ = LEVELS.set(handle);
    }
    Logging(guard)
}

/// Puts other levels and another address policy in force; the format stays.
pub fn set_levels(config: &LogConfig) {
    redact::set_policy(config.addresses, config.level);
    if let Some(handle) = LEVELS.get() {
        // It fails only once the subscriber is gone, at the end of the process.
        let _ = handle.reload(targets(config.level));
    }
}

/// The way to the filter of the process's subscriber.
static LEVELS: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

fn targets(of: LogLevel) -> Targets {
    let own = level(of);
    // What libraries say is not redacted, so only their warnings get through.
    Targets::new()
        .with_target("turnpike", own)
        .with_target(LISTENING, LevelFilter::INFO)
        .with_default(own.min(LevelFilter::WARN))
}

fn subscriber<W>(
    config: &LogConfig,
    writer: W,
) -> (impl Subscriber + Send + Sync, reload::Handle<Targets, Registry>)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (targets, handle) = reload::Layer::new(targets(config.level));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let lines = match config.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    (tracing_subscriber::registry().with(lines.with_filter(targets)), handle)
}

fn escape_for(format: LogFormat) -> fn(&str) -> String {
    match format {
        LogFormat::Text => escape::line,
        LogFormat::Json => escape::json_line,
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Writes whole events, one line each whatever is in them.
struct SafeLines<W> {
    writer: W,
    escape: fn(&str) -> String,
}

impl<W: Write> Write for SafeLines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        let mut safe = (self.escape)(&String::from_utf8_lossy(line));
        safe.push('\n');
        self.writer.write_all(safe.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Capture(Arc<Mutex<Vec<u8>>>);

    impl Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel, log: impl FnOnce()) -> String {
        let capture = Capture::default();
        let config = LogConfig { format, level, addresses: AddressPolicy::Prefix };
        let writer = capture.clone();
        let (subscriber, _) = subscriber(&config, move || SafeLines {
            writer: writer.clone(),
            escape: escape_for(config.format),
        });
        tracing::subscriber::with_default(subscriber, log);
        let bytes = capture.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn nothing_from_outside_starts_a_line_or_an_escape_sequence() {
        let evil = "a\u{1b}[31m\r\nlevel=ERROR \u{9b}2J\u{202e}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, LogLevel::Info, || {
                tracing::info!(plain = %evil, debug = ?evil, subject = %Subject::from(evil), "said {evil}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{text:?}");
            assert!(!text.contains('\u{202e}'), "{text:?}");
        }
    }

    #[test]
    fn json_lines_are_json() {
        let text = logged(LogFormat::Json, LogLevel::Info, || {
            tracing::info!(subject = %Subject::from("a\"\u{1b}\u{202e}b"), "hello");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "hello");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["subject"], "\"a\\\"\\u{1b}\\u{202e}b\"");
    }

    #[test]
    fn levels_hold_for_us_and_only_warnings_for_libraries() {
        let text = logged(LogFormat::Text, LogLevel::Debug, || {
            tracing::debug!(target: "turnpike::net", "ours");
            tracing::trace!(target: "turnpike::net", "too fine");
            tracing::info!(target: "rustls::conn", "theirs");
            tracing::warn!(target: "rustls::conn", "warning");
        });
        assert!(text.contains("ours") && text.contains("warning"), "{text}");
        assert!(!text.contains("too fine") && !text.contains("theirs"), "{text}");
    }

    #[test]
    fn a_client_address_in_a_line_follows_the_policy() {
        let text = logged(LogFormat::Text, LogLevel::Info, || {
            tracing::info!(client = %ClientAddr("198.51.100.77:4242".parse().unwrap()), "allocated");
        });
        assert!(text.contains("client=198.51.100.0/24"), "{text}");
        assert!(!text.contains("100.77") && !text.contains(":4242"), "{text}");
    }
}
