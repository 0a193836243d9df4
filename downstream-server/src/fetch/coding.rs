//! Which compression the bytes of an object are in that the agent did not write.
//!
//! `Content-Encoding` is what somebody typed. It lists codings in the order in which they were applied, with
//! no regard to case; some of the words are about the transfer alone, and some are about no compression at
//! all, for people write charsets there.

use blob_store::ObjectInfo;
use object_format::Coding;

use super::FetchError;
use crate::config::CodecBy;

/// The codec, by `Content-Encoding` or, where that names none, by the key's ending.
pub(super) fn of(key: &str, info: &ObjectInfo, by: CodecBy) -> Result<Coding, FetchError> {
    let header = info.content_encoding.as_deref().filter(|_| by == CodecBy::Header).unwrap_or_default();
    let words = header.split(',').map(str::trim).filter(|word| !is_no_coding(word));
    match words.collect::<Vec<_>>().as_slice() {
        [] => {}
        [one] => match Coding::of_content_encoding(one) {
            Some(coding) => return Ok(coding),
            None if is_no_compression(one) => tracing::warn!(
                key,
                content_encoding = header,
                "the object's Content-Encoding names no compression and is passed over"
            ),
            None => return Err(FetchError::Encoding(header.to_owned())),
        },
        _ => return Err(FetchError::Encoding(header.to_owned())),
    }
    let ending = key.rsplit_once('.').and_then(|(_, ending)| Coding::of_extension(ending));
    Ok(ending.unwrap_or_default())
}

fn is_any(word: &str, words: &[&str]) -> bool {
    words.iter().any(|one| one.eq_ignore_ascii_case(word))
}

/// `aws-chunked` was about the request that stored the object.
fn is_no_coding(word: &str) -> bool {
    word.is_empty() || is_any(word, &["identity", "none", "aws-chunked"])
}

/// A charset, a way to write bytes as text, or a media type.
fn is_no_compression(word: &str) -> bool {
    const TRANSFERS: [&str; 5] = ["base64", "quoted-printable", "7bit", "8bit", "binary"];
    const CHARSETS: [&str; 8] = ["utf", "ascii", "us-ascii", "iso-8859", "latin", "windows-", "cp125", "ucs"];
    let word = word.to_ascii_lowercase();
    let begins = |charset: &&str| word.strip_prefix("charset=").unwrap_or(&word).starts_with(charset);
    TRANSFERS.contains(&&*word) || CHARSETS.iter().any(begins) || word.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_header(header: &str, key: &str, by: CodecBy) -> Result<String, String> {
        let info = ObjectInfo { content_encoding: Some(header.to_owned()), ..ObjectInfo::default() };
        of(key, &info, by).map(|coding| coding.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn codings_have_no_case_and_what_is_about_the_transfer_is_passed_over_wherever_it_stands() {
        for header in [
            "gzip",
            "GZIP",
            "x-gzip",
            "aws-chunked,gzip",
            "gzip, AWS-Chunked",
            " aws-chunked , gzip ,",
            "identity,gzip",
        ] {
            assert_eq!(of_header(header, "a.txt", CodecBy::Header).as_deref(), Ok("gzip"), "{header}");
        }
        assert_eq!(of_header("aws-chunked,ZSTD", "a", CodecBy::Header).as_deref(), Ok("zstd"));
    }

    #[test]
    fn where_the_header_names_no_compression_the_key_decides() {
        for header in [
            "",
            "identity",
            "none",
            "aws-chunked",
            "utf-8",
            "UTF8",
            "base64",
            "iso-8859-1",
            "Windows-1252",
            "charset=utf-8",
            "text/plain",
            "binary",
        ] {
            for (key, codec) in [("a.log.GZ", "gzip"), ("a.zst", "zstd"), ("a.csv", "none"), ("gz", "none")] {
                assert_eq!(of_header(header, key, CodecBy::Header).as_deref(), Ok(codec), "{header} {key}");
            }
        }
    }

    #[test]
    fn what_is_not_decoded_is_refused_with_the_way_round() {
        for header in ["br", "deflate", "gzip, gzip", "zstd,utf-8", "snappy"] {
            let text = of_header(header, "a.gz", CodecBy::Header).unwrap_err();
            assert!(
                text.contains(&format!("`{header}`")) && text.contains("fetch.codec = \"by_name\""),
                "{text}"
            );
            assert_eq!(of_header(header, "a.gz", CodecBy::Name).as_deref(), Ok("gzip"));
            assert_eq!(of_header(header, "a.csv", CodecBy::Name).as_deref(), Ok("none"));
        }
    }
}
