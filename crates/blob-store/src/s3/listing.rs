//! Pages of a listing: keys as the store writes them, and what to do where XML cannot hold one.
//!
//! XML has no way to say most control characters, and keys may hold them. So every listing asks for names in URL
//! encoding. A store that does not know how sends them as they are, and then the page cannot be read as XML: whoever
//! lists asks for smaller pages, until one holds nothing but the key that is at fault.

use std::borrow::Cow;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects_v2::{ListObjectsV2Error, ListObjectsV2Output};
use aws_sdk_s3::types::EncodingType;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use percent_encoding::percent_decode;

use super::{etag, length, time};
use crate::{Listed, Page, StoreError};

/// The page that the store answered.
pub(super) fn page(output: ListObjectsV2Output) -> Page {
    let encoding = output.encoding_type;
    let mut page = Page { truncated: output.is_truncated == Some(true), ..Page::default() };
    for object in output.contents.unwrap_or_default() {
        let Some(written) = object.key else { continue };
        match name(&written, encoding.as_ref()) {
            Some(key) => page.objects.push(Listed {
                key,
                length: length(object.size).unwrap_or_default(),
                etag: etag(object.e_tag),
                last_modified: object.last_modified.and_then(time),
            }),
            None => page.unreadable.push(past(&written)),
        }
    }
    page
}

/// A name as it is, if it is text. With spaces as `+`, as AWS encodes them; a plus sign itself comes as `%2B`.
pub(super) fn name(written: &str, encoding: Option<&EncodingType>) -> Option<String> {
    if encoding != Some(&EncodingType::Url) {
        return Some(written.to_owned());
    }
    let spaced = written.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().map(Cow::into_owned).ok()
}

/// A text that sorts after a name which is none: what of it is text, and then the last character that there is.
fn past(written: &str) -> String {
    let spaced = written.replace('+', " ");
    let bytes: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    format!("{text}{}", char::MAX)
}

/// The page behind an answer that is no XML, if it was asked to hold one object at most: that key, to be passed over.
pub(super) fn of_one_key(error: &StoreError) -> Option<Page> {
    let source = error.source.as_deref()?.downcast_ref::<SdkError<ListObjectsV2Error, HttpResponse>>()?;
    let body = std::str::from_utf8(source.raw_response()?.body().bytes()?).ok()?;
    let contents = body.split_once("<ListBucketResult")?.1.split_once("<Contents>")?.1;
    let (key, _) = contents.split_once("<Key>")?.1.split_once("</Key>")?;
    let truncated = body.contains("<IsTruncated>true</IsTruncated>");
    Some(Page { unreadable: vec![unescaped(key)], truncated, ..Page::default() })
}

/// Text out of XML, whatever characters it names.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let reference = part.split_once(';').and_then(|(name, rest)| Some((referred(name)?, rest)));
        if let Some((character, rest)) = reference {
            whole.push(character);
            whole.push_str(rest);
        } else {
            whole.push('&');
            whole.push_str(part);
        }
    }
    whole
}

fn referred(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_as_aws_encodes_them_and_left_alone_where_the_store_encodes_none() {
        let url = Some(&EncodingType::Url);
        for (written, key) in [
            ("plain/key-1_2.json", "plain/key-1_2.json"),
            ("in/sp+ace%2Bplus%26", "in/sp ace+plus&"),
            ("100%25/a%2520b", "100%/a%20b"),
            ("a%01b%00%EF%BF%BE", "a\u{1}b\0\u{fffe}"),
        ] {
            assert_eq!(name(written, url).as_deref(), Some(key));
            assert_eq!(name(written, None).as_deref(), Some(written));
        }
        assert_eq!(name("a%FF", url), None);
        assert_eq!(past("sp+ace%FFb"), "sp ace\u{10ffff}");
    }

    #[test]
    fn references_in_xml_are_characters_even_those_that_xml_forbids() {
        assert_eq!(unescaped("a&amp;&#1;&#x1f;b&lt;&gt;&quot;&apos;"), "a&\u{1}\u{1f}b<>\"'");
        assert_eq!(unescaped("a&b; &#xzz; &"), "a&b; &#xzz; &");
    }
}
