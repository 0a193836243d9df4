//! The S3 sink over a durable channel in a temporary folder and a store in memory that misbehaves on purpose.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on has failed its test")]

mod accounts;
mod answers;
mod claims;
mod crashes;
mod damage;
mod dead_letters;
mod every_answer;
mod fixture;
mod formats;
mod lies;
mod power;
mod pressure;
mod rig;
mod rolling;
mod rot;
mod shipping;
mod standstill;
mod steps;
mod versions;
mod weaker;
