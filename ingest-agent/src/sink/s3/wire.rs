//! The few shapes that the sink's records are made of.
//!
//! A *number* is an unsigned LEB128 varint (seven bits a byte, low bits first, the high bit set on all but the last); a
//! *text* or *bytes* is its length as a number, then the bytes. A checksum is four bytes, little-endian.

/// Why bytes are not what this program wrote.
///
/// Records are checksummed by the journal, so this means a bug or a newer version, not a bad disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decoding {0}")]
pub struct Malformed(pub &'static str);

/// Reads shapes off the front of a slice.
pub(super) struct Take<'a> {
    rest: &'a [u8],
}

pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_numbers<const N: usize>(out: &mut Vec<u8>, values: [u64; N]) {
    for value in values {
        put_number(out, value);
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_crc(out: &mut Vec<u8>, crc: u32) {
    out.extend_from_slice(&crc.to_le_bytes());
}

impl<'a> Take<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a number of more than 64 bits"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.take(N)?.try_into().expect("took as many"))
    }

    pub(super) fn crc(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| Malformed("a length"))?)
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let text = str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text that is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// A list: how many, then each as `item` reads it.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        (0..self.number()?).map(|_| item(self)).collect()
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("more bytes than the record has")) }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed("a record that ends early"))?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_and_text_reads_back(value: u64, text in ".{0,40}") {
            let mut out = Vec::new();
            put_number(&mut out, value);
            put_bytes(&mut out, text.as_bytes());
            let mut take = Take::new(&out);
            prop_assert_eq!(take.number(), Ok(value));
            prop_assert_eq!(take.text(), Ok(text));
            prop_assert_eq!(take.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut take = Take::new(&bytes);
            while take.number().is_ok() && take.text().is_ok() {}
        }
    }
}
