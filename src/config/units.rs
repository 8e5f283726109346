//! Numbers with units: counts, times, rates, port ranges.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::config::mistake::Fault;
use crate::config::types::{PortRange, Rate};

const TIME_ADVICE: &str = "write a time like 20s, 10m, 1h or 2d, or plain seconds";
const RATE_ADVICE: &str = "write a rate like 500kbit, 2mbit or 1gbit, or plain bits a second; 0 = unlimited";
const FINE_TIME_ADVICE: &str = "write a time like 200ms, 20s, 10m or 1h, or plain seconds";
const SIZE_ADVICE: &str = "write a size like 512k, 4m or 1g, or plain bytes; 0 = unlimited";
const COUNT_ADVICE: &str = "write a whole number up to 4294967295; 0 = unlimited";

/// Largest signaling message in bytes.
const LARGEST_MESSAGE: u64 = 1 << 20;
/// Sizes beyond any memory are typing errors, and their rates would not fit the buckets.
const LARGEST_SIZE: u64 = 1 << 40;

/// Reads `20s`, `10m`, `1h`, `2d` or plain seconds, up to `u32::MAX` seconds.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(Fault::new("this is not a time", TIME_ADVICE)),
    };
    let number: u64 = number.parse().map_err(|_| Fault::new("this is not a time", TIME_ADVICE))?;
    match number.checked_mul(factor) {
        Some(seconds) if seconds <= u64::from(u32::MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(Fault::new("the time is too long", "write at most 4294967295 seconds")),
    }
}

/// Reads a time that cannot be zero.
pub fn positive_duration(text: &str) -> Result<Duration, Fault> {
    match duration(text)? {
        Duration::ZERO => Err(Fault::new("zero is too short", "write at least 1s")),
        time => Ok(time),
    }
}

/// Reads a time that cannot be zero, in milliseconds (`200ms`) too.
pub fn fine_duration(text: &str) -> Result<Duration, Fault> {
    let time = match split_unit(text) {
        (number, "ms") => {
            let millis: u32 =
                number.parse().map_err(|_| Fault::new("this is not a time", FINE_TIME_ADVICE))?;
            Duration::from_millis(millis.into())
        }
        _ => duration(text).map_err(|fault| Fault { advice: FINE_TIME_ADVICE.to_owned(), ..fault })?,
    };
    if time.is_zero() { Err(Fault::new("zero is too short", "write at least 1ms")) } else { Ok(time) }
}

/// Reads a time whose zero means unlimited.
pub fn limiting_duration(text: &str) -> Result<Option<Duration>, Fault> {
    duration(text).map(|time| (!time.is_zero()).then_some(time))
}

/// Reads bits a second: `500kbit`, `2mbit`, `1gbit` (decimal) or a plain number.
pub fn bitrate(text: &str) -> Result<Option<NonZeroU64>, Fault> {
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "bit" => 1,
        "kbit" => 1_000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => return Err(Fault::new("this is not a bit rate", RATE_ADVICE)),
    };
    let number: u64 = number.parse().map_err(|_| Fault::new("this is not a bit rate", RATE_ADVICE))?;
    let rate = number.checked_mul(factor).ok_or_else(|| Fault::new("the rate is too high", RATE_ADVICE))?;
    Ok(NonZeroU64::new(rate))
}

/// Reads bytes whose zero means unlimited: `512k`, `4m`, `1g` (powers of 1024) or a plain number.
pub fn size(text: &str) -> Result<Option<NonZeroU64>, Fault> {
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(Fault::new("this is not a size", SIZE_ADVICE)),
    };
    let number: u64 = number.parse().map_err(|_| Fault::new("this is not a size", SIZE_ADVICE))?;
    let bytes = number.checked_mul(factor).filter(|bytes| *bytes <= LARGEST_SIZE);
    bytes.map(NonZeroU64::new).ok_or_else(|| Fault::new("the size is too large", SIZE_ADVICE))
}

/// Reads the size of a message, at most 1 MiB; zero means unlimited.
pub fn message_size(text: &str) -> Result<Option<NonZeroU64>, Fault> {
    match size(text)? {
        Some(bytes) if bytes.get() > LARGEST_MESSAGE => {
            Err(Fault::new("a message cannot be that large", "write at most 1m"))
        }
        size => Ok(size),
    }
}

/// Reads `RATE/BURST` of whole numbers; a rate of zero means unlimited, and may stand alone.
pub fn message_rate(text: &str) -> Result<Option<Rate>, Fault> {
    let number = |text: &str| count(text).map(|count| count.map(NonZeroU64::from));
    rate_and_burst(text, "write RATE/BURST, like 50/200; 0 = unlimited", number)
}

/// Reads `RATE/BURST` of sizes; a rate of zero means unlimited, and may stand alone.
pub fn byte_rate(text: &str) -> Result<Option<Rate>, Fault> {
    rate_and_burst(text, "write RATE/BURST, like 512k/4m; 0 = unlimited", size)
}

fn rate_and_burst(
    text: &str,
    advice: &str,
    number: impl Fn(&str) -> Result<Option<NonZeroU64>, Fault>,
) -> Result<Option<Rate>, Fault> {
    let (rate, burst) = match text.split_once('/') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    let read = |text: &str| number(text).map_err(|fault| Fault { advice: advice.to_owned(), ..fault });
    let per_second = read(rate)?;
    let burst = burst.map(read).transpose()?;
    match (per_second, burst) {
        (None, _) => Ok(None),
        (Some(_), None) => Err(Fault::new("the burst is missing", advice)),
        (Some(_), Some(None)) => Err(Fault::new("with a burst of zero nothing ever passes", advice)),
        (Some(per_second), Some(Some(burst))) => {
            Ok(Some(Rate { per_second: per_second.get(), burst: burst.get() }))
        }
    }
}

/// Reads a limit whose zero means unlimited.
pub fn count(text: &str) -> Result<Option<NonZeroU32>, Fault> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::new("this is not a number", COUNT_ADVICE));
    }
    let number: u32 = text.parse().map_err(|_| Fault::new("this is not a number", COUNT_ADVICE))?;
    Ok(NonZeroU32::new(number))
}

/// Reads the number of shards.
pub fn workers(text: &str) -> Result<u8, Fault> {
    match text.parse() {
        Ok(0) | Err(_) => Err(Fault::new("this is not a possible number of workers", "write 1 to 255")),
        Ok(number) => Ok(number),
    }
}

/// Reads `true` or `false` and their usual synonyms.
pub fn switch(text: &str) -> Result<bool, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(Fault::new("this is neither yes nor no", "write true or false")),
    }
}

/// Reads `MIN-MAX` within 1024 to 65535.
pub fn port_range(text: &str) -> Result<PortRange, Fault> {
    let advice = "write MIN-MAX, like 49152-65535";
    let bad = || Fault::new("this is not a range of ports", advice);
    let (min, max) = text.split_once('-').ok_or_else(bad)?;
    let (min, max): (u32, u32) =
        (min.trim().parse().map_err(|_| bad())?, max.trim().parse().map_err(|_| bad())?);
    if min > max {
        return Err(Fault::new("the first port is above the last", format!("write {max}-{min}")));
    }
    match (u16::try_from(min), u16::try_from(max)) {
        (Ok(min @ 1024..), Ok(max)) => Ok(PortRange { min, max }),
        _ => Err(Fault::new("relay ports lie between 1024 and 65535", advice)),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_units_and_plain_seconds() {
        for (text, seconds) in
            [("20s", 20), ("10m", 600), ("1h", 3600), ("24h", 86400), ("7", 7), ("2d", 172_800)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "h", "-1", "1.5h", "1 week", "5000000000", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_decimal_and_zero_is_unlimited() {
        for (text, rate) in [("2mbit", 2_000_000), ("500kbit", 500_000), ("1Gbit", 1_000_000_000), ("64", 64)]
        {
            assert_eq!(bitrate(text), Ok(NonZeroU64::new(rate)), "{text}");
        }
        assert_eq!(bitrate("0"), Ok(None));
        for bad in ["", "mbit", "2mb", "2MB", "-1", "18446744073709551615gbit"] {
            assert!(bitrate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fine_times_take_milliseconds_and_are_never_zero() {
        for (text, millis) in [("200ms", 200), ("1ms", 1), ("30s", 30_000), ("2", 2000), ("1m", 60_000)] {
            assert_eq!(fine_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "0", "0ms", "0s", "ms", "1.5s", "200us", "-1ms", "5000000000ms"] {
            assert!(fine_duration(bad).is_err(), "{bad}");
        }
        assert!(duration("200ms").is_err());
    }

    #[test]
    fn sizes_are_binary_and_zero_is_unlimited() {
        for (text, bytes) in [("512k", 512 << 10), ("4M", 4 << 20), ("1GiB", 1 << 30), ("7", 7)] {
            assert_eq!(size(text), Ok(NonZeroU64::new(bytes)), "{text}");
        }
        assert_eq!(size("0"), Ok(None));
        assert_eq!(size("0m"), Ok(None));
        for bad in ["", "k", "4mb", "1.5m", "-1", "2000g", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(message_size("1m"), Ok(NonZeroU64::new(1 << 20)));
        assert_eq!(message_size("0"), Ok(None));
        assert!(message_size("1048577").unwrap_err().advice.contains("1m"));
    }

    #[test]
    fn rates_stand_before_their_bursts() {
        assert_eq!(message_rate("50/200"), Ok(Some(Rate { per_second: 50, burst: 200 })));
        assert_eq!(byte_rate("512k/4m"), Ok(Some(Rate { per_second: 512 << 10, burst: 4 << 20 })));
        for unlimited in ["0", "0/0", "0/200"] {
            assert_eq!((message_rate(unlimited), byte_rate(unlimited)), (Ok(None), Ok(None)));
        }
        for bad in ["", "50", "50/", "/200", "50/0", "50/200/1", "a/b", "-1/5"] {
            assert!(message_rate(bad).is_err() && byte_rate(bad).is_err(), "{bad}");
        }
        assert!(message_rate("5k/10k").is_err());
        assert!(message_rate("50").unwrap_err().advice.contains("50/200"));
    }

    #[test]
    fn counts_are_whole_numbers() {
        assert_eq!(count("0"), Ok(None));
        assert_eq!(count("5"), Ok(NonZeroU32::new(5)));
        for bad in ["", "+5", "-1", "1.0", "4294967296", "many"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn port_ranges_are_ordered_and_unprivileged() {
        assert_eq!(port_range("1024-65535"), Ok(PortRange { min: 1024, max: 65535 }));
        assert_eq!(port_range("5000-5000"), Ok(PortRange { min: 5000, max: 5000 }));
        assert_eq!(port_range("60000-50000").unwrap_err().advice, "write 50000-60000");
        for bad in ["", "5000", "1023-2000", "5000-65536", "a-b", "1-2-3"] {
            assert!(port_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn workers_lie_between_one_and_255() {
        assert_eq!(workers("255"), Ok(255));
        for bad in ["0", "256", "-1", ""] {
            assert!(workers(bad).is_err(), "{bad}");
        }
    }
}
