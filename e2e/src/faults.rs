//! What goes wrong between the parts of a long run, chosen by its seed: kills, an S3 that fails in every
//! way, notices that are lost or come twice. What goes wrong with their machine is in
//! [`machine`](crate::machine).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::front::Fault;
use crate::process::Kept;
use crate::random::Random;
use crate::tally::Tally;

/// Whether anything goes wrong at present; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Storm(Arc<AtomicBool>);

impl Storm {
    /// From now on.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What an S3 does, per thousand requests, while there is a storm.
pub fn of_s3(storm: Storm, random: Random, tally: Tally) -> impl Fn(&Parts) -> Fault + Send + Sync {
    let random = Mutex::new(random);
    move |request| {
        if !storm.is_on() {
            return Fault::Pass;
        }
        let mut random = random.lock().expect("no thread panics with it");
        let (name, fault) = match random.below(1000) {
            0..10 => ("500", Fault::Refuse(StatusCode::INTERNAL_SERVER_ERROR)),
            10..25 => ("503", Fault::Refuse(StatusCode::SERVICE_UNAVAILABLE)),
            25..35 => ("429", Fault::Refuse(StatusCode::TOO_MANY_REQUESTS)),
            35..50 => ("reset", Fault::Break),
            50..75 => ("answer lost", Fault::LoseAnswer),
            75..90 => ("500 after storing", Fault::SpoilAnswer(StatusCode::INTERNAL_SERVER_ERROR)),
            90..95 => ("409 after storing", Fault::SpoilAnswer(StatusCode::CONFLICT)),
            95..120 => ("slow", Fault::Slow(random.up_to(Duration::from_millis(800)))),
            // Longer than its clients wait for an answer, which they then take for lost.
            120..123 => ("late", Fault::Late(Duration::from_secs(5))),
            123..160 if request.method == Method::GET => ("body cut off", Fault::CutBody),
            _ => return Fault::Pass,
        };
        tally.count(name);
        fault
    }
}

/// What becomes of notices while there is a storm.
pub fn of_notices(storm: Storm, random: Random, tally: Tally) -> impl Fn(&Parts) -> Fault + Send + Sync {
    let random = Mutex::new(random);
    move |_| {
        if !storm.is_on() {
            return Fault::Pass;
        }
        let (name, fault) = match random.lock().expect("no thread panics with it").below(1000) {
            0..30 => ("notice taken, answer lost", Fault::LoseAnswer),
            30..60 => ("notice taken, answered 503", Fault::SpoilAnswer(StatusCode::SERVICE_UNAVAILABLE)),
            _ => return Fault::Pass,
        };
        tally.count(name);
        fault
    }
}

/// Kills the parts at random moments, every `gap` on average, until the storm ends; none without a gap.
/// The first part, the agent, is killed as often as all others together.
pub async fn kills(
    storm: Storm,
    mut random: Random,
    tally: Tally,
    parts: &[(&'static str, &Kept)],
    gap: Option<Duration>,
) {
    let Some(gap) = gap else { return };
    while storm.is_on() {
        tokio::time::sleep(random.up_to(gap * 2)).await;
        let (name, part) = parts[random.first_or_other(parts.len())];
        if storm.is_on() && part.kill() {
            tally.count(name);
        }
    }
}
