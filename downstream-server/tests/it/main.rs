//! The server as a whole, from outside: in this process over an in-memory store, and as the
//! program that is shipped.

mod deliveries;
mod program;
mod site;
