//! What a real answer is: S3's own, not somebody's who stands between us and the store.
//!
//! A gateway's maintenance page, a captive portal or a cache may answer any request with 200. Nothing is concluded
//! from an answer that is not as S3 gives it:
//!
//! | request | a yes is believed if |
//! |---|---|
//! | put | 200, a strong `ETag` or a checksum, no body; a checksum that comes back is the one that was sent |
//! | part | 200, a strong `ETag`, no body; the checksum likewise |
//! | create | 200, XML `InitiateMultipartUploadResult` with an upload id |
//! | complete | 200, XML `CompleteMultipartUploadResult` with an entity tag |
//! | abort, discard | 200 or 204, no body |
//! | head, get | 200 (206 to a get), a strong `ETag`, and no HTML that has no header of S3's |
//! | check | 200, no HTML, no promise of a body |
//! | list, list uploads | 200, XML of their own root |
//!
//! What is not is [`ErrorKind::NotS3`](crate::ErrorKind::NotS3), and may have been done all the same: look, and ask
//! again. A no is S3's if it has S3's error code; without one [`answer`](super::answer) believes only what does no
//! harm if it is wrong. Whoever lies in S3's own words, a tag and an empty body, is believed.

use std::fmt;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Why an answer is not S3's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotS3(pub(super) String);

/// Looks at every answer of the client that it is part of.
#[derive(Debug)]
pub(super) struct Genuine;

impl Intercept for Genuine {
    fn name(&self) -> &'static str {
        "genuine"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        if !response.status().is_success() {
            return Ok(());
        }
        let request = cfg.load::<Metadata>().map_or("", Metadata::name);
        Ok(check(request, response)?)
    }
}

/// Whether a yes is S3's. `request` is S3's name of it.
fn check(request: &str, response: &HttpResponse) -> Result<(), NotS3> {
    let seen = Seen(response);
    match request {
        "PutObject" => {
            seen.status(&[200])?;
            seen.no_body()?;
            if seen.header("x-amz-checksum-crc32c").is_none() { seen.tag() } else { Ok(()) }
        }
        "UploadPart" => {
            seen.status(&[200])?;
            seen.no_body()?;
            seen.tag()
        }
        "CreateMultipartUpload" => seen.xml("InitiateMultipartUploadResult"),
        "CompleteMultipartUpload" => seen.xml("CompleteMultipartUploadResult"),
        "ListMultipartUploads" => seen.xml("ListMultipartUploadsResult"),
        "ListObjectsV2" => seen.xml("ListBucketResult"),
        "AbortMultipartUpload" | "DeleteObject" => {
            seen.status(&[200, 204])?;
            seen.no_body()
        }
        "HeadObject" => {
            seen.status(&[200])?;
            seen.tag()?;
            seen.no_page()
        }
        "GetObject" => {
            seen.status(&[200, 206])?;
            seen.tag()?;
            seen.no_page()
        }
        "HeadBucket" => {
            seen.status(&[200])?;
            seen.no_page()?;
            match seen.header("content-length") {
                None | Some("0") => Ok(()),
                Some(_) if seen.has_s3s_header() => Ok(()),
                Some(length) => Err(seen.not_s3(format_args!("a body of {length} bytes is promised"))),
            }
        }
        _ => Ok(()),
    }
}

/// A yes, and what it shows.
struct Seen<'a>(&'a HttpResponse);

impl Seen<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)
    }

    /// Whether anything in it can only be S3's.
    fn has_s3s_header(&self) -> bool {
        self.0.headers().iter().any(|(name, _)| name.starts_with("x-amz-"))
    }

    fn status(&self, expected: &[u16]) -> Result<(), NotS3> {
        let status = self.0.status().as_u16();
        if expected.contains(&status) {
            return Ok(());
        }
        Err(self.not_s3(format_args!("its status is {status}")))
    }

    /// A tag that S3 may have given: a weak one is a web server's.
    fn tag(&self) -> Result<(), NotS3> {
        match self.header("etag") {
            Some(tag) if tag.starts_with("W/") => Err(self.not_s3("its entity tag is a weak one")),
            Some(tag) if !tag.trim_matches('"').is_empty() => Ok(()),
            _ => Err(self.not_s3("it has no entity tag")),
        }
    }

    fn no_body(&self) -> Result<(), NotS3> {
        match self.0.body().bytes() {
            Some(body) if !body.is_empty() => {
                Err(self.not_s3(format_args!("it has a body of {} bytes", body.len())))
            }
            _ => Ok(()),
        }
    }

    /// An object may be a page, but then S3 says so with a header of its own.
    fn no_page(&self) -> Result<(), NotS3> {
        let html = self.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        if html && !self.has_s3s_header() { Err(self.not_s3("it is a page")) } else { Ok(()) }
    }

    /// XML with this root. An error's is left to be read as one; a body that broke off is no answer at all.
    fn xml(&self, root: &str) -> Result<(), NotS3> {
        self.status(&[200])?;
        let Some(body) = self.0.body().bytes() else { return Ok(()) };
        match root_of(body) {
            Some(found) if found == root || found == "Error" => Ok(()),
            Some(found) => Err(self.not_s3(format_args!("it is <{found}> instead of <{root}>"))),
            None => Err(self.not_s3(format_args!("it is no XML <{root}>"))),
        }
    }

    fn not_s3(&self, why: impl fmt::Display) -> NotS3 {
        NotS3(format!("{why}{}", whose(self.0)))
    }
}

/// Who may have answered, as far as the answer says.
pub(super) fn whose(response: &HttpResponse) -> String {
    let header = |name: &str| response.headers().get(name).filter(|value| !value.is_empty());
    let said = [("server", "from"), ("via", "via"), ("content-type", "of type"), ("location", "sends to")];
    let said = said.iter().filter_map(|(name, word)| Some(format!("{word} {}", header(name)?)));
    let said: Vec<_> = said.collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}

/// The name of a document's first element, without its namespace's prefix.
pub(super) fn root_of(body: &[u8]) -> Option<&str> {
    // What comes behind may hold anything, a page of odd keys for instance.
    let text = body.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<?") => "?>",
            _ if rest.starts_with("<!--") => "-->",
            _ => break,
        };
        rest = rest.split_once(end)?.1.trim_start();
    }
    let name = rest.strip_prefix('<')?;
    let name = &name[..name.find(|end: char| end == '>' || end == '/' || end.is_whitespace())?];
    Some(name.rsplit(':').next().unwrap_or(name)).filter(|name| !name.is_empty() && !name.starts_with('!'))
}

impl fmt::Display for NotS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not S3's answer: {}", self.0)
    }
}

impl std::error::Error for NotS3 {}

#[cfg(test)]
mod tests {
    use super::root_of;

    #[test]
    fn the_root_of_a_document_is_found_behind_what_may_precede_it() {
        for document in [
            "<Root/>",
            "  \n<Root>x</Root>",
            "\u{feff}<?xml version=\"1.0\"?>\n<!-- <Other> --><Root a='1'>",
            "<ns:Root xmlns:ns='x'>",
        ] {
            assert_eq!(root_of(document.as_bytes()), Some("Root"), "{document}");
        }
        assert_eq!(root_of(b"<Root><Key>\xff</Key>"), Some("Root"));
        for nothing in ["", "text", "<", "<!DOCTYPE html><html>", "<?xml", "<Root", "{\"a\":1}"] {
            assert_eq!(root_of(nothing.as_bytes()), None, "{nothing}");
        }
        assert_eq!(root_of(b"\xff<Root>"), None);
    }
}
