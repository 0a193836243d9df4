//! What goes wrong in a long run, chosen by its seed: kills, an S3 that fails in every way, notices
//! that are lost or come twice, a disk that is full, a clock that jumps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::front::Fault;
use crate::host::{Clock, SmallDisk};
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

    fn is_on(&self) -> bool {
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

/// Kills the parts at random moments, every `gap` on average, until the storm ends. The first part,
/// the agent, is killed as often as all others together.
pub async fn kills(
    storm: Storm,
    mut random: Random,
    tally: Tally,
    parts: &[(&'static str, &Kept)],
    gap: Duration,
) {
    while storm.is_on() {
        tokio::time::sleep(random.up_to(gap * 2)).await;
        let others = parts.len() as u64 - 1;
        let (name, part) = parts[random.below(others * 2).saturating_sub(others - 1) as usize];
        if storm.is_on() && part.kill() {
            tally.count(name);
        }
    }
}

/// Fills the agent's disk now and then, for a moment.
pub async fn full_disk(storm: Storm, mut random: Random, tally: Tally, disk: &SmallDisk) {
    while storm.is_on() {
        tokio::time::sleep(random.up_to(Duration::from_secs(8))).await;
        if storm.is_on() {
            let _ballast = disk.fill();
            tally.count("disk full");
            tokio::time::sleep(random.up_to(Duration::from_secs(3))).await;
        }
    }
}

/// Sets the agent's clock now and then, forth and back by seconds, minutes and days.
pub async fn jumping_clock(storm: Storm, mut random: Random, tally: Tally, clock: &Clock) {
    while storm.is_on() {
        tokio::time::sleep(random.up_to(Duration::from_secs(4))).await;
        let furthest = [3, 240, 3 * 86_400][random.below(3) as usize];
        clock.set(random.below(2 * furthest).cast_signed() - furthest.cast_signed());
        tally.count("clock set");
    }
    clock.set(0);
}
