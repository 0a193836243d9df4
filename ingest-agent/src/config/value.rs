//! The types that a value can have in a file: sizes like `"64MiB"`, durations like `"5m"`, addresses, names.
//!
//! A number or a truth value may also be written as a string, because that is what the environment gives.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use command_line::values;
use contract::SinkName;
use toml::Value;

/// A type that a configuration value can be read as.
pub(super) trait FromValue: Sized {
    /// What belongs here, for the message: completes "... is not".
    const WHAT: &'static str;
    fn from_value(value: &Value) -> Option<Self>;
    /// What is wrong with a value that cannot be read, where more can be said than [`WHAT`](Self::WHAT).
    fn hint(_: &Value) -> Option<String> {
        None
    }
}

/// A number of bytes: `"64MiB"`, `"10GB"`, `"512B"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl FromValue for Size {
    const WHAT: &'static str = "a size, such as \"64MiB\"";
    fn from_value(value: &Value) -> Option<Self> {
        let (number, unit) = number_and_unit(value.as_str()?)?;
        let scale: u64 = match unit {
            "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1000 * 1000,
            "GB" => 1000 * 1000 * 1000,
            "TB" => 1000 * 1000 * 1000 * 1000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return None,
        };
        number.checked_mul(scale).map(Self)
    }
}

impl FromValue for Duration {
    const WHAT: &'static str = "a duration, such as \"30s\" or \"5m\"";
    fn from_value(value: &Value) -> Option<Self> {
        let (number, unit) = number_and_unit(value.as_str()?)?;
        let seconds = |scale: u64| number.checked_mul(scale).map(Self::from_secs);
        match unit {
            "ms" => Some(Self::from_millis(number)),
            "s" => seconds(1),
            "m" | "min" => seconds(60),
            "h" => seconds(60 * 60),
            "d" => seconds(24 * 60 * 60),
            _ => None,
        }
    }
}

impl FromValue for u64 {
    const WHAT: &'static str = "a whole number";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Self::try_from(*number).ok(),
            Value::String(text) => text.replace('_', "").parse().ok(),
            _ => None,
        }
    }
}

impl FromValue for i32 {
    const WHAT: &'static str = "a whole number";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Self::try_from(*number).ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl FromValue for bool {
    const WHAT: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl FromValue for String {
    const WHAT: &'static str = "text in quotes";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

/// A word, where true and false are words too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

impl FromValue for Word {
    const WHAT: &'static str = "true, false or a word in quotes";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned).or_else(|| value.as_bool().map(|truth| truth.to_string())).map(Self)
    }
}

impl FromValue for PathBuf {
    const WHAT: &'static str = "a path";
    fn from_value(value: &Value) -> Option<Self> {
        values::path(value.as_str()?).ok()
    }
    fn hint(value: &Value) -> Option<String> {
        values::path(value.as_str()?).err()
    }
}

impl FromValue for SocketAddr {
    const WHAT: &'static str = "an address and port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    fn from_value(value: &Value) -> Option<Self> {
        values::listen_address(value.as_str()?).ok()
    }
    fn hint(value: &Value) -> Option<String> {
        match value {
            Value::Integer(port) => values::listen_address(&port.to_string()).err(),
            _ => values::listen_address(value.as_str()?).err(),
        }
    }
}

impl FromValue for SinkName {
    const WHAT: &'static str = "a name of 1 to 32 of a-z, 0-9 and _";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

/// One name, or several in brackets.
pub(super) struct Names(pub(super) Vec<SinkName>);

impl FromValue for Names {
    const WHAT: &'static str = "a name, or a list of names in brackets";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(names) => names.iter().map(SinkName::from_value).collect::<Option<_>>().map(Self),
            name => SinkName::from_value(name).map(|name| Self(vec![name])),
        }
    }
}

/// One text, or several in brackets.
pub(super) struct Texts(pub(super) Vec<String>);

impl FromValue for Texts {
    const WHAT: &'static str = "text in quotes, or a list of texts in brackets";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Array(texts) => texts.iter().map(String::from_value).collect::<Option<_>>().map(Self),
            text => String::from_value(text).map(|text| Self(vec![text])),
        }
    }
}

impl From<Size> for u64 {
    fn from(Size(bytes): Size) -> Self {
        bytes
    }
}

/// Splits `"64MiB"` or `"64 MiB"`; only whole numbers, so that nothing is rounded behind anyone's back.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (number, unit) = text.split_at(digits);
    Some((number.replace('_', "").parse().ok()?, unit.trim_start()))
}
