//! The `logger` sink: one log line an event, for a first look at what arrives.
