//! Skims over JSON: finds where values end, and makes nothing of them.
//!
//! serde_json takes three instructions for each byte of a string that it skips, and most bytes of most events are skipped.
//! Here whole vectors are looked at. But only the plain cases are known here: `None` means "ask serde_json", never "not JSON".
//! What is accepted here, serde_json accepts too, and finds the same in it.

use memchr::memchr2;

/// A place in a text that may be JSON.
pub(crate) struct Skim<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// How many levels are followed.
const LEVELS: u32 = 64;

/// Strings up to this long are looked through byte by byte: names are, and many values. A call costs more.
const SHORT_BYTES: usize = 12;

/// Integers of so many digits fit into 64 bits, with or without a sign.
const INTEGER_DIGITS: usize = 18;

/// Whether `text` is exactly one JSON value; `None` if that is not known here.
pub(crate) fn is_value(text: &[u8]) -> Option<()> {
    let mut skim = Skim::new(text);
    skim.skip()?;
    skim.end()
}

impl<'a> Skim<'a> {
    /// At the beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte that is no white space. It is not taken.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes the next byte that is no white space, which must be `byte`.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Takes a member's name and its colon; only a name without escapes is known here.
    #[inline]
    pub(crate) fn name(&mut self) -> Option<&'a str> {
        let name = self.plain_string()?;
        self.take(b':')?;
        Some(name)
    }

    /// Takes a string without escapes, which must be UTF-8.
    #[inline]
    pub(crate) fn plain_string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let text = &self.bytes[self.at..];
        let length = run(text)?;
        if text[length] != b'"' {
            return None;
        }
        self.at += length + 1;
        str::from_utf8(&text[..length]).ok()
    }

    /// Takes an integer that reads as it is written.
    pub(crate) fn integer(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.number()?;
        let text = &self.bytes[start..self.at];
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let plain = digits.len() <= INTEGER_DIGITS && digits.iter().all(u8::is_ascii_digit) && text != b"-0";
        if plain { str::from_utf8(text).ok() } else { None }
    }

    /// Takes one value, whatever it is. Its strings may hold any bytes, and any escapes that look like some.
    pub(crate) fn skip(&mut self) -> Option<()> {
        // A bit for each level, the innermost lowest: whether it is an object.
        let (mut objects, mut levels) = (0_u64, 0);
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                b'-' | b'0'..=b'9' => self.number()?,
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    let object = open == b'{';
                    if self.peek()? == if object { b'}' } else { b']' } {
                        self.at += 1;
                    } else {
                        if levels == LEVELS {
                            return None;
                        }
                        levels += 1;
                        objects = objects << 1 | u64::from(object);
                        self.member(object)?;
                        continue;
                    }
                }
                _ => return None,
            }
            loop {
                if levels == 0 {
                    return Some(());
                }
                let object = objects & 1 == 1;
                let next = self.peek()?;
                self.at += 1;
                match next {
                    b',' => {
                        self.member(object)?;
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                levels -= 1;
                objects >>= 1;
            }
        }
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// What stands before a value inside of an array (nothing) or an object.
    fn member(&mut self, object: bool) -> Option<()> {
        if object {
            self.peek()?;
            self.string()?;
            self.take(b':')?;
        }
        Some(())
    }

    /// At a string's quote.
    fn string(&mut self) -> Option<()> {
        if self.bytes[self.at] != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            self.at += run(&self.bytes[self.at..])? + 1;
            if self.bytes[self.at - 1] == b'"' {
                return Some(());
            }
            match self.bytes.get(self.at)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                b'u' => {
                    let digits = self.bytes.get(self.at + 1..self.at + 5)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    self.at += 5;
                }
                _ => return None,
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// At a sign or digit. What follows the number is for the caller to judge.
    fn number(&mut self) -> Option<()> {
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        match self.bytes.get(self.at)? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

/// How many bytes stand before the next quote or backslash; `None` if there is neither, or a control character before.
#[inline]
fn run(bytes: &[u8]) -> Option<usize> {
    let (short, long) = bytes.split_at(bytes.len().min(SHORT_BYTES));
    for (index, byte) in short.iter().enumerate() {
        match byte {
            b'"' | b'\\' => return Some(index),
            0..b' ' => return None,
            _ => {}
        }
    }
    let length = memchr2(b'"', b'\\', long)?;
    let lowest = long[..length].iter().fold(u8::MAX, |lowest, &byte| lowest.min(byte));
    (lowest >= b' ').then_some(SHORT_BYTES + length)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    /// Texts that are JSON, nearly JSON, or were before a byte of them was changed.
    pub(crate) fn texts() -> impl Strategy<Value = Vec<u8>> {
        let text = prop_oneof![
            "[a-c]{0,3}",
            ".{0,20}",
            "[a-c ]{0,80}",
            r#"(\\["\\/bfnrtu]|\\u[0-9a-fA-F]{4}|[ab]){0,8}"#,
            "([a-c]|\\\\ud83d\\\\ude00|[\u{0}-\u{20}]){0,4}",
        ];
        let string = prop_oneof![4 => r#""[a-d]""#, 3 => text.prop_map(|text| format!("\"{text}\""))];
        let number = r"-?(0|[1-9][0-9]{0,20}|0[0-9])(\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?";
        let word = prop_oneof![Just("true"), Just("false"), Just("null"), Just("nul"), Just("")];
        let leaf = prop_oneof![
            4 => string.clone(),
            2 => number,
            1 => word.prop_map(str::to_owned),
        ];
        let value = leaf.prop_recursive(4, 40, 5, move |value| {
            let member = (string.clone(), "[ \n]?", value.clone())
                .prop_map(|(name, white, value)| format!("{white}{name}{white}:{white}{value}"));
            prop_oneof![
                3 => prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
                1 => prop::collection::vec(value, 0..4).prop_map(|values| format!("[{}]", values.join(" ,"))),
            ]
        });
        let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        (value, "[ \n\r\t]{0,2}", change).prop_map(|(value, white, change)| {
            let mut text = format!("{white}{value}{white}").into_bytes();
            if let Some((index, byte)) = change
                && !text.is_empty()
            {
                let index = index.index(text.len());
                text[index] = byte;
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_is_accepted_here_serde_json_accepts_too(text in texts()) {
            if is_value(&text).is_some() {
                let parsed = serde_json::from_slice::<IgnoredAny>(&text);
                prop_assert!(parsed.is_ok(), "{}: {parsed:?}", text.escape_ascii());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(text: Vec<u8>) {
            let _ = is_value(&text);
        }
    }

    #[test]
    fn the_plain_cases_are_known() {
        let long = format!("{{\"text\":\"{}\\n\\u00e4\"}}", "x".repeat(500));
        for text in [
            r#"{"id":"1","t":2,"s":[true,false,null,{}],"o":{"a":{"b":[[],[1,2]]}}}"#,
            " [ 1 , -0.5e+3 , 0 ] \n",
            "\"\\\\\\\"\"",
            "-0",
            &long,
        ] {
            assert!(is_value(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_not_accepted() {
        for text in [
            "",
            "{",
            "{]",
            "[}",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{,}",
            "01",
            "1.",
            "1e",
            "-",
            "+1",
            "nul",
            "nulll",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"tab\there\"",
            "1 2",
            "{a:1}",
            "[1 2]",
            "\"\u{1f}\"",
            "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\u{0}xxxxxxxxxxxxxxxxxxxx\"",
        ] {
            assert!(is_value(text.as_bytes()).is_none(), "{text}");
        }
    }
}
