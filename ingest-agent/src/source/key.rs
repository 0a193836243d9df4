//! The `Idempotency-Key` of a request: who says it, what it covers, and what is kept of it.
//!
//! A key means something only to its sender and its source. What is kept is a hash of all three
//! ([`KeyStamp::id`]), and a digest of the request's content: which interface it was sent to, its content type, and its
//! body as it is when decompressed. So a request that is sent again compressed, or in other chunks, is the same one.

use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::event::KeyStamp;

/// Who sends a request, as far as the source knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody was asked.
    Anonymous,
    /// The name of the token that the request was let in with.
    Named(String),
}

/// A request's key and the digest of what has arrived of it.
pub struct Keyed {
    id: [u8; 16],
    content: Sha256,
}

/// A header that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Longer than the limit.
    #[error("the Idempotency-Key has {bytes} bytes, at most {limit} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Empty, or not visible ASCII.
    #[error("the Idempotency-Key is not of visible ASCII characters: send one such as a UUID")]
    Characters,
    /// Given more than once.
    #[error("the request has more than one Idempotency-Key")]
    Several,
}

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

// === impl Keyed ===

impl Keyed {
    /// The key that `headers` have, if they have one, of at most `limit` bytes. It counts for what `principal` sends to
    /// the source `source`.
    pub fn of(
        headers: &HeaderMap,
        limit: usize,
        principal: &Principal,
        source: &str,
    ) -> Result<Option<Self>, BadKey> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = values.next().map(HeaderValue::as_bytes) else { return Ok(None) };
        if values.next().is_some() {
            return Err(BadKey::Several);
        }
        if key.len() > limit {
            return Err(BadKey::TooLong { bytes: key.len(), limit });
        }
        if key.is_empty() || !key.iter().all(u8::is_ascii_graphic) {
            return Err(BadKey::Characters);
        }
        let (named, principal) = match principal {
            Principal::Anonymous => (0, ""),
            Principal::Named(name) => (1, name.as_str()),
        };
        let mut id = Sha256::new_with_prefix(b"sluicegate key 1");
        id.update([named]);
        for part in [principal.as_bytes(), source.as_bytes(), key] {
            put(&mut id, part);
        }
        Ok(Some(Self { id: cut(id), content: Sha256::new_with_prefix(b"sluicegate content 1") }))
    }

    /// Says which interface the request is for, and its content type, before its body.
    pub fn begin(&mut self, interface: &str, content_type: &str) {
        put(&mut self.content, interface.as_bytes());
        put(&mut self.content, content_type.trim().to_ascii_lowercase().as_bytes());
    }

    /// The next bytes of the body, decompressed.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.content.update(chunk);
    }

    /// What is kept, once the body is complete.
    pub fn stamp(self) -> KeyStamp {
        KeyStamp { id: self.id, digest: cut(self.content) }
    }
}

/// With its length first, so that no two lists of parts are one text.
fn put(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

fn cut(hash: Sha256) -> [u8; 16] {
    let hash: [u8; 32] = hash.finalize().into();
    *hash.first_chunk().expect("half of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(keys: &[&[u8]]) -> HeaderMap {
        let values = keys.iter().map(|key| (IDEMPOTENCY_KEY, HeaderValue::from_bytes(key).unwrap()));
        values.collect::<Vec<_>>().into_iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    fn stamp(key: &str, principal: &Principal, source: &str, content: [&str; 3]) -> KeyStamp {
        let mut keyed = Keyed::of(&headers(&[key.as_bytes()]), 64, principal, source).unwrap().unwrap();
        let [interface, content_type, body] = content;
        keyed.begin(interface, content_type);
        keyed.feed(body.as_bytes());
        keyed.stamp()
    }

    #[test]
    fn a_key_counts_for_its_principal_and_its_source_only() {
        let content = ["events", "text/plain", "body"];
        let token = |name: &str| Principal::Named(name.to_owned());
        let stamps = [
            stamp("k", &Principal::Anonymous, "web", content),
            stamp("k", &Principal::Anonymous, "we", content),
            stamp("bk", &Principal::Anonymous, "we", content),
            stamp("k", &token(""), "web", content),
            stamp("k", &token("a"), "web", content),
            stamp("K", &Principal::Anonymous, "web", content),
        ];
        for (index, one) in stamps.iter().enumerate() {
            assert!(stamps[index + 1..].iter().all(|other| other.id != one.id), "{index}");
            assert_eq!(one.digest, stamps[0].digest);
        }
        assert_eq!(stamps[0], stamp("k", &Principal::Anonymous, "web", content));
    }

    #[test]
    fn the_digest_covers_interface_content_type_and_body() {
        let digest = |content| stamp("k", &Principal::Anonymous, "web", content).digest;
        let one = digest(["events", "text/plain", "body"]);
        assert_eq!(one, digest(["events", " Text/Plain ", "body"]));
        let others =
            [["flume", "text/plain", "body"], ["events", "text/plai", "nbody"], ["events", "text/plain", ""]];
        for other in others {
            assert_ne!(one, digest(other), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_limit_or_what_to_send() {
        let read = |keys: &[&[u8]]| {
            Keyed::of(&headers(keys), 10, &Principal::Anonymous, "web").map(|key| key.is_some())
        };
        assert_eq!(read(&[]), Ok(false));
        assert_eq!(read(&[b"0123456789"]), Ok(true));
        assert_eq!(read(&[b"0123456789a"]), Err(BadKey::TooLong { bytes: 11, limit: 10 }));
        for bad in [&b""[..], b"a b", b"gr\xc3\xbcn", b"a\tb"] {
            assert_eq!(read(&[bad]), Err(BadKey::Characters), "{bad:?}");
        }
        assert_eq!(read(&[b"a", b"a"]), Err(BadKey::Several));
    }
}
