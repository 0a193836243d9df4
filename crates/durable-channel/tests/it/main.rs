//! The channel as its users see it, on real and on simulated disks.

#![expect(clippy::unwrap_used, reason = "tests, and what only they call")]

mod conformance;
mod damage;
mod damage_table;
mod failures;
mod fixture;
mod journal;
mod live;
mod model;
mod reading;
mod repair;
mod reservations;
mod shortages;
mod support;
mod versions;
