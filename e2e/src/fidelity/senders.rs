//! Producers of events of every shape: each number is sent by one of the doors that can carry it, some
//! under an idempotency key until they are answered, the others once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::doors::Door;
use super::shapes::{Shape, shape};
use super::tally::Owed;
use super::views::Format;
use crate::producer;
use crate::random::Random;

/// The most bytes of one request, which is what a request may have less a margin.
const REQUEST_BYTES: usize = 3 << 20;
/// The most events of one request.
const REQUEST_EVENTS: u64 = 40;
/// A sender gives an answer up after this, and counts it as none.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    door: Door,
    /// It was sent without its headers, which this door does not take.
    bare: bool,
    answered: bool,
}

/// What all producers of a run share.
pub struct Senders {
    /// What objects are to be made of it: see [`Format::wear`].
    pub format: Format,
    /// Where `/v1/events` is; Flume's interface is at the root beside it.
    pub http: SocketAddr,
    /// Where netcat listens.
    pub netcat: SocketAddr,
    /// Ends the producers, what they have begun excepted.
    pub stop: AtomicBool,
    /// The shapes that are sent begin here: other seeds, other shapes.
    pub first: u64,
    next: AtomicU64,
    sent: Mutex<Vec<Sent>>,
}

impl Senders {
    /// No producer runs yet.
    pub fn new(format: Format, http: SocketAddr, netcat: SocketAddr, seed: u64) -> Self {
        let (stop, next, sent) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::default());
        Self { format, http, netcat, stop, first: seed % 1_000_000 * 1_000_000, next, sent }
    }

    /// Events that were sent so far, by each door.
    pub fn by_door(&self) -> std::collections::BTreeMap<Door, usize> {
        let mut doors = std::collections::BTreeMap::new();
        for sent in &*self.sent.lock().unwrap_or_else(PoisonError::into_inner) {
            *doors.entry(sent.door).or_default() += 1;
        }
        doors
    }

    /// What has to be in the objects, and what may be.
    pub fn owed(&self) -> Owed {
        let mut owed = Owed::default();
        for sent in &*self.sent.lock().unwrap_or_else(PoisonError::into_inner) {
            let given = sent.door.given(self.shape(sent.number, sent.bare));
            for thing in self.format.owed(&given) {
                owed.add(&thing, u64::from(sent.answered), 1);
            }
        }
        owed
    }

    fn shape(&self, number: u64, bare: bool) -> Shape {
        let mut shape = self.format.wear(shape(number));
        if bare {
            shape.headers.clear();
        }
        shape
    }

    /// The next events, each with a door of its own choice.
    fn next(&self, random: &mut Random) -> Vec<(Door, u64, bool)> {
        let count = 1 + random.below(REQUEST_EVENTS);
        let first = self.first + self.next.fetch_add(count, Ordering::Relaxed);
        let choose = |number| {
            let shape = self.shape(number, false);
            let bare = random.per_mille(300);
            let doors = if bare || shape.headers.is_empty() {
                &[Door::Bytes, Door::Lines, Door::Ndjson, Door::Array, Door::Value, Door::Flume, Door::Netcat]
                    [..]
            } else {
                &[Door::Flume]
            };
            let candidate = if bare { self.shape(number, true) } else { shape };
            let fit: Vec<Door> = doors.iter().copied().filter(|door| door.takes(&candidate)).collect();
            match fit.len() as u64 {
                // Headers that cannot be sent with bytes that are no text: only the bytes are.
                0 => (Door::Bytes, number, true),
                some => (fit[random.below(some) as usize], number, bare),
            }
        };
        (first..first + count).map(choose).collect()
    }

    /// A producer, by all doors.
    pub async fn produce(&self, mut random: Random) {
        let client = producer::client();
        while !self.stop.load(Ordering::Relaxed) {
            let mut chosen = self.next(&mut random);
            chosen.sort_unstable();
            for group in chosen.chunk_by(|one, other| one.0 == other.0) {
                let door = group[0].0;
                for some in self.requests(door, group) {
                    let answered = if door == Door::Netcat {
                        self.by_netcat(&some).await
                    } else {
                        let answered = self.by_http(&client, door, &some, &mut random).await;
                        vec![answered; some.len()]
                    };
                    let sent = some.iter().zip(answered).map(|(&(number, bare), answered)| Sent {
                        number,
                        door,
                        bare,
                        answered,
                    });
                    self.sent.lock().unwrap_or_else(PoisonError::into_inner).extend(sent);
                }
            }
        }
    }

    /// The events of one door in requests: one by one where it takes no more, else as many as fit.
    fn requests(&self, door: Door, group: &[(Door, u64, bool)]) -> Vec<Vec<(u64, bool)>> {
        let mut requests: Vec<Vec<(u64, bool)>> = Vec::new();
        let mut bytes = 0;
        for &(_, number, bare) in group {
            // Flume's JSON escapes: up to six bytes for one.
            let size = self.shape(number, bare).body.len() * if door == Door::Flume { 2 } else { 1 };
            if requests.is_empty() || door.one_at_a_time() || bytes + size > REQUEST_BYTES {
                requests.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            requests.last_mut().expect("one was pushed").push((number, bare));
        }
        requests
    }

    async fn by_http(
        &self,
        client: &reqwest::Client,
        door: Door,
        events: &[(u64, bool)],
        random: &mut Random,
    ) -> bool {
        let shapes: Vec<Shape> = events.iter().map(|(number, bare)| self.shape(*number, *bare)).collect();
        let path = if door == Door::Flume { "/" } else { "/v1/events" };
        let keyed = random.per_mille(500);
        loop {
            // Coded otherwise each time: it is the same request.
            let request = door.request(&shapes, random);
            let mut post = client.post(format!("http://{}{path}", self.http)).timeout(PATIENCE);
            if let Some(content_type) = request.content_type {
                post = post.header("content-type", content_type);
            }
            if let Some(coding) = request.coding {
                post = post.header("content-encoding", coding);
            }
            if keyed {
                post = post.header("idempotency-key", format!("{door:?}-{}", events[0].0));
            }
            match post.body(request.body).send().await {
                Ok(answer) if answer.status() == 200 => return true,
                // A shape that its door says it takes, and the agent does not.
                Ok(answer) if answer.status().is_client_error() => {
                    let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
                    panic!("{door:?} was answered {status} for {events:?}: {said}");
                }
                Ok(_) | Err(_) => tokio::time::sleep(random.up_to(Duration::from_millis(300))).await,
            }
            if !keyed {
                return false;
            }
        }
    }

    async fn by_netcat(&self, events: &[(u64, bool)]) -> Vec<bool> {
        let mut answered = vec![false; events.len()];
        let Ok(stream) = TcpStream::connect(self.netcat).await else { return answered };
        let (read, mut write) = stream.into_split();
        let lines: Vec<u8> = events
            .iter()
            .flat_map(|(number, bare)| [self.shape(*number, *bare).body, b"\n".to_vec()].concat())
            .collect();
        let mut answers = BufReader::new(read).lines();
        let (_, ()) = tokio::join!(write.write_all(&lines), async {
            for answered in &mut answered {
                match tokio::time::timeout(PATIENCE, answers.next_line()).await {
                    Ok(Ok(Some(answer))) => *answered = answer == "OK",
                    _ => return,
                }
            }
        });
        answered
    }
}
