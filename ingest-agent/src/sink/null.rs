//! The `null` sink: settles every event and keeps none. It measures the rest of an agent, and proves the contract.
