//! JSON (RFC 8259), looked at without building anything: is it one value, and of which kind?
//!
//! The look is a loop and not a recursion, so that no depth of nesting is too much for it: it takes one bit for each level.
//! What the grammar allows is allowed, though few programs make use of it: numbers that no machine holds, names that
//! come twice, halves of surrogate pairs as escapes.

use memchr::memchr;

/// What one JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// Its kind.
    pub kind: Kind,
    /// Whether there is a line break (`\n` or `\r`) between its tokens or around it. Within a token there is none.
    pub has_breaks: bool,
}

/// A kind of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{..}`
    Object,
    /// `[..]`
    Array,
    /// `".."`
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

/// Looks at `text`; `None` unless it is exactly one JSON value, in UTF-8, with nothing around it but blanks.
pub fn scan(text: &[u8]) -> Option<Scanned> {
    scan_with(text, |_| {})
}

/// As [`scan`]; `name` is given the name of each member of the object itself (not of objects within), as it is written
/// between its quotes.
pub fn scan_with(text: &[u8], name: impl FnMut(&[u8])) -> Option<Scanned> {
    str::from_utf8(text).ok()?;
    let mut scan = Scan { text, at: 0, has_breaks: false, levels: Levels::default(), name };
    let kind = scan.value()?;
    scan.blanks();
    (scan.at == text.len()).then_some(Scanned { kind, has_breaks: scan.has_breaks })
}

/// Whether a string or name that is written as `written` between its quotes says `text`.
pub fn says(written: &[u8], text: &str) -> bool {
    if memchr(b'\\', written).is_none() {
        return written == text.as_bytes();
    }
    let quoted = [b"\"", written, b"\""].concat();
    // What is no text at all, such as half of a surrogate pair, is no text of ours.
    serde_json::from_slice::<String>(&quoted).is_ok_and(|said| said == text)
}

/// Appends `text` as a JSON string with its quotes: what must be escaped is, and nothing else.
pub fn put_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, from) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some((&special, after)) = from.split_first() else { break };
        let short = match special {
            b'"' | b'\\' => special,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            out.extend_from_slice(&[b'0', b'0', digit(special >> 4), digit(special & 15)]);
        }
        rest = after;
    }
    out.push(b'"');
}

/// `text` without the blanks of JSON at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    let is_token = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    match (text.iter().position(is_token), text.iter().rposition(is_token)) {
        (Some(start), Some(end)) => &text[start..=end],
        _ => b"",
    }
}

/// Appends JSON without its line breaks, which stand between tokens: all else stays as it is.
pub fn put_unbroken(text: &[u8], out: &mut Vec<u8>) {
    for piece in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(piece);
    }
}

struct Scan<'a, F> {
    text: &'a [u8],
    at: usize,
    has_breaks: bool,
    levels: Levels,
    name: F,
}

impl<F: FnMut(&[u8])> Scan<'_, F> {
    /// Passes over one value and all that is in it.
    fn value(&mut self) -> Option<Kind> {
        self.blanks();
        let kind = match self.peek()? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b'-' | b'0'..=b'9' => Kind::Number,
            _ => Kind::Literal,
        };
        loop {
            self.blanks();
            let opened = match self.take()? {
                b'{' => self.open(true, b'}')?,
                b'[' => self.open(false, b']')?,
                b'"' => self.string().map(|_| false)?,
                first => self.scalar(first).map(|()| false)?,
            };
            if opened {
                continue;
            }
            loop {
                let Some(in_object) = self.levels.innermost() else { return Some(kind) };
                self.blanks();
                match (self.take()?, in_object) {
                    (b',', true) => {
                        self.blanks();
                        self.member()?;
                        break;
                    }
                    (b',', false) => break,
                    (b'}', true) | (b']', false) => self.levels.pop(),
                    _ => return None,
                }
            }
        }
    }

    /// Goes into an object or array, unless it is empty; whether a value follows.
    fn open(&mut self, object: bool, close: u8) -> Option<bool> {
        self.blanks();
        if self.peek()? == close {
            self.at += 1;
            return Some(false);
        }
        self.levels.push(object);
        if object {
            self.member()?;
        }
        Some(true)
    }

    /// A member's name and the colon behind it.
    fn member(&mut self) -> Option<()> {
        if self.take()? != b'"' {
            return None;
        }
        let start = self.at;
        let end = self.string()?;
        if self.levels.depth == 1 {
            (self.name)(&self.text[start..end]);
        }
        self.blanks();
        (self.take()? == b':').then_some(())
    }

    /// A string whose first quote is taken; where its content ends.
    fn string(&mut self) -> Option<usize> {
        loop {
            self.at += plain_prefix(&self.text[self.at..]);
            match self.take()? {
                b'"' => return Some(self.at - 1),
                b'\\' => match self.take()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let digits = self.text.get(self.at..self.at + 4)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        self.at += 4;
                    }
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// A number or literal whose first byte is taken.
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b't' => self.literal(b"rue"),
            b'f' => self.literal(b"alse"),
            b'n' => self.literal(b"ull"),
            b'-' => {
                let first = self.take()?;
                self.number(first)
            }
            _ => self.number(first),
        }
    }

    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        let found = self.text[self.at..].starts_with(rest);
        self.at += rest.len();
        found.then_some(())
    }

    /// A number without its sign, whose first digit is taken.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Option<()> {
        let start = self.at;
        self.digits();
        (self.at > start).then_some(())
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.peek() {
            self.has_breaks |= matches!(byte, b'\n' | b'\r');
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}

/// Objects and arrays that are open, a bit each; the innermost is the lowest bit of `word`.
#[derive(Default)]
struct Levels {
    depth: usize,
    word: u64,
    /// Words that are full, the innermost last.
    full: Vec<u64>,
}

impl Levels {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.full.push(self.word);
        }
        self.word = self.word << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.word >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.word = self.full.pop().expect("as many are popped as were pushed");
        }
    }

    /// Whether the innermost is an object; `None` if nothing is open.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.word & 1 == 1)
    }
}

/// Bytes of a string that stand for themselves, up to the first quote, backslash or control character.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    // Most strings are short, and end in the first two words.
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
        if at == 16 {
            at += plain_chunks(&bytes[at..]);
        }
    }
    at + bytes[at..].iter().take_while(|byte| !is_special(**byte)).count()
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of each byte that is special; above the first such byte there may be more.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & (ONES << 7)
}

/// How many bytes whole chunks without a special byte have. The loop over a chunk becomes a few vector instructions.
fn plain_chunks(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<32>();
    let plain = chunks.iter().take_while(|chunk| {
        // Without branches, which is what makes vectors of it.
        let special = |byte: &u8| u8::from(*byte < 0x20) | u8::from(*byte == b'"') | u8::from(*byte == b'\\');
        chunk.iter().fold(0, |found, byte| found | special(byte)) == 0
    });
    plain.count() * 32
}

#[cfg(test)]
mod tests;
