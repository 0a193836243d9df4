//! What takes minutes: `cargo xtask test --long`. Each has a stage of its own, and most have a short
//! sibling among the other tests.

mod crowds;
mod fidelity;
mod frozen;
mod soak;
mod steady;
mod sync;
