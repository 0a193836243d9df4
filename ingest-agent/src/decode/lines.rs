//! Lines out of chunks that end anywhere.

use memchr::{memchr, memchr_iter};

/// Splits a stream at its newlines. Only a line that spans chunks is copied; every other one is given as it lies
/// in its chunk.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

/// What a splitter keeps of its buffer between long lines.
const KEPT_BYTES: usize = 16 << 10;

impl Lines {
    /// Gives each line that `chunk` completes, without its newline, and keeps the rest.
    ///
    /// After an error of `each` the splitter must not be fed again.
    pub fn feed<E>(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = chunk;
        if !self.partial.is_empty() {
            let Some(end) = memchr(b'\n', rest) else {
                self.partial.extend_from_slice(rest);
                return Ok(());
            };
            self.partial.extend_from_slice(&rest[..end]);
            each(&self.partial)?;
            self.partial.clear();
            self.partial.shrink_to(KEPT_BYTES);
            rest = &rest[end + 1..];
        }
        let mut start = 0;
        for end in memchr_iter(b'\n', rest) {
            each(&rest[start..end])?;
            start = end + 1;
        }
        self.partial.extend_from_slice(&rest[start..]);
        Ok(())
    }

    /// What follows the last newline.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn wherever_chunks_end_the_lines_are_the_same(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();

            let mut lines = Lines::default();
            let mut found = Vec::new();
            for pair in cuts.windows(2) {
                let Ok(()) = lines.feed(&text[pair[0]..pair[1]], |line| {
                    found.push(line.to_vec());
                    Ok::<_, Infallible>(())
                });
            }
            found.push(lines.partial().to_vec());
            let expected: Vec<_> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_long_line_leaves_no_large_buffer_behind() {
        let mut lines = Lines::default();
        let long = vec![b'x'; 1 << 20];
        let Ok(()) = lines.feed(&long, |_| Ok::<_, Infallible>(()));
        let Ok(()) = lines.feed(b"\nnext", |_| Ok::<_, Infallible>(()));
        assert_eq!(lines.partial(), b"next");
        assert!(lines.partial.capacity() <= KEPT_BYTES);
    }
}
