//! The typed values a setting may hold: durations (`"5m"`), sizes (`"64MiB"`) and switches.

use std::time::Duration;

/// Reads a duration such as `250ms`, `30s`, `5m`, `2h` or `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{text}` is not a duration such as 250ms, 30s, 5m or 2h")),
    };
    number
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is not a duration such as 250ms, 30s, 5m or 2h"))
}

/// Reads a size in bytes such as `65536`, `64KiB`, `8MiB` or `1GiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(format!("`{text}` is not a size such as 64KiB, 8MiB or 1GiB")),
    };
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("`{text}` is not a size such as 64KiB, 8MiB or 1GiB"))
}

/// Reads a switch.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

fn split(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.parse().ok(), unit.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_and_a_size_carry_their_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("12"), Ok(12));
    }

    #[test]
    fn a_value_without_a_known_unit_or_too_big_is_refused() {
        for text in ["", "5", "m", "5 weeks", "99999999999999999999s", "18446744073709551615d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "MiB", "5MB", "-1", "18446744073709551615TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
