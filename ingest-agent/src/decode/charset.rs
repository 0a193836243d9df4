//! The three charsets of Flume's JSON: UTF-8, UTF-16 and UTF-32.
//!
//! They are what Java takes them for: without a byte order mark UTF-16 and UTF-32 are big-endian, text written as
//! UTF-16 begins with the mark `FE FF`, and text written as UTF-32 has none.

use std::borrow::Cow;

use super::BadInput;

/// A charset in which requests are read and bodies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// The default.
    #[default]
    Utf8,
    /// Two or four bytes a character.
    Utf16,
    /// Four bytes a character.
    Utf32,
}

/// A charset that cannot be read where it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("charset {name:?} is not supported: send {instead}")]
pub struct UnsupportedCharset {
    name: String,
    instead: &'static str,
}

/// Charsets of text in which a newline is the byte `0A`, and that byte is nothing else; `*` stands for any end.
const WITH_PLAIN_NEWLINES: [&str; 21] = [
    "utf-8",
    "utf8",
    "us-ascii",
    "ascii",
    "ansi_x3.4-1968",
    "iso-8859-*",
    "iso8859-*",
    "iso_8859-*",
    "latin*",
    "windows-125*",
    "cp125*",
    "koi8-*",
    "macintosh",
    "gb2312",
    "gbk",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-*",
    "cp437",
    "cp850",
];

/// Whether text in the charset called `name`, in any case, can be cut at its newlines without knowing more of it.
pub fn keeps_newlines(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WITH_PLAIN_NEWLINES.iter().any(|known| match known.strip_suffix('*') {
        Some(begins) => name.starts_with(begins),
        None => name == *known,
    })
}

/// Text in UTF-8, and what its bytes were in the request.
pub struct Text<'a> {
    /// The text without its byte order mark.
    pub text: Cow<'a, str>,
    charset: Charset,
    mark: usize,
}

impl Charset {
    /// The charset called `name`, in any case.
    pub fn named(name: &str) -> Result<Self, UnsupportedCharset> {
        let known =
            [("utf-8", Self::Utf8), ("utf8", Self::Utf8), ("utf-16", Self::Utf16), ("utf-32", Self::Utf32)];
        let found = known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, charset)| charset).ok_or_else(|| UnsupportedCharset::of_flume(name))
    }

    /// Reads `bytes`.
    pub fn read(self, bytes: &[u8]) -> Result<Text<'_>, BadInput> {
        let (text, mark) = match self {
            Self::Utf8 => {
                let mark = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
                let text = str::from_utf8(&bytes[mark..]);
                let text = text.map_err(|error| BadInput::at(mark + error.valid_up_to(), "not UTF-8"))?;
                (Cow::Borrowed(text), mark)
            }
            Self::Utf16 => (Cow::Owned(read_utf16(bytes)?), mark_of(bytes, &[b"\xfe\xff", b"\xff\xfe"])),
            Self::Utf32 => {
                (Cow::Owned(read_utf32(bytes)?), mark_of(bytes, &[b"\0\0\xfe\xff", b"\xff\xfe\0\0"]))
            }
        };
        Ok(Text { text, charset: self, mark })
    }

    /// Appends `text` to `out` in this charset.
    pub fn write(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Utf16 if text.is_empty() => {}
            Self::Utf16 => {
                out.extend_from_slice(b"\xfe\xff");
                text.encode_utf16().for_each(|unit| out.extend_from_slice(&unit.to_be_bytes()));
            }
            Self::Utf32 => {
                text.chars().for_each(|char| out.extend_from_slice(&u32::from(char).to_be_bytes()));
            }
        }
    }
}

impl UnsupportedCharset {
    /// One that Flume does not take either.
    pub(super) fn of_flume(name: &str) -> Self {
        Self { name: name.to_owned(), instead: "UTF-8, UTF-16 or UTF-32" }
    }

    /// One in which a newline is not one byte.
    pub(super) fn of_lines(name: &str) -> Self {
        Self { name: name.to_owned(), instead: "UTF-8" }
    }
}

impl Text<'_> {
    /// Where in the request the byte `at` of the text came from.
    pub fn byte_in_request(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(&self.text);
        self.mark
            + match self.charset {
                Charset::Utf8 => at,
                Charset::Utf16 => 2 * before.encode_utf16().count(),
                Charset::Utf32 => 4 * before.chars().count(),
            }
    }
}

fn mark_of(bytes: &[u8], marks: &[&[u8]]) -> usize {
    marks.iter().find(|mark| bytes.starts_with(mark)).map_or(0, |mark| mark.len())
}

fn read_utf16(bytes: &[u8]) -> Result<String, BadInput> {
    let mark = mark_of(bytes, &[b"\xfe\xff", b"\xff\xfe"]);
    let little = bytes.starts_with(b"\xff\xfe");
    let (units, rest) = bytes[mark..].as_chunks::<2>();
    let unit = |unit: &[u8; 2]| if little { u16::from_le_bytes(*unit) } else { u16::from_be_bytes(*unit) };
    let mut text = String::with_capacity(units.len());
    let mut at = mark;
    for char in char::decode_utf16(units.iter().map(unit)) {
        let char = char.map_err(|_| BadInput::at(at, "not UTF-16"))?;
        at += 2 * char.len_utf16();
        text.push(char);
    }
    if rest.is_empty() { Ok(text) } else { Err(BadInput::at(at, "not UTF-16")) }
}

fn read_utf32(bytes: &[u8]) -> Result<String, BadInput> {
    let mark = mark_of(bytes, &[b"\0\0\xfe\xff", b"\xff\xfe\0\0"]);
    let little = bytes.starts_with(b"\xff\xfe\0\0");
    let (units, rest) = bytes[mark..].as_chunks::<4>();
    let mut text = String::with_capacity(units.len());
    for (index, unit) in units.iter().enumerate() {
        let unit = if little { u32::from_le_bytes(*unit) } else { u32::from_be_bytes(*unit) };
        text.push(char::from_u32(unit).ok_or_else(|| BadInput::at(mark + 4 * index, "not UTF-32"))?);
    }
    if rest.is_empty() { Ok(text) } else { Err(BadInput::at(mark + 4 * units.len(), "not UTF-32")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(charset: Charset, bytes: &[u8]) -> Result<String, String> {
        charset.read(bytes).map(|text| text.text.into_owned()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn text_is_read_with_and_without_a_mark_in_both_orders() {
        let cases: [(Charset, &[u8], Result<&str, &str>); 15] = [
            (Charset::Utf8, "aü".as_bytes(), Ok("aü")),
            (Charset::Utf8, b"\xef\xbb\xbfa", Ok("a")),
            (Charset::Utf8, b"a\xff", Err("byte 1: not UTF-8")),
            (Charset::Utf16, b"\0a\0\xfc", Ok("aü")),
            (Charset::Utf16, b"\xfe\xff\0a", Ok("a")),
            (Charset::Utf16, b"\xff\xfea\0", Ok("a")),
            (Charset::Utf16, b"\xd8\x3d\xde\x00", Ok("😀")),
            (Charset::Utf16, b"\0a\xd8\x3d", Err("byte 2: not UTF-16")),
            (Charset::Utf16, b"\xfe\xff\0a\0", Err("byte 4: not UTF-16")),
            (Charset::Utf32, b"\0\0\0a", Ok("a")),
            (Charset::Utf32, b"\0\0\xfe\xff\0\0\0a", Ok("a")),
            (Charset::Utf32, b"\xff\xfe\0\0a\0\0\0", Ok("a")),
            (Charset::Utf32, b"\0\0\0a\0\0\xd8\0", Err("byte 4: not UTF-32")),
            (Charset::Utf32, b"\0\0\0a\0", Err("byte 4: not UTF-32")),
            (Charset::Utf32, b"", Ok("")),
        ];
        for (charset, bytes, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(read(charset, bytes), expected, "{charset:?} {bytes:?}");
        }
    }

    #[test]
    fn bodies_are_written_as_java_writes_them() {
        let written = |charset: Charset, text| {
            let mut out = Vec::new();
            charset.write(text, &mut out);
            out
        };
        assert_eq!(written(Charset::Utf8, "ü"), "ü".as_bytes());
        assert_eq!(written(Charset::Utf16, "ü"), b"\xfe\xff\0\xfc");
        assert_eq!(written(Charset::Utf16, ""), b"");
        assert_eq!(written(Charset::Utf32, "ü"), b"\0\0\0\xfc");
    }

    #[test]
    fn charsets_are_known_by_name_in_any_case() {
        assert_eq!(Charset::named("UTF-8"), Ok(Charset::Utf8));
        assert_eq!(Charset::named("utf-16"), Ok(Charset::Utf16));
        assert_eq!(Charset::named("Utf-32"), Ok(Charset::Utf32));
        let error = Charset::named("ISO-8859-1").unwrap_err().to_string();
        assert_eq!(error, "charset \"ISO-8859-1\" is not supported: send UTF-8, UTF-16 or UTF-32");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_places_are_found_again(text in ".{0,30}", cut in any::<prop::sample::Index>()) {
            // A text that begins with a mark loses it, in any charset.
            prop_assume!(!text.starts_with('\u{feff}'));
            let (cut, _) = text.char_indices().nth(cut.index(text.chars().count() + 1)).unwrap_or((text.len(), ' '));
            for charset in [Charset::Utf8, Charset::Utf16, Charset::Utf32] {
                let (mut whole, mut before) = (Vec::new(), Vec::new());
                charset.write(&text, &mut whole);
                charset.write(&text[..cut], &mut before);
                let read = charset.read(&whole).unwrap();
                prop_assert_eq!(&read.text, &text);
                if cut > 0 {
                    prop_assert_eq!(read.byte_in_request(cut), before.len());
                }
            }
        }
    }
}
