//! A request's body: received in a stream, and checked against what the client said of it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures_util::StreamExt as _;
use s3s::dto::{ChecksumAlgorithm, StreamingBlob};
use s3s::{S3Result, TrailingHeaders, s3_error};
use tokio::sync::mpsc;

use super::Front;
use crate::options::EtagKind;
use crate::store::{Checksums, Hashes, Staged, StoreError, blocking};

/// How many pieces of a body wait for the disk; with hyper's pieces of up to 400 KiB each.
const WAITING_PIECES: usize = 8;

/// The most bytes of one put or part, as in S3.
const MAX_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// What a client said of the bytes, in headers or in a trailer.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// `Content-MD5`, base64.
    pub(super) md5: Option<String>,
    pub(super) checksums: Checksums,
    pub(super) algorithm: Option<ChecksumAlgorithm>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

impl Declared {
    /// What has to be computed to verify it, and for the ETag.
    pub(super) fn hashes(&self, etag: EtagKind) -> Hashes {
        let named = |name| self.algorithm.as_ref().is_some_and(|algorithm| algorithm.as_str() == name);
        Hashes {
            md5: etag == EtagKind::Md5 || self.md5.is_some(),
            crc32: self.checksums.crc32.is_some() || named(ChecksumAlgorithm::CRC32),
            crc64nvme: self.checksums.crc64nvme.is_some() || named(ChecksumAlgorithm::CRC64NVME),
            sha1: self.checksums.sha1.is_some() || named(ChecksumAlgorithm::SHA1),
            sha256: self.checksums.sha256.is_some() || named(ChecksumAlgorithm::SHA256),
        }
    }

    /// Adds what came after the body.
    fn add_trailers(&mut self, trailers: Option<TrailingHeaders>) {
        let Some(trailers) = trailers.and_then(|trailers| trailers.take()) else { return };
        let trailer = |name| trailers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let Checksums { crc32c, crc32, crc64nvme, sha1, sha256 } = &mut self.checksums;
        for (slot, name) in [
            (crc32c, "x-amz-checksum-crc32c"),
            (crc32, "x-amz-checksum-crc32"),
            (crc64nvme, "x-amz-checksum-crc64nvme"),
            (sha1, "x-amz-checksum-sha1"),
            (sha256, "x-amz-checksum-sha256"),
        ] {
            *slot = slot.take().or_else(|| trailer(name));
        }
    }

    /// Refuses bytes that are not what was declared.
    pub(super) fn verify(&self, staged: &Staged) -> S3Result<()> {
        if let (Some(declared), Some(computed)) = (&self.md5, staged.md5)
            && *declared != BASE64_STANDARD.encode(computed)
        {
            return Err(s3_error!(BadDigest, "the body is not what Content-MD5 says"));
        }
        let computed = &staged.checksums;
        for (name, declared, computed) in [
            ("CRC32C", &self.checksums.crc32c, &computed.crc32c),
            ("CRC32", &self.checksums.crc32, &computed.crc32),
            ("CRC64NVME", &self.checksums.crc64nvme, &computed.crc64nvme),
            ("SHA1", &self.checksums.sha1, &computed.sha1),
            ("SHA256", &self.checksums.sha256, &computed.sha256),
        ] {
            if declared.is_some() && declared != computed {
                return Err(s3_error!(BadDigest, "the {name} you specified did not match what we received"));
            }
        }
        Ok(())
    }
}

/// Receives a body into staging and verifies it. What is refused, or broken off, leaves nothing.
pub(super) async fn receive(
    front: &Front,
    body: Option<StreamingBlob>,
    trailers: Option<TrailingHeaders>,
    declared: &mut Declared,
) -> S3Result<Staged> {
    let hashes = declared.hashes(front.etag);
    let (pieces, mut waiting) = mpsc::channel(WAITING_PIECES);
    let store = front.store.clone();
    // One thread hashes and writes while the next pieces arrive.
    let written = tokio::spawn(blocking(move || {
        let mut file = store.stage(hashes)?;
        while let Some(piece) = waiting.blocking_recv() {
            match piece {
                Piece::Bytes(bytes) => file.write(&bytes)?,
                Piece::End => return file.finish().map(Some),
            }
        }
        Ok(None)
    }));
    let mut received = 0;
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(StoreError::Body)?;
            received += bytes.len() as u64;
            if received > MAX_PUT_BYTES {
                return Err(s3_error!(EntityTooLarge, "one request stores at most {MAX_PUT_BYTES} bytes"));
            }
            // A writer that gave up says why below.
            if pieces.send(Piece::Bytes(bytes)).await.is_err() {
                break;
            }
        }
    }
    drop(pieces.send(Piece::End).await);
    let staged = written.await.map_err(|_| StoreError::Closed)??.ok_or(StoreError::Closed)?;
    declared.add_trailers(trailers);
    declared.verify(&staged)?;
    Ok(staged)
}

/// The ETag of one put or part.
pub(super) fn etag(kind: EtagKind, staged: &Staged) -> String {
    match (kind, staged.md5) {
        (EtagKind::Md5, Some(md5)) => hex::encode(md5),
        _ => format!("{:024x}{:08x}", staged.size, staged.crc32c),
    }
}
