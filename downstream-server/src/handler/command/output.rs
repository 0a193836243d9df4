//! What a program says: into the log up to a bound, the last of it kept for the error.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::sync::CancellationToken;

/// Bytes of the last output that are kept.
const TAIL: usize = 1024;

/// Bytes of a line that are logged.
const LINE: usize = 1024;

/// How long an ended program's output is waited for: what it left running may hold it open.
const GRACE: Duration = Duration::from_secs(1);

/// One of the program's two outputs, being read.
pub(super) struct Output {
    stream: &'static str,
    /// Bytes that may still go to the log.
    room: usize,
    open: Vec<u8>,
    tail: Vec<u8>,
}

/// An output that was read.
pub(super) struct Tail {
    /// Its last bytes as text, without control characters and white space around it.
    pub(super) text: String,
    /// Whether its end was seen.
    pub(super) is_whole: bool,
}

impl Output {
    pub(super) fn new(stream: &'static str, room: usize) -> Self {
        Self { stream, room, open: Vec::new(), tail: Vec::new() }
    }

    /// Reads to the end, so that the program never waits for us, or for a moment after `exited`.
    pub(super) async fn read(
        mut self,
        pipe: Option<impl AsyncRead + Unpin>,
        exited: &CancellationToken,
    ) -> Tail {
        let Some(mut pipe) = pipe else { return Tail { text: String::new(), is_whole: true } };
        let mut buffer = vec![0; 8 << 10];
        let grace = async {
            exited.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(grace);
        let is_whole = loop {
            tokio::select! {
                read = pipe.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break true,
                    Ok(count) => self.pass(&buffer[..count]),
                },
                () = &mut grace => break false,
            }
        };
        self.end_line();
        Tail { text: clean(&self.tail), is_whole }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let kept = line.len().min(LINE.saturating_sub(self.open.len()));
            self.open.extend_from_slice(&line[..kept]);
            if line.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.open);
        if line.is_empty() || self.room == 0 {
            return;
        }
        self.room = self.room.saturating_sub(line.len());
        tracing::info!(stream = self.stream, "the command says: {}", clean(&line));
        if self.room == 0 {
            tracing::info!(
                stream = self.stream,
                "the command says more than handler.log_bytes; the rest is left out"
            );
        }
    }
}

/// Text that cannot move a terminal's cursor or begin a line of its own in the log.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
