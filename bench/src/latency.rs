//! Load in an open loop: events are sent at a fixed rate whatever the answers do, and an answer's time counts from the
//! moment at which its event was due. A sender that waits for a slow answer thus counts what others would have waited.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::load::{self, Answers, Load, Requests, Shape, Source};

/// How long acknowledgements took, of a whole run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    /// From the moment at which a request was really sent: what counts where more is due than can be sent.
    pub(crate) p99_of_sending: Duration,
    /// Events in requests that were refused with 503.
    pub(crate) refused: usize,
    /// Events accepted.
    pub(crate) accepted: usize,
    /// Events accepted a second, of those offered.
    pub(crate) accepted_per_second: f64,
}

/// The schedule of one connection: event number `n` is due at `start + n * step`.
#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    /// Events a second.
    rate: f64,
}

/// What one connection saw.
#[derive(Default)]
struct Measured {
    /// One figure for each request, or each read of answers.
    micros: Vec<u32>,
    /// The same from when it was sent.
    sending_micros: Vec<u32>,
    accepted: usize,
    refused: usize,
}

/// Lines are sent in bursts of this many, as a socket's buffer would gather them.
const BURST: u32 = 20;

/// Offers the load at `rate` events a second in all.
pub(crate) fn measure(load: Load, source: &Source, rate: f64) -> anyhow::Result<Latency> {
    let start = Instant::now() + Duration::from_millis(50);
    let at_once = match load.shape {
        Shape::Http(each) | Shape::HttpAsJson(each) | Shape::Flume(each) => each,
        Shape::Netcat | Shape::Lines => BURST,
    };
    // One connection after the other: all at once would be a burst that no producers make.
    let turn = Duration::from_secs_f64(f64::from(at_once) / rate);
    let pace = |turns| Pace { start: start + turn * turns, rate: rate / f64::from(load.connections) };
    let measured = std::thread::scope(|scope| {
        let threads: Vec<_> = load
            .shares()
            .zip((0..).map(pace))
            .map(|(ids, pace)| {
                scope.spawn(move || -> anyhow::Result<Measured> {
                    let stream = load::connect(source.addr)?;
                    let requests = Requests::new(load);
                    match load.shape {
                        Shape::Netcat | Shape::Lines => netcat(&stream, ids, requests, pace),
                        _ => match &source.tls {
                            Some(tls) => http(tls.over(stream)?, ids, at_once, requests, pace),
                            None => http(stream, ids, at_once, requests, pace),
                        },
                    }
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("a load thread does not panic"));
        joined.collect::<anyhow::Result<Vec<Measured>>>()
    })?;
    let elapsed = start.elapsed().as_secs_f64();
    let due = sorted(measured.iter().flat_map(|one| &one.micros));
    let sending = sorted(measured.iter().flat_map(|one| &one.sending_micros));
    let accepted: usize = measured.iter().map(|one| one.accepted).sum();
    Ok(Latency {
        p50: at(&due, 0.5),
        p99: at(&due, 0.99),
        p999: at(&due, 0.999),
        p99_of_sending: at(&sending, 0.99),
        refused: measured.iter().map(|one| one.refused).sum(),
        accepted,
        accepted_per_second: accepted as f64 / elapsed,
    })
}

fn sorted<'a>(micros: impl Iterator<Item = &'a u32>) -> Vec<u32> {
    let mut micros: Vec<u32> = micros.copied().collect();
    micros.sort_unstable();
    micros
}

/// The time within which `share` of them were.
fn at(sorted: &[u32], share: f64) -> Duration {
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    Duration::from_micros(sorted.get(index).copied().unwrap_or_default().into())
}

fn http(
    stream: impl Read + Write,
    ids: Range<u32>,
    per_request: u32,
    mut requests: Requests,
    pace: Pace,
) -> anyhow::Result<Measured> {
    let mut stream = BufReader::new(stream);
    let mut measured = Measured::default();
    let mut first = ids.start;
    while first < ids.end {
        let end = (first + per_request).min(ids.end);
        let request = requests.make(first..end);
        let due = pace.wait((first - ids.start) as usize);
        let sent = Instant::now();
        stream.get_mut().write_all(request)?;
        let (status, body) = load::answer(&mut stream)?;
        match status {
            200 => {
                measured.micros.push(due.elapsed().as_micros() as u32);
                measured.sending_micros.push(sent.elapsed().as_micros() as u32);
                measured.accepted += (end - first) as usize;
            }
            503 => measured.refused += (end - first) as usize,
            other => anyhow::bail!("the answer is {other}: {body}"),
        }
        first = end;
    }
    Ok(measured)
}

fn netcat(
    stream: &TcpStream,
    ids: Range<u32>,
    mut requests: Requests,
    pace: Pace,
) -> anyhow::Result<Measured> {
    std::thread::scope(|scope| {
        let wanted = ids.len();
        let sender = scope.spawn(move || -> std::io::Result<()> {
            let mut first = ids.start;
            while first < ids.end {
                let end = (first + BURST).min(ids.end);
                let lines = requests.make(first..end);
                pace.wait((first - ids.start) as usize);
                (&mut &*stream).write_all(lines)?;
                first = end;
            }
            Ok(())
        });
        let (mut answers, mut measured) = (Answers::default(), Measured::default());
        while answers.count < wanted {
            let before = answers.count;
            answers.read(stream)?;
            // The oldest line of this read waited longest; each burst is one figure.
            for line in (before..answers.count).step_by(BURST as usize) {
                let due = pace.due(line / BURST as usize * BURST as usize);
                measured.micros.push(due.elapsed().as_micros() as u32);
            }
        }
        // No answer keeps a line from being sent when it is due.
        measured.sending_micros.clone_from(&measured.micros);
        measured.accepted = answers.count;
        match sender.join().expect("the sending thread does not panic") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(measured),
        }
    })
}

impl Pace {
    fn due(&self, event: usize) -> Instant {
        self.start + Duration::from_secs_f64(event as f64 / self.rate)
    }

    /// Waits until the event is due; the moment at which it was.
    fn wait(&self, event: usize) -> Instant {
        let due = self.due(event);
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        due
    }
}
