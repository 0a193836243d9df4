//! What every object says about itself in its user metadata, within S3's 2 KB.
//!
//! With the cut's number and the running totals anyone who lists the bucket can show that nothing is
//! missing and nothing is double; with length and checksum a sender knows its own object again.

use std::fmt;
use std::str::FromStr;

use crate::CutId;

/// The metadata of one object. Counts are in events, positions count the channel's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMetadata {
    /// The version of this form; [`ObjectMetadata::VERSION`].
    pub version: u32,
    /// The cut that the object is.
    pub cut: CutId,
    /// Whether it holds events or dead letters.
    pub kind: CutKind,
    /// Events in the object.
    pub events: u64,
    /// The lowest position that the cut holds.
    pub first: u64,
    /// The highest position that the cut holds; in between others may be missing (see the cut's record).
    pub last: u64,
    /// Positions that this cut set aside as dead letters.
    pub set_aside: u64,
    /// Events in all objects of this channel and sink up to and with this cut.
    pub total_events: u64,
    /// Positions dead-lettered up to and with this cut.
    pub total_dead_lettered: u64,
    /// Positions lost to damage up to and with this cut.
    pub total_damaged: u64,
    /// The object's length in bytes, as stored.
    pub length: u64,
    /// The CRC32C of the object's bytes, as stored.
    pub crc32c: u32,
    /// How events became bytes, as `object_format::Format` names it: `ndjson`, `text`, `raw`, `json_lines`,
    /// `dead_letters`. ASCII, at most 32 bytes; a name that this program does not know is kept as it is.
    pub format: String,
    /// The version of that format; 1 where nothing is said.
    pub format_version: u32,
    /// What stands between two newlines of the object, as `object_format::Rows` names it: `events`, or `lines`, of which
    /// an event may be several. `None` in objects of programs that did not say. ASCII, at most 32 bytes.
    pub rows: Option<String>,
    /// How the bytes were compressed: `none`, `gzip`, `zstd`. ASCII, at most 32 bytes.
    pub codec: String,
}

/// What a cut holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutKind {
    /// Events.
    Events,
    /// Dead letters: events that could not go where they belonged.
    Dead,
}

/// Why an object's metadata cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// None of ours: somebody else's object.
    #[error("the object has no sluicegate metadata")]
    Foreign,
    /// Written by a later program.
    #[error("the object's metadata has version {0}; this program reads up to {max}", max = ObjectMetadata::VERSION)]
    Version(u32),
    /// A member is missing.
    #[error("the object's metadata lacks {0}")]
    Missing(&'static str),
    /// A member does not say what it should.
    #[error("the object's metadata says {name} = \"{value}\", which is no {what}")]
    Invalid {
        /// The member.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should be.
        what: &'static str,
    },
}

// The names without S3's own `x-amz-meta-`.
const VERSION: &str = "sluicegate-version";
const CUT: &str = "sluicegate-cut";
const KIND: &str = "sluicegate-kind";
const EVENTS: &str = "sluicegate-events";
const FIRST: &str = "sluicegate-first";
const LAST: &str = "sluicegate-last";
const SET_ASIDE: &str = "sluicegate-set-aside";
const TOTAL_EVENTS: &str = "sluicegate-total-events";
const TOTAL_DEAD_LETTERED: &str = "sluicegate-total-dead-lettered";
const TOTAL_DAMAGED: &str = "sluicegate-total-damaged";
const LENGTH: &str = "sluicegate-length";
const CRC32C: &str = "sluicegate-crc32c";
/// Its name is from when formats were called encoders.
const FORMAT: &str = "sluicegate-encoder";
const FORMAT_VERSION: &str = "sluicegate-format-version";
const ROWS: &str = "sluicegate-rows";
const CODEC: &str = "sluicegate-codec";

impl ObjectMetadata {
    /// The version that this program writes, and the highest that it reads.
    pub const VERSION: u32 = 1;

    /// Names and values as user metadata, the names without `x-amz-meta-`.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        let mut pairs = vec![
            (VERSION, self.version.to_string()),
            (CUT, self.cut.to_string()),
            (KIND, self.kind.to_string()),
            (EVENTS, self.events.to_string()),
            (FIRST, self.first.to_string()),
            (LAST, self.last.to_string()),
            (SET_ASIDE, self.set_aside.to_string()),
            (TOTAL_EVENTS, self.total_events.to_string()),
            (TOTAL_DEAD_LETTERED, self.total_dead_lettered.to_string()),
            (TOTAL_DAMAGED, self.total_damaged.to_string()),
            (LENGTH, self.length.to_string()),
            (CRC32C, format!("{:08x}", self.crc32c)),
            (FORMAT, self.format.clone()),
            (FORMAT_VERSION, self.format_version.to_string()),
            (CODEC, self.codec.clone()),
        ];
        pairs.extend(self.rows.clone().map(|rows| (ROWS, rows)));
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Reads the metadata through `get`, which answers the value of a name as [`to_pairs`](Self::to_pairs) gives it.
    pub fn from_pairs<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, MetadataError> {
        let text = |name: &'static str| get(name).ok_or(MetadataError::Missing(name));
        let number = |name| parse::<u64>(name, text(name)?, "number");
        let version = parse(VERSION, get(VERSION).ok_or(MetadataError::Foreign)?, "number")?;
        if version > Self::VERSION {
            return Err(MetadataError::Version(version));
        }
        let crc32c = text(CRC32C)?;
        Ok(Self {
            version,
            cut: parse(CUT, text(CUT)?, "cut id")?,
            kind: parse(KIND, text(KIND)?, "kind of cut")?,
            events: number(EVENTS)?,
            first: number(FIRST)?,
            last: number(LAST)?,
            set_aside: number(SET_ASIDE)?,
            total_events: number(TOTAL_EVENTS)?,
            total_dead_lettered: number(TOTAL_DEAD_LETTERED)?,
            total_damaged: number(TOTAL_DAMAGED)?,
            length: number(LENGTH)?,
            crc32c: u32::from_str_radix(crc32c, 16).map_err(|_| invalid(CRC32C, crc32c, "checksum"))?,
            format: text(FORMAT)?.to_owned(),
            format_version: get(FORMAT_VERSION)
                .map_or(Ok(1), |value| parse(FORMAT_VERSION, value, "number"))?,
            rows: get(ROWS).map(str::to_owned),
            codec: text(CODEC)?.to_owned(),
        })
    }
}

impl fmt::Display for CutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "events",
            Self::Dead => "dead",
        })
    }
}

impl FromStr for CutKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "events" => Ok(Self::Events),
            "dead" => Ok(Self::Dead),
            _ => Err(()),
        }
    }
}

fn parse<T: FromStr>(name: &'static str, value: &str, what: &'static str) -> Result<T, MetadataError> {
    value.parse().map_err(|_| invalid(name, value, what))
}

fn invalid(name: &'static str, value: &str, what: &'static str) -> MetadataError {
    MetadataError::Invalid { name, value: value.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::tests::any_cut;

    fn read(pairs: &[(String, String)]) -> Result<ObjectMetadata, MetadataError> {
        let map: HashMap<&str, &str> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        ObjectMetadata::from_pairs(|name| map.get(name).copied())
    }

    fn any_metadata() -> impl Strategy<Value = ObjectMetadata> {
        let kind = prop_oneof![Just(CutKind::Events), Just(CutKind::Dead)];
        let format = ("[ -~]{0,32}", any::<u32>(), prop::option::of("[a-z]{1,32}"));
        (any_cut(), kind, any::<[u64; 8]>(), any::<u32>(), format, "[a-z]{1,32}").prop_map(
            |(cut, kind, numbers, crc32c, (format, format_version, rows), codec)| {
                let [
                    events,
                    first,
                    last,
                    set_aside,
                    total_events,
                    total_dead_lettered,
                    total_damaged,
                    length,
                ] = numbers;
                ObjectMetadata {
                    version: ObjectMetadata::VERSION,
                    cut,
                    kind,
                    events,
                    first,
                    last,
                    set_aside,
                    total_events,
                    total_dead_lettered,
                    total_damaged,
                    length,
                    crc32c,
                    format,
                    format_version,
                    rows,
                    codec,
                }
            },
        )
    }

    fn largest() -> ObjectMetadata {
        ObjectMetadata {
            version: u32::MAX,
            cut: format!("{}-{}-{}", "f".repeat(32), "x".repeat(32), u64::MAX).parse().unwrap(),
            kind: CutKind::Events,
            events: u64::MAX,
            first: u64::MAX,
            last: u64::MAX,
            set_aside: u64::MAX,
            total_events: u64::MAX,
            total_dead_lettered: u64::MAX,
            total_damaged: u64::MAX,
            length: u64::MAX,
            crc32c: u32::MAX,
            format: "f".repeat(32),
            format_version: u32::MAX,
            rows: Some("r".repeat(32)),
            codec: "c".repeat(32),
        }
    }

    proptest! {
        #[test]
        fn every_metadata_reads_back_from_its_pairs(metadata in any_metadata()) {
            prop_assert_eq!(read(&metadata.to_pairs()), Ok(metadata));
        }
    }

    #[test]
    fn the_largest_metadata_fits_into_two_kilobytes() {
        let bytes: usize = largest()
            .to_pairs()
            .iter()
            .map(|(name, value)| "x-amz-meta-".len() + name.len() + value.len())
            .sum();
        assert!(bytes < 2048, "{bytes}");
    }

    #[test]
    fn names_and_values_survive_http_headers() {
        for (name, value) in largest().to_pairs() {
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(value.is_ascii());
        }
    }

    #[test]
    fn what_is_foreign_newer_missing_or_wrong_is_told_apart() {
        assert_eq!(read(&[]), Err(MetadataError::Foreign));
        assert_eq!(read(&largest().to_pairs()), Err(MetadataError::Version(u32::MAX)));

        let good = ObjectMetadata { version: 1, ..largest() }.to_pairs();
        for (at, (name, _)) in good.iter().enumerate().skip(1) {
            if name == FORMAT_VERSION || name == ROWS {
                continue;
            }
            let mut pairs = good.clone();
            pairs.remove(at);
            assert!(matches!(read(&pairs), Err(MetadataError::Missing(lacks)) if lacks == name), "{name}");
        }
        for (at, (name, _)) in
            good.iter().enumerate().filter(|(_, (name, _))| ![FORMAT, ROWS, CODEC].contains(&name.as_str()))
        {
            let mut pairs = good.clone();
            pairs[at].1 = "-1".to_owned();
            assert!(
                matches!(read(&pairs), Err(MetadataError::Invalid { name: wrong, .. }) if wrong == name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_a_later_program_added_is_no_obstacle_and_what_an_older_one_left_out_has_its_meaning() {
        let metadata = ObjectMetadata { version: 1, ..largest() };
        let mut pairs = metadata.to_pairs();
        pairs.push(("sluicegate-later".to_owned(), "x".to_owned()));
        assert_eq!(read(&pairs), Ok(metadata.clone()));
        pairs.retain(|(name, _)| name != FORMAT_VERSION && name != ROWS);
        assert_eq!(read(&pairs), Ok(ObjectMetadata { format_version: 1, rows: None, ..metadata }));
    }
}
