//! Numbers with units: counts, times, rates, port ranges.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::config::mistake::Fault;
use crate::config::types::PortRange;

const TIME_ADVICE: &str = "write a time like 20s, 10m, 1h or 2d, or plain seconds";
const RATE_ADVICE: &str = "write a rate like 500kbit, 2mbit or 1gbit, or plain bits a second; 0 = unlimited";
const COUNT_ADVICE: &str = "write a whole number up to 4294967295; 0 = unlimited";

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
