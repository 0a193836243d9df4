//! The catalogue: what was seen to answer for a store, and what a store may answer wrongly itself.

use std::time::Duration;

use super::{Lie, Wrong};
use crate::Operation;

const PAGE: &str =
    "<!DOCTYPE html><html><head><title>Maintenance</title></head><body>Back soon.</body></html>";
const HTML: (&str, &str) = ("content-type", "text/html");
const ETAG: (&str, &str) = ("etag", "\"5f3a-61d2\"");
const MODIFIED: (&str, &str) = ("last-modified", "Tue, 06 Oct 2026 10:00:00 GMT");
const JSON: (&str, &str) = ("content-type", "application/json");
const XML: (&str, &str) = ("content-type", "application/xml");
/// An answer to another request: what a proxy that mixes its connections up may give.
const OTHER: &str = "<?xml version=\"1.0\"?><ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>";
const ERROR: &str =
    "<?xml version=\"1.0\"?><Error><Code>InternalError</Code><Message>try again</Message></Error>";

/// Every wrong answer to `operation`: each at first without that the store hears of the request, then, where that
/// makes a difference, after it has done as asked.
pub fn lies(operation: Operation) -> Vec<Lie> {
    let mut lies = Vec::new();
    for (name, answer) in anybody(operation) {
        lies.push(Lie { name, heard: false, answer: answer.clone() });
        if operation.changes() {
            lies.push(Lie { name, heard: true, answer });
        }
    }
    lies.extend(distorted(operation).into_iter().map(|(name, answer)| Lie { name, heard: true, answer }));
    lies
}

impl Operation {
    /// Whether something is another afterwards.
    fn changes(self) -> bool {
        !matches!(self, Self::Check | Self::Head | Self::Get | Self::List | Self::ListUploads)
    }

    /// Whether S3's answer has a body of XML.
    fn answers_xml(self) -> bool {
        matches!(self, Self::CreateUpload | Self::CompleteUpload | Self::List | Self::ListUploads)
    }
}

/// What whoever stands between may say to any request.
fn anybody(operation: Operation) -> Vec<(&'static str, Wrong)> {
    let instead = |status, headers: &[(&'static str, &'static str)], body| {
        Wrong::Instead(status, headers.to_vec(), body)
    };
    let mut answers = vec![
        ("a maintenance page with 200", instead(200, &[HTML], PAGE)),
        ("a file of a web server with 200", instead(200, &[HTML, ETAG, MODIFIED], PAGE)),
        ("a page with a weak tag", instead(200, &[HTML, ("etag", "W/\"5e-x\""), MODIFIED], PAGE)),
        ("JSON with 200", instead(200, &[JSON], "{\"status\":\"ok\"}")),
        ("200 and nothing else", instead(200, &[], "")),
        ("204", instead(204, &[], "")),
        ("202", instead(202, &[], "")),
        ("206", instead(206, &[("content-range", "bytes 0-1/2")], "xx")),
        ("XML of another request", instead(200, &[XML], OTHER)),
        ("an error in a 200", instead(200, &[XML], ERROR)),
        ("a captive portal", instead(302, &[("location", "http://portal.invalid/login"), HTML], PAGE)),
        ("moved for good", instead(301, &[("location", "http://elsewhere.invalid/"), HTML], PAGE)),
        ("304", instead(304, &[], "")),
        ("a page with 401", instead(401, &[HTML, ("www-authenticate", "Basic realm=\"proxy\"")], PAGE)),
        ("a page with 403", instead(403, &[HTML], PAGE)),
        ("a page with 404", instead(404, &[HTML], PAGE)),
        ("a page with 405", instead(405, &[HTML], PAGE)),
        ("a page with 407", instead(407, &[HTML], PAGE)),
        ("a page with 409", instead(409, &[HTML], PAGE)),
        ("a page with 410", instead(410, &[HTML], PAGE)),
        ("a page with 412", instead(412, &[HTML], PAGE)),
        ("a page with 413", instead(413, &[HTML], PAGE)),
        ("a page with 418", instead(418, &[HTML], PAGE)),
        ("a page with 429", instead(429, &[HTML], PAGE)),
        ("a page with 500", instead(500, &[HTML], PAGE)),
        ("a page with 502", instead(502, &[HTML], PAGE)),
        ("a page with 503", instead(503, &[HTML], PAGE)),
        ("a status that there is not", instead(799, &[], "")),
        ("no HTTP", Wrong::Noise),
        ("nothing", Wrong::Nothing),
        ("silence", Wrong::Silence),
    ];
    if operation == Operation::Head {
        answers.push((
            "the head of a page",
            instead(200, &[HTML, ETAG, MODIFIED, ("x-cache", "HIT"), ("content-length", "92")], ""),
        ));
    }
    answers
}

/// What becomes of S3's own answer on the way.
fn distorted(operation: Operation) -> Vec<(&'static str, Wrong)> {
    let mut answers = vec![
        ("late", Wrong::Late(Duration::from_millis(30))),
        ("the truth as 500", Wrong::Status(500)),
        ("the truth as 503", Wrong::Status(503)),
    ];
    match operation {
        Operation::Put | Operation::UploadPart => answers.extend([
            ("no tag and no checksum", Wrong::Without(&["etag", "x-amz-checksum-crc32c"])),
            ("another checksum", Wrong::With("x-amz-checksum-crc32c", "AAAAAA==")),
            ("a page as its body", Wrong::Body(PAGE)),
        ]),
        Operation::Head => answers.extend([
            ("no tag", Wrong::Without(&["etag"])),
            ("no length", Wrong::Without(&["content-length"])),
            ("a length of more than there is", Wrong::With("content-length", "123456789012")),
        ]),
        Operation::Get => answers.extend([
            ("no tag", Wrong::Without(&["etag"])),
            ("half of the body", Wrong::Short(3)),
            ("no body", Wrong::Short(0)),
            ("other bytes", Wrong::Body(PAGE)),
        ]),
        _ => {}
    }
    if operation.answers_xml() {
        answers.extend([
            ("half of the XML", Wrong::Short(40)),
            ("no XML", Wrong::Body("")),
            ("XML that is cut off and told as whole", Wrong::Body("<?xml version=\"1.0\"?><")),
            ("XML of another request", Wrong::Body(OTHER)),
        ]);
    }
    answers
}
