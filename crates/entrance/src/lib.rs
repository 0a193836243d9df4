//! How the programs let requests in: who may ask ([`Tokens`]), and over what ([`Tls`]).
//!
//! The agent's HTTP source and the server share it, so that both mean the same by a token and by
//! a certificate.

mod tls;
mod token;

pub use tls::{Tls, TlsError};
pub use token::{TokenError, Tokens, said};
