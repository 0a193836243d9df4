//! Where a cut's object lies in the bucket, and how a key tells whose object it names.
//!
//! A key is `<prefix>/<rendered template>/<cut id>.<extension>`. The cut id alone is the identity;
//! all before it is for people and query engines.

use crate::CutId;

/// The longest key that S3 takes, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;

/// The one place that writes and reads object keys.
#[derive(Debug)]
pub struct ObjectKey;

/// Why a key cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// S3 would refuse it.
    #[error("the key would have {bytes} bytes; S3 takes at most {MAX_KEY_BYTES}")]
    TooLong {
        /// The length that the key would have.
        bytes: usize,
    },
}

impl ObjectKey {
    /// The key of `cut`: the parts that are not empty, joined by single slashes.
    ///
    /// `prefix` and `rendered` may end in a slash or not; `ext` has no leading dot and may hold
    /// several (`ndjson.gz`).
    pub fn render(prefix: &str, rendered: &str, cut: &CutId, ext: &str) -> Result<String, KeyError> {
        let mut key = String::with_capacity(prefix.len() + rendered.len() + ext.len() + 96);
        for part in [prefix.trim_end_matches('/'), rendered.trim_matches('/')] {
            if !part.is_empty() {
                key.push_str(part);
                key.push('/');
            }
        }
        key.push_str(&cut.to_string());
        if !ext.is_empty() {
            key.push('.');
            key.push_str(ext);
        }
        if key.len() > MAX_KEY_BYTES { Err(KeyError::TooLong { bytes: key.len() }) } else { Ok(key) }
    }

    /// The cut whose object `key` names: its last path segment up to the first dot. `None` for a
    /// foreign object.
    ///
    /// Anyone who can write to the bucket can choose such a key; the object's metadata must say the same.
    pub fn cut_of(key: &str) -> Option<CutId> {
        let name = key.rsplit('/').next()?;
        name.split('.').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::tests::any_cut;

    fn cut() -> CutId {
        "000102030405060708090a0b0c0d0e0f-s3-000000000007".parse().unwrap()
    }

    proptest! {
        #[test]
        fn every_key_names_its_cut(
            cut in any_cut(), prefix in "[a-z=/. ]{0,40}", rendered in "\\PC{0,100}", ext in "[a-z.]{0,12}",
        ) {
            let key = ObjectKey::render(&prefix, &rendered, &cut, &ext).unwrap();
            prop_assert_eq!(ObjectKey::cut_of(&key), Some(cut));
        }

        #[test]
        fn a_key_never_exceeds_what_s3_takes(rendered in "[\u{e9}a/]{0,1100}") {
            match ObjectKey::render("logs", &rendered, &cut(), "ndjson") {
                Ok(key) => prop_assert!(key.len() <= MAX_KEY_BYTES),
                Err(KeyError::TooLong { bytes }) => prop_assert!(bytes > MAX_KEY_BYTES),
            }
        }
    }

    #[test]
    fn the_parts_are_joined_by_single_slashes() {
        let key = |prefix, rendered, ext| ObjectKey::render(prefix, rendered, &cut(), ext).unwrap();
        let id = cut().to_string();
        assert_eq!(key("logs", "dt=2026-01-02", "ndjson.gz"), format!("logs/dt=2026-01-02/{id}.ndjson.gz"));
        assert_eq!(key("logs/", "/dt=2026-01-02/", "txt"), format!("logs/dt=2026-01-02/{id}.txt"));
        assert_eq!(key("", "", ""), id);
        assert_eq!(key("", "a/b", "txt"), format!("a/b/{id}.txt"));
    }

    #[test]
    fn a_foreign_key_names_no_cut() {
        for key in
            ["", "a/b.txt", "photos/", "abc-s3-000000000007.txt", "000102030405060708090a0b0c0d0e0f.txt"]
        {
            assert_eq!(ObjectKey::cut_of(key), None, "{key}");
        }
        assert_eq!(ObjectKey::cut_of(&format!("{}.d/readme", cut())), None, "only the last segment counts");
    }
}
