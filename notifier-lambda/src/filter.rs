//! Which notices the server wants. What is filtered out is counted apart, never silently dropped.

use std::ops::RangeInclusive;

use contract::Notice;

/// All of it must hold for a notice to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What the decoded key begins with.
    pub prefix: String,
    /// What the decoded key ends with.
    pub suffix: String,
    /// The object's length in bytes. An event that tells none passes: only the object can tell.
    pub size: RangeInclusive<u64>,
}

impl Filter {
    /// Whether the server wants this notice.
    pub fn passes(&self, notice: &Notice) -> bool {
        notice.key.starts_with(&self.prefix)
            && notice.key.ends_with(&self.suffix)
            && notice.size.is_none_or(|size| self.size.contains(&size))
    }
}

impl Default for Filter {
    /// Everything passes.
    fn default() -> Self {
        Self { prefix: String::new(), suffix: String::new(), size: 0..=u64::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: Option<u64>) -> Notice {
        Notice { size, ..Notice::new("logs", key) }
    }

    #[test]
    fn without_a_filter_everything_passes() {
        for size in [None, Some(0), Some(u64::MAX)] {
            assert!(Filter::default().passes(&object("any/key", size)));
        }
    }

    #[test]
    fn prefix_suffix_and_size_must_all_hold_for_the_decoded_key() {
        let filter = Filter { prefix: "a b/".to_owned(), suffix: ".gz".to_owned(), size: 1..=10 };
        assert!(filter.passes(&object("a b/x.gz", Some(1))));
        assert!(filter.passes(&object("a b/x.gz", Some(10))));
        assert!(filter.passes(&object("a b/x.gz", None)), "an unknown size is no reason to drop it");
        for (key, size) in [("a+b/x.gz", 5), ("a b/x.gzip", 5), ("a b/x.gz", 0), ("a b/x.gz", 11)] {
            assert!(!filter.passes(&object(key, Some(size))), "{key} {size}");
        }
    }
}
