//! How the programs let requests in: who may ask ([`Tokens`]), and over what ([`Tls`]); and how a program
//! asks one of its own kind ([`pinned`]).
//!
//! The agent's HTTP source and the server share it, so that both mean the same by a token and by
//! a certificate.

mod pinned;
mod tls;
mod token;

pub use pinned::pinned;
pub use tls::{Tls, TlsError};
pub use token::{TokenError, Tokens, said};
