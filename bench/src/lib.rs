//! The hot parts of the agent alone, each with its input ready.
//!
//! `benches/` times them, and the program `instructions` counts the instructions of those in [`COUNTED`].

pub mod channel;
pub mod decode;
pub mod encode;
pub mod sample;
pub mod sink;

/// One part of the agent and its input: does its work once and returns how many events that were.
pub type Part = Box<dyn FnMut() -> u64>;

/// A part's name, and how it is made.
pub type Named = (&'static str, fn() -> Part);

/// The parts whose instructions have a budget in `instructions.toml`, in the order in which an event meets them.
pub const COUNTED: [Named; 6] = [
    ("decode_ndjson", decode::ndjson),
    ("decode_netcat", decode::netcat),
    ("channel_append", || channel::append(1)),
    ("partition", encode::partition),
    ("sink_streamed", sink::streamed),
    ("sink_partitioned", sink::partitioned),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counted_part_has_a_budget_and_every_budget_a_part() {
        let budgets = include_str!("../instructions.toml").lines().filter(|line| line.starts_with('['));
        let parts: Vec<_> = COUNTED.iter().map(|(name, _)| format!("[{name}]")).collect();
        assert_eq!(budgets.collect::<Vec<_>>(), parts);
    }
}
