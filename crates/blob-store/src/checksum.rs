//! CRC32C as S3's headers carry it: the four bytes, big-endian, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) fn to_header(crc: u32) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// `None` for a checksum of checksums, as a multipart object not ours may have (`AAAAAA==-3`):
/// it says nothing about the whole object's bytes.
pub(crate) fn from_header(value: &str) -> Option<u32> {
    let bytes = STANDARD.decode(value).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_reads_back_and_a_checksum_of_checksums_is_none() {
        // "123456789" is the check value of the CRC's definition.
        assert_eq!(to_header(crc32c::crc32c(b"123456789")), "4waSgw==");
        assert_eq!(from_header("4waSgw=="), Some(0xe306_9283));
        assert_eq!(from_header("4waSgw==-3"), None);
        assert_eq!(from_header(""), None);
    }
}
