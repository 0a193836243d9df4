//! Listing in S3's order. A page costs what it holds: a common prefix is passed with one seek, whatever lies below.

use rusqlite::{Connection, params};

use super::{StoreError, catalog};

/// What to list.
#[derive(Debug)]
pub(crate) struct ListQuery {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// Groups keys by what comes up to its first occurrence after the prefix.
    pub(crate) delimiter: Option<String>,
    pub(crate) from: Cursor,
    /// At most this many objects and common prefixes together.
    pub(crate) max: usize,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    Start,
    /// After this key.
    After(String),
    /// After every key with this prefix.
    AfterPrefix(String),
}

/// One listed object.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: u64,
}

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) objects: Vec<Listed>,
    pub(crate) common_prefixes: Vec<String>,
    /// Where the next page goes on, if there is more.
    pub(crate) next: Option<Cursor>,
}

/// Lists one page.
pub(crate) fn list(connection: &Connection, query: &ListQuery) -> Result<Listing, StoreError> {
    catalog::require_bucket(connection, &query.bucket)?;
    let mut page = Listing::default();
    let mut last = query.from.clone();
    let mut statement = connection.prepare_cached(
        "SELECT key, size, etag, modified_ms FROM objects WHERE bucket = ?1 AND key >= ?2 ORDER BY key",
    )?;
    // One run of the statement lists keys up to a common prefix; the next one starts behind it.
    'seek: loop {
        let Some(least) = last.least_above() else { return Ok(page) };
        let mut rows = statement.query(params![query.bucket, least.max(query.prefix.clone())])?;
        while let Some(row) = rows.next()? {
            let key: String = row.get(0)?;
            if !key.starts_with(&query.prefix) {
                break;
            }
            if page.objects.len() + page.common_prefixes.len() == query.max {
                page.next = Some(last);
                return Ok(page);
            }
            if let Some(common) = common_prefix(&key, query) {
                page.common_prefixes.push(common.to_owned());
                last = Cursor::AfterPrefix(common.to_owned());
                continue 'seek;
            }
            page.objects.push(Listed {
                size: catalog::unsigned(row, 1)?,
                etag: row.get(2)?,
                modified_ms: catalog::unsigned(row, 3)?,
                key: key.clone(),
            });
            last = Cursor::After(key);
        }
        return Ok(page);
    }
}

impl Cursor {
    /// The least key at which the listing may go on; `None` if no key is high enough.
    fn least_above(&self) -> Option<String> {
        match self {
            Self::Start => Some(String::new()),
            Self::After(key) => Some(format!("{key}\0")),
            Self::AfterPrefix(prefix) => after_all_with(prefix),
        }
    }
}

/// The least string above all that start with `prefix`; `None` if there is none.
fn after_all_with(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The next code point, over the gap of the surrogates; none above the highest.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// The key up to the first delimiter after the prefix.
fn common_prefix<'a>(key: &'a str, query: &ListQuery) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref()?;
    let at = key[query.prefix.len()..].find(delimiter)?;
    Some(&key[..query.prefix.len() + at + delimiter.len()])
}

#[cfg(test)]
mod tests {
    use super::after_all_with;

    #[test]
    fn what_follows_a_prefix_is_above_all_that_start_with_it_and_not_above_more() {
        for (prefix, next) in [
            ("a/", Some("a0")),
            ("a", Some("b")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(after_all_with(prefix).as_deref(), next, "{prefix:?}");
        }
    }
}
