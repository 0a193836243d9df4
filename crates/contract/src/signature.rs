//! Signed messages after the Standard Webhooks convention, so that any of its libraries can check ours.
//!
//! The signed content is `<id>.<timestamp>.<body>`; a signature is `v1,` and the base64 of its
//! HMAC-SHA256. The header may hold several, separated by spaces, and a receiver may know several
//! secrets: that is how a secret is changed without a pause.
//!
//! A secret's text is `whsec_` and the base64 of its bytes, or any other text, whose bytes are the secret. The
//! convention's libraries take base64 without the prefix, too, and there is no telling which of the two such a
//! text is meant to be. So it is both: what it signs bears two signatures, and either of them is taken.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::without_mark;

/// The header with the message's id: the same for every try of the same message.
pub const HEADER_ID: &str = "webhook-id";
/// The header with the time of this try, in seconds since 1970.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures.
pub const HEADER_SIGNATURE: &str = "webhook-signature";

/// Base64 as people write it, with its padding or without.
const LOOSE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What sender and receiver share. Its text form is `whsec_` and base64, or any other text as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    bytes: Box<[u8]>,
    /// Of a text without the prefix that is base64 all the same: what it stands for then.
    decoded: Option<Box<[u8]>>,
}

/// Signs with one secret.
#[derive(Clone)]
pub struct Signer {
    /// One, or two where a secret's text may mean two.
    keyed: Vec<Hmac<Sha256>>,
}

/// The three headers of a received message, as far as it had them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// [`HEADER_ID`].
    pub id: Option<&'a str>,
    /// [`HEADER_TIMESTAMP`].
    pub timestamp: Option<&'a str>,
    /// [`HEADER_SIGNATURE`]. Where a message has several such lines, all of them, separated by spaces or
    /// commas.
    pub signature: Option<&'a str>,
}

/// Why a text cannot be a secret. It never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// What follows `whsec_` is not base64.
    #[error("what follows \"whsec_\" in the secret is not base64")]
    Base64,
    /// So short that it could be guessed.
    #[error("the secret has {bytes} bytes; at least {min} are needed, 32 random ones are good", min = Secret::MIN_BYTES)]
    TooShort {
        /// Bytes of the secret.
        bytes: usize,
    },
}

/// Why a message is not taken for genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// A header is not there.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// The time is not a number of seconds.
    #[error("the header {HEADER_TIMESTAMP} is not a number of seconds since 1970")]
    Timestamp,
    /// The message is older than the tolerance: a replay, or clocks that differ.
    #[error("the message was signed {seconds} s ago, which is too long; do the clocks agree?")]
    TooOld {
        /// Its age in seconds.
        seconds: u64,
    },
    /// The message comes from further ahead than the tolerance.
    #[error("the message was signed {seconds} s in the future; do the clocks agree?")]
    TooNew {
        /// How far ahead, in seconds.
        seconds: u64,
    },
    /// No signature fits any secret.
    #[error("no signature in the header {HEADER_SIGNATURE} fits")]
    NoMatch,
}

/// Checks that the holder of one of `secrets` signed this id, time and body, and that the time is
/// within `tolerance` of `now_s` (seconds since 1970), either way.
pub fn verify(
    secrets: &[Secret],
    headers: Headers<'_>,
    body: &[u8],
    now_s: u64,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let id = headers.id.ok_or(SignatureError::Missing(HEADER_ID))?;
    let timestamp = headers.timestamp.ok_or(SignatureError::Missing(HEADER_TIMESTAMP))?;
    let signatures = headers.signature.ok_or(SignatureError::Missing(HEADER_SIGNATURE))?;
    let signed_s: u64 = timestamp.parse().map_err(|_| SignatureError::Timestamp)?;

    let signers: Vec<_> = secrets.iter().map(Signer::new).collect();
    let fits = |tag: &str| {
        let Ok(tag) = STANDARD.decode(tag) else { return false };
        // The comparison takes the same time wherever the two differ.
        let mut macs = signers.iter().flat_map(|signer| signer.macs(id, timestamp, body));
        macs.any(|mac| mac.verify_slice(&tag).is_ok())
    };
    // Signatures are separated by spaces, and, where a proxy has joined two lines into one, by commas; a comma
    // stands within each as well, between its version and its base64, which holds neither of the two.
    let words: Vec<_> = signatures.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
    if !words.windows(2).any(|pair| pair[0] == "v1" && fits(pair[1])) {
        return Err(SignatureError::NoMatch);
    }
    if now_s.saturating_sub(signed_s) > tolerance.as_secs() {
        return Err(SignatureError::TooOld { seconds: now_s - signed_s });
    }
    if signed_s.saturating_sub(now_s) > tolerance.as_secs() {
        return Err(SignatureError::TooNew { seconds: signed_s - now_s });
    }
    Ok(())
}

// === impl Secret ===

impl Secret {
    /// The shortest secret, in bytes.
    pub const MIN_BYTES: usize = 16;
    /// What marks a text as base64.
    const PREFIX: &str = "whsec_";

    /// The text form that [`FromStr`] reads: to hand the secret on, never to show it.
    pub fn reveal(&self) -> String {
        match (&self.decoded, std::str::from_utf8(&self.bytes)) {
            // With the prefix it would mean but one of the two.
            (Some(_), Ok(text)) => text.to_owned(),
            _ => format!("{}{}", Self::PREFIX, STANDARD.encode(&self.bytes)),
        }
    }
}

impl TryFrom<&[u8]> for Secret {
    type Error = SecretError;

    /// A secret of these bytes.
    fn try_from(bytes: &[u8]) -> Result<Self, SecretError> {
        if bytes.len() < Self::MIN_BYTES {
            return Err(SecretError::TooShort { bytes: bytes.len() });
        }
        Ok(Self { bytes: bytes.into(), decoded: None })
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    /// Reads `whsec_<base64>`, or takes any other text as it is; white space around it, such as a
    /// file's last newline, and a byte order mark are not part of it.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let text = without_mark(text).trim();
        if let Some(encoded) = text.strip_prefix(Self::PREFIX) {
            return LOOSE.decode(encoded).map_err(|_| SecretError::Base64)?.as_slice().try_into();
        }
        let decoded = LOOSE.decode(text).ok().filter(|bytes| bytes.len() >= Self::MIN_BYTES);
        Ok(Self { decoded: decoded.map(Into::into), ..text.as_bytes().try_into()? })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

// === impl Signer ===

impl Signer {
    /// A signer with this secret.
    pub fn new(secret: &Secret) -> Self {
        let keys = std::iter::once(&secret.bytes).chain(&secret.decoded);
        let keyed = |key| Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Self { keyed: keys.map(|key| keyed(key)).collect() }
    }

    /// The value of [`HEADER_SIGNATURE`] for a message sent at `timestamp_s`, seconds since 1970.
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let timestamp = timestamp_s.to_string();
        let tags = self.macs(id, &timestamp, body).map(|mac| STANDARD.encode(mac.finalize().into_bytes()));
        tags.map(|tag| format!("v1,{tag}")).collect::<Vec<_>>().join(" ")
    }

    fn macs(&self, id: &str, timestamp: &str, body: &[u8]) -> impl Iterator<Item = Hmac<Sha256>> {
        self.keyed.iter().cloned().map(move |mut mac| {
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            mac
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

#[cfg(test)]
mod tests;
