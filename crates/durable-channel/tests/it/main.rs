//! The channel as its users see it, on real and on simulated disks.

mod conformance;
mod damage;
mod failures;
mod journal;
mod model;
mod support;
