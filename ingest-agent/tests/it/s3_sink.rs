//! The S3 sink over a durable channel in a temporary folder and a store in memory that misbehaves on purpose.

mod answers;
mod claims;
mod crashes;
mod damage;
mod dead_letters;
mod rig;
mod rolling;
