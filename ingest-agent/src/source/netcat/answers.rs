//! The answers that a connection owes its sender.

use std::collections::VecDeque;
use std::sync::Arc;

/// Answers in order, kept as runs: a million `OK`s of a sender that does not read are one number.
#[derive(Default)]
pub(super) struct Answers {
    runs: VecDeque<(Answer, u64)>,
    /// Bytes on their way out, from `sent` on.
    bytes: Vec<u8>,
    sent: usize,
}

/// One answer, its newline included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    Failed(Arc<str>),
}

/// How much is laid out for one write.
const WRITE_BYTES: usize = 16 << 10;

/// Runs beyond which the connection reads no more; only a channel that fails and recovers by turns makes so many.
const MAX_RUNS: usize = 256;

impl Answer {
    pub(super) fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed(format!("FAILED: {reason}\n").into())
    }

    fn text(&self) -> &str {
        match self {
            Self::Ok => "OK\n",
            Self::Failed(text) => text,
        }
    }
}

impl Answers {
    /// Adds `count` times the same answer.
    pub(super) fn push(&mut self, answer: Answer, count: u64) {
        match self.runs.back_mut() {
            _ if count == 0 => {}
            Some((last, so_far)) if *last == answer => *so_far += count,
            _ => self.runs.push_back((answer, count)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.sent == self.bytes.len()
    }

    /// Whether the sender must read before more of its lines are.
    pub(super) fn is_full(&self) -> bool {
        self.runs.len() >= MAX_RUNS
    }

    /// The next bytes to write; empty only if nothing is owed.
    pub(super) fn bytes(&mut self) -> &[u8] {
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            self.lay_out();
        }
        &self.bytes[self.sent..]
    }

    /// The sender's system took the first `written` of [`bytes`](Self::bytes).
    pub(super) fn advance(&mut self, written: usize) {
        self.sent += written;
    }

    fn lay_out(&mut self) {
        while let Some((answer, count)) = self.runs.front_mut() {
            let text = answer.text().as_bytes();
            while *count > 0 {
                if self.bytes.len() >= WRITE_BYTES {
                    return;
                }
                self.bytes.extend_from_slice(text);
                *count -= 1;
            }
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(answers: &mut Answers, step: usize) -> String {
        let mut out = Vec::new();
        while !answers.is_empty() {
            let bytes = answers.bytes();
            let taken = bytes.len().min(step);
            out.extend_from_slice(&bytes[..taken]);
            answers.advance(taken);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_leave_in_order_however_little_is_written_at_a_time() {
        let mut answers = Answers::default();
        answers.push(Answer::Ok, 2);
        answers.push(Answer::failed("full"), 1);
        answers.push(Answer::failed("full"), 1);
        answers.push(Answer::Ok, 0);
        answers.push(Answer::Ok, 1);
        assert_eq!(answers.runs.len(), 3);
        assert_eq!(drained(&mut answers, 4), "OK\nOK\nFAILED: full\nFAILED: full\nOK\n");
        assert!(answers.bytes().is_empty());
    }

    #[test]
    fn a_million_answers_that_nobody_reads_take_no_memory_to_speak_of() {
        let mut answers = Answers::default();
        (0..1_000_000).for_each(|_| answers.push(Answer::Ok, 1));
        assert!(answers.bytes().len() < 2 * WRITE_BYTES);
        assert_eq!(answers.runs.len(), 1);
        assert_eq!(drained(&mut answers, usize::MAX), "OK\n".repeat(1_000_000));
    }
}
