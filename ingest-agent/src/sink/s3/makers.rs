//! Threads that compress beside the sink's own.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use object_format::Compressor;

/// The threads. They end when this is dropped.
pub(crate) struct Makers {
    jobs: SyncSender<Job>,
    /// Frames that may be on their way: for each thread one in work, one that waits for it, and one that is made.
    pub most: usize,
}

struct Job {
    raw: Vec<u8>,
    made: SyncSender<Made>,
}

/// A frame that is being made.
pub(crate) struct Making {
    made: Receiver<Made>,
    /// What came of it, once it was seen to be done.
    done: Option<Made>,
}

type Made = io::Result<Vec<u8>>;

impl Makers {
    /// Starts `count` threads, each with a compressor of its own; `None` if that is none.
    pub(crate) fn start(
        count: usize,
        compressor: impl Fn() -> io::Result<Compressor>,
    ) -> io::Result<Option<Self>> {
        let (jobs, given) = sync_channel::<Job>(count);
        let given = Arc::new(Mutex::new(given));
        for _ in 0..count {
            let (given, mut compressor) = (Arc::clone(&given), compressor()?);
            // One thread waits for the next job, the others for that one.
            let next = move || given.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let work = move || {
                while let Ok(job) = next() {
                    let mut frame = Vec::new();
                    let made = compressor.compress_frame(&job.raw, &mut frame);
                    // Nobody waits for a frame of a pack that was given up.
                    let _ = job.made.send(made.map(|()| frame));
                }
            };
            thread::Builder::new().name("compress".to_owned()).spawn(work)?;
        }
        Ok((count > 0).then_some(Self { jobs, most: 3 * count }))
    }

    /// Has `raw` made into a frame; gives it back while each thread has a job and another one waiting.
    pub(crate) fn make(&self, raw: Vec<u8>) -> Result<Making, Vec<u8>> {
        let (sender, made) = sync_channel(1);
        match self.jobs.try_send(Job { raw, made: sender }) {
            Ok(()) => Ok(Making { made, done: None }),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Err(job.raw),
        }
    }
}

impl Making {
    /// Whether there is nothing to wait for.
    pub(crate) fn is_done(&mut self) -> bool {
        self.done = self.done.take().or_else(|| self.made.try_recv().ok());
        self.done.is_some()
    }

    /// Waits for the frame.
    pub(crate) fn frame(self) -> io::Result<Vec<u8>> {
        let died = |_| Err(io::Error::other("a thread that compresses has died"));
        self.done.unwrap_or_else(|| self.made.recv().unwrap_or_else(died))
    }
}
