//! The names of channels, sinks and cuts, and the one text form of each.
//!
//! A cut id stands in object keys, metadata, journals and logs, so its text is canonical: whatever
//! parses prints as the same text again, and two texts never mean the same cut.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The random 128 bits that are a channel's identity, made with its directory and never configured.
///
/// Its text is 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelId(pub [u8; 16]);

/// The name of a sink, and likewise of a source or a channel: 1 to 32 of `a-z`, `0-9` and `_`.
///
/// It has no `-` and no `.`, so that it can stand inside a [`CutId`] and in a file's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SinkName(Box<str>);

/// Which cut: the number is dense per channel and sink, and starts where the sink says.
///
/// Its text is `<channel>-<sink>-<number>`, the number in at least 12 digits so that keys of one sink
/// sort in the order in which they were sealed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CutId {
    /// The channel that holds the events.
    pub channel: ChannelId,
    /// The sink that sealed the cut.
    pub sink: SinkName,
    /// The cut's number.
    pub number: u64,
}

/// Why a text is not the id that it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not 32 lower-case hexadecimal digits.
    #[error("\"{0}\" is not a channel id of 32 lower-case hexadecimal digits")]
    Channel(String),
    /// Not `<channel>-<sink>-<number>` in its canonical form.
    #[error("\"{0}\" is not a cut id of the form <channel id>-<sink>-<number of at least 12 digits>")]
    Cut(String),
}

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a name of 1 to {max} of a-z, 0-9 and _", max = SinkName::MAX_BYTES)]
pub struct NameError(String);

// === impl ChannelId ===

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({self})")
    }
}

impl FromStr for ChannelId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let canonical = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if canonical => Ok(Self(bytes)),
            _ => Err(IdError::Channel(text.to_owned())),
        }
    }
}

// === impl SinkName ===

impl SinkName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SinkName({self})")
    }
}

impl AsRef<str> for SinkName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for SinkName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError(text.to_owned()))
        }
    }
}

// === impl CutId ===

impl fmt::Display for CutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:012}", self.channel, self.sink, self.number)
    }
}

impl fmt::Debug for CutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CutId({self})")
    }
}

impl FromStr for CutId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = || {
            let (channel, rest) = text.split_once('-')?;
            let (sink, number) = rest.split_once('-')?;
            let canonical = number.bytes().all(|byte| byte.is_ascii_digit())
                && (number.len() == 12 || (number.len() > 12 && !number.starts_with('0')));
            canonical.then_some(())?;
            Some(Self {
                channel: channel.parse().ok()?,
                sink: sink.parse().ok()?,
                number: number.parse().ok()?,
            })
        };
        parts().ok_or_else(|| IdError::Cut(text.to_owned()))
    }
}

/// An id is one string in JSON: its text.
macro_rules! as_string {
    ($id:ty, $error:ty) => {
        impl TryFrom<String> for $id {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }
    };
}

as_string!(ChannelId, IdError);
as_string!(SinkName, NameError);
as_string!(CutId, IdError);

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_cut() -> impl Strategy<Value = CutId> {
        (any::<[u8; 16]>(), "[a-z0-9_]{1,32}", any::<u64>()).prop_map(|(channel, sink, number)| CutId {
            channel: ChannelId(channel),
            sink: sink.parse().unwrap(),
            number,
        })
    }

    proptest! {
        #[test]
        fn every_cut_id_reads_back_from_its_text_and_from_json(cut in any_cut()) {
            prop_assert_eq!(&cut.to_string().parse::<CutId>().unwrap(), &cut);
            let json = serde_json::to_string(&cut).unwrap();
            prop_assert_eq!(serde_json::from_str::<CutId>(&json).unwrap(), cut);
        }

        #[test]
        fn a_text_that_parses_prints_as_itself(
            text in "[0-9a-fA-F]{32}-[a-zA-Z0-9_-]{0,34}-[+0-9]{10,21}",
        ) {
            if let Ok(cut) = text.parse::<CutId>() {
                prop_assert_eq!(cut.to_string(), text);
            }
        }

        #[test]
        fn texts_of_one_sink_sort_as_the_cuts_do(cut in any_cut(), a in 0..10u64.pow(12), b in 0..10u64.pow(12)) {
            let text = |number| CutId { number, ..cut.clone() }.to_string();
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
        }
    }

    #[test]
    fn a_cut_id_looks_like_this() {
        let cut = CutId { channel: ChannelId([0xab; 16]), sink: "s3_main".parse().unwrap(), number: 42 };
        assert_eq!(cut.to_string(), "abababababababababababababababab-s3_main-000000000042");
        let largest = CutId { number: u64::MAX, ..cut };
        assert_eq!(largest.to_string().parse(), Ok(largest));
    }

    #[test]
    fn what_is_not_canonical_is_no_id() {
        let channel = "ab".repeat(16);
        assert!(channel.parse::<ChannelId>().is_ok());
        for text in ["", "ab", &channel.to_uppercase(), &format!("{channel}0"), &format!(" {channel}")] {
            assert!(text.parse::<ChannelId>().is_err(), "{text}");
        }
        for name in ["", "a-b", "A", "a.b", "a b", "\u{e9}", &"a".repeat(33)] {
            assert!(name.parse::<SinkName>().is_err(), "{name}");
        }
        for tail in [
            "",
            "-s3",
            "-s3-42",
            "-s3-0000000000042",
            "-s3-+00000000042",
            "-s3--000000000042",
            "--000000000042",
        ] {
            assert!(format!("{channel}{tail}").parse::<CutId>().is_err(), "{tail}");
        }
        assert!(format!("{channel}-s3-99999999999999999999").parse::<CutId>().is_err(), "more than 64 bits");
    }
}
