//! Counts the lines that pass and keeps the last few for the page.

use std::collections::VecDeque;

use memchr::{memchr_iter, memrchr};

/// Lines that are kept.
const KEPT: usize = 20;

/// Characters of a line that are kept.
const KEPT_CHARS: usize = 500;

/// Bytes that hold that many characters in any case.
const KEPT_BYTES: usize = KEPT_CHARS * 4;

/// Counts lines and keeps the last few, cut to a bounded length.
#[derive(Debug, Default)]
pub struct Lines {
    complete: u64,
    kept: VecDeque<Vec<u8>>,
    /// The line that has not ended yet, cut as well.
    open: Option<Vec<u8>>,
}

impl Lines {
    /// Takes the next bytes. It costs one pass of counting, and a copy of the last lines only.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.complete += memchr_iter(b'\n', piece).count() as u64;
        let tail = last_lines(piece);
        if tail.len() < piece.len() {
            // All that is kept comes from this piece.
            self.kept.clear();
            self.open = None;
        }
        for line in tail.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = line.strip_suffix(b"\n").map_or((line, false), |text| (text, true));
            let open = self.open.get_or_insert_default();
            let room = KEPT_BYTES.saturating_sub(open.len());
            open.extend_from_slice(&text[..text.len().min(room)]);
            if ended && let Some(line) = self.open.take() {
                self.keep(line);
            }
        }
    }

    /// Lines so far; a last one without a newline counts.
    pub fn count(&self) -> u64 {
        self.complete + u64::from(self.open.is_some())
    }

    /// The last lines as text, oldest first; a longer line is cut and ends in an ellipsis.
    pub fn last(&self) -> Vec<String> {
        let surplus = (self.kept.len() + usize::from(self.open.is_some())).saturating_sub(KEPT);
        self.kept.iter().chain(&self.open).skip(surplus).map(|line| shorten(line)).collect()
    }

    fn keep(&mut self, line: Vec<u8>) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

/// The end of `piece` that holds its last [`KEPT`] whole lines and what follows them.
fn last_lines(piece: &[u8]) -> &[u8] {
    let mut start = piece.len();
    for _ in 0..=KEPT {
        match memrchr(b'\n', &piece[..start]) {
            Some(newline) => start = newline,
            None => return piece,
        }
    }
    &piece[start + 1..]
}

fn shorten(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix('\r').unwrap_or(&text);
    match text.char_indices().nth(KEPT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_same_however_the_bytes_arrive() {
        let text: String = (0..1000).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat() + "open";
        let expected: Vec<String> =
            (981..1000).map(|n| format!("line {n}")).chain(["open".to_owned()]).collect();
        for step in [1, 3, 10, 100, 5000, text.len()] {
            let mut lines = Lines::default();
            for piece in text.as_bytes().chunks(step) {
                lines.pass(piece);
            }
            assert_eq!(lines.last(), expected, "in steps of {step}");
            assert_eq!(lines.count(), 1001);
        }
    }

    #[test]
    fn a_long_line_is_kept_in_500_characters() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.pass("é".repeat(1000).as_bytes());
        }
        lines.pass(b"\nshort\r\n\xff");
        let last = lines.last();
        assert_eq!(last[0].chars().count(), 501);
        assert!(last[0].ends_with("é…"));
        assert_eq!(last[1..], ["short".to_owned(), "\u{fffd}".to_owned()]);
        assert_eq!(lines.count(), 3);
    }
}
