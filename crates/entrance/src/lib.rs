//! How the programs let requests in: how many connections at a time ([`listen`], [`descriptors`]), what is asked of a
//! request whatever it is about ([`http`]), who may ask ([`Tokens`]), and over what ([`Tls`]); and how a program asks one
//! of its own kind ([`pinned`]).
//!
//! The agent's sources, its admin address and the server share it, so that all mean the same by a limit, a token
//! and a certificate.

pub mod descriptors;
pub mod http;
pub mod listen;
mod pinned;
mod tls;
mod token;

pub use pinned::pinned;
pub use tls::{Tls, TlsError};
pub use token::{TokenError, Tokens, said};
