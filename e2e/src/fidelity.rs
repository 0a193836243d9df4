//! One event in, one event out (I10): events of every shape, sent by every door, stored in every format
//! and given to every consumer, while everything is killed; compared byte for byte, or by the form in
//! JSON that the documents give.
//!
//! ```text
//! doors -> agent -> [front] -> local cloud -> notifier -> [fan-out] -> servers -> consumers
//! ```
//!
//! No event is kept: each is a function of its number ([`shapes`]). What is stored is compared with what
//! was sent and answered ([`views`] says what an event is in each format); what each consumer has is
//! compared with what is stored.

pub mod consumers;
pub mod doors;
pub mod run;
pub mod senders;
pub mod shapes;
pub mod tally;
pub mod views;
