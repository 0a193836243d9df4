//! Promises about multipart uploads.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Outcome, Promise, Site, bytes, ensure, fails, options, same, text};
use crate::{Body, ErrorKind, Part, PutOptions, StoreError, Stored, UploadId};

/// S3's smallest part.
const PART: usize = 5 << 20;

pub(super) const PROMISES: &[Promise] = &[
    Promise("multipart", "an upload shows nothing until it is completed, and then all of it", |site| {
        Box::pin(multipart(site))
    }),
    Promise("multipart-crc-kept", "an uploaded object has the checksum of the whole", |site| {
        Box::pin(multipart_crc_kept(site))
    }),
    Promise("part-again", "a part sent again replaces the earlier one", |site| Box::pin(part_again(site))),
    Promise("wrong-part-crc-refused", "a part whose bytes are not its checksum's is refused", |site| {
        Box::pin(wrong_part_crc_refused(site))
    }),
    Promise("wrong-whole-crc-refused", "a completion whose checksum is not the whole's is refused", |site| {
        Box::pin(wrong_whole_crc_refused(site))
    }),
    Promise("complete-if-absent", "a conditional completion on a taken key is refused", |site| {
        Box::pin(complete_if_absent(site))
    }),
    Promise(
        "one-winner-completing",
        "of four racing conditional completions exactly one is stored",
        |site| Box::pin(one_winner_completing(site)),
    ),
    Promise("complete-unknown", "completing an upload that is gone says so", |site| {
        Box::pin(complete_unknown(site))
    }),
    Promise("complete-missing-part", "completing with a part that was not sent is refused", |site| {
        Box::pin(complete_missing_part(site))
    }),
    Promise("small-part-refused", "a part below 5 MiB that is not the last is refused", |site| {
        Box::pin(small_part_refused(site))
    }),
    Promise("abort", "an aborted upload is gone: no part, no completion, no second abort", |site| {
        Box::pin(abort(site))
    }),
    Promise("list-uploads", "unfinished uploads are listed by prefix, with key and id", |site| {
        Box::pin(list_uploads(site))
    }),
];

/// An upload of `sent` in parts of 5 MiB, up to its completion.
struct Ready {
    id: UploadId,
    parts: Vec<Part>,
    put: PutOptions,
}

impl Site {
    async fn create(&self, name: &str, sent: &Bytes) -> Result<UploadId, String> {
        self.store.create_upload(&self.key(name), &options(sent)).await.map_err(text)
    }

    async fn part(&self, name: &str, id: &UploadId, number: i32, sent: &Bytes) -> Result<Part, StoreError> {
        let crc = crc32c::crc32c(sent);
        self.store.upload_part(&self.key(name), id, number, Body::from(sent.clone()), crc).await
    }

    async fn ready(&self, name: &str, sent: &Bytes) -> Result<Ready, String> {
        let id = self.create(name, sent).await?;
        let mut parts = Vec::new();
        for (number, at) in (1..).zip((0..sent.len()).step_by(PART)) {
            let slice = sent.slice(at..sent.len().min(at + PART));
            parts.push(self.part(name, &id, number, &slice).await.map_err(text)?);
        }
        Ok(Ready { id, parts, put: options(sent) })
    }

    async fn complete(&self, name: &str, ready: &Ready) -> Result<Stored, StoreError> {
        self.store.complete_upload(&self.key(name), &ready.id, &ready.parts, &ready.put).await
    }

    async fn is_absent(&self, name: &str) -> Outcome {
        fails("a head", self.store.head(&self.key(name), None).await, &[ErrorKind::NoSuchKey])
    }
}

async fn multipart(site: Site) -> Outcome {
    let sent = bytes(2 * PART + 12_345, 20);
    let ready = site.ready("a", &sent).await?;
    site.is_absent("a").await?;
    let stored = site.complete("a", &ready).await.map_err(text)?;
    let info = site.store.head(&site.key("a"), None).await.map_err(text)?;
    same("the length", &info.length, &Some(sent.len() as u64))?;
    same("the entity tag", &info.etag, &stored.etag)?;
    same("the type", &info.content_type, &Some(ready.put.content_type))?;
    same("the metadata", &info.metadata, &ready.put.metadata.into_iter().collect())?;
    ensure(site.read("a").await? == sent, || "the content differs".into())?;
    let left = site.store.list_uploads(&site.key("a")).await.map_err(text);
    // Whether uploads can be listed at all is another promise.
    ensure(left.is_err() || left == Ok(Vec::new()), || "the completed upload is still listed".into())
}

async fn multipart_crc_kept(site: Site) -> Outcome {
    let sent = bytes(PART + 1, 21);
    let ready = site.ready("a", &sent).await?;
    site.complete("a", &ready).await.map_err(text)?;
    let info = site.store.head(&site.key("a"), None).await.map_err(text)?;
    same("the checksum", &info.crc32c, &Some(crc32c::crc32c(&sent)))
}

async fn part_again(site: Site) -> Outcome {
    let (old, new) = (bytes(1000, 22), bytes(2000, 23));
    let id = site.create("a", &new).await?;
    site.part("a", &id, 1, &old).await.map_err(text)?;
    let part = site.part("a", &id, 1, &new).await.map_err(text)?;
    let ready = Ready { id, parts: vec![part], put: options(&new) };
    site.complete("a", &ready).await.map_err(text)?;
    same("the content", &site.read("a").await?, &new)
}

async fn wrong_part_crc_refused(site: Site) -> Outcome {
    let sent = bytes(10_000, 24);
    let id = site.create("a", &sent).await?;
    let crc = crc32c::crc32c(&sent) ^ 1;
    let part = site.store.upload_part(&site.key("a"), &id, 1, Body::from(sent), crc).await;
    fails("a part of other bytes", part, &[ErrorKind::Body])
}

async fn wrong_whole_crc_refused(site: Site) -> Outcome {
    let mut ready = site.ready("a", &bytes(10_000, 25)).await?;
    ready.put.crc32c ^= 1;
    // S3 calls it an invalid request as well as a mismatch.
    let refused = [ErrorKind::ChecksumMismatch, ErrorKind::Rejected];
    fails("completing with another checksum", site.complete("a", &ready).await, &refused)?;
    site.is_absent("a").await
}

async fn complete_if_absent(site: Site) -> Outcome {
    let (first, second) = (bytes(1000, 26), bytes(1000, 27));
    let ready = site.ready("a", &second).await?;
    site.put("a", &first, &options(&first)).await.map_err(text)?;
    fails("a completion", site.complete("a", &ready).await, &[ErrorKind::PreconditionFailed])?;
    same("the content", &site.read("a").await?, &first)
}

async fn one_winner_completing(site: Site) -> Outcome {
    let mut racers = Vec::new();
    for seed in 0..4 {
        let sent = bytes(10_000, 30 + seed);
        racers.push((site.ready("a", &sent).await?, sent));
    }
    let (uploads, contents): (Vec<_>, Vec<_>) = racers.into_iter().unzip();
    let race = uploads.into_iter().map(|ready| {
        let site = site.clone();
        tokio::spawn(async move { site.complete("a", &ready).await })
    });
    let mut winners = Vec::new();
    for (outcome, sent) in join_all(race).await.into_iter().zip(contents) {
        match outcome.map_err(text)? {
            Ok(_) => winners.push(sent),
            lost => fails(
                "a losing completion",
                lost,
                &[ErrorKind::PreconditionFailed, ErrorKind::ConditionalConflict],
            )?,
        }
    }
    ensure(winners.len() == 1, || format!("{} of 4 were stored", winners.len()))?;
    same("the content", &site.read("a").await?, &winners[0])
}

async fn complete_unknown(site: Site) -> Outcome {
    let ready = site.ready("a", &bytes(1000, 40)).await?;
    site.store.abort_upload(&site.key("a"), &ready.id).await.map_err(text)?;
    fails("completing it", site.complete("a", &ready).await, &[ErrorKind::NoSuchUpload])?;
    site.is_absent("a").await
}

async fn complete_missing_part(site: Site) -> Outcome {
    let mut ready = site.ready("a", &bytes(1000, 41)).await?;
    ready.parts[0].number = 2;
    fails("completing it", site.complete("a", &ready).await, &[ErrorKind::NoSuchUpload])?;
    site.is_absent("a").await
}

async fn small_part_refused(site: Site) -> Outcome {
    let sent = bytes(2000, 42);
    let id = site.create("a", &sent).await?;
    let mut parts = Vec::new();
    for (number, at) in [(1, 0), (2, 1000)] {
        parts.push(site.part("a", &id, number, &sent.slice(at..at + 1000)).await.map_err(text)?);
    }
    let ready = Ready { id, parts, put: options(&sent) };
    fails("completing it", site.complete("a", &ready).await, &[ErrorKind::NeverValid])?;
    site.is_absent("a").await
}

async fn abort(site: Site) -> Outcome {
    let sent = bytes(1000, 43);
    let ready = site.ready("a", &sent).await?;
    let key = site.key("a");
    site.store.abort_upload(&key, &ready.id).await.map_err(text)?;
    fails("another part", site.part("a", &ready.id, 2, &sent).await, &[ErrorKind::NoSuchUpload])?;
    if let Err(error) = site.store.abort_upload(&key, &ready.id).await {
        same("the second abort's kind", &error.kind, &ErrorKind::NoSuchUpload)?;
    }
    site.is_absent("a").await
}

async fn list_uploads(site: Site) -> Outcome {
    let sent = bytes(1000, 44);
    let mut wanted = Vec::new();
    for name in ["a/1", "a/2", "b/1"] {
        wanted.push((site.key(name), site.create(name, &sent).await?));
    }
    let listed =
        |uploads: Vec<crate::Upload>| uploads.into_iter().map(|upload| (upload.key, upload.id)).collect();
    let all: Vec<_> = listed(site.store.list_uploads(&site.key("")).await.map_err(text)?);
    same("the listing", &all, &wanted)?;
    let some: Vec<_> = listed(site.store.list_uploads(&site.key("a/")).await.map_err(text)?);
    same("the listing below a prefix", &some, &wanted[..2].to_vec())?;
    for (key, id) in &wanted {
        site.store.abort_upload(key, id).await.map_err(text)?;
    }
    let left = site.store.list_uploads(&site.key("")).await.map_err(text)?;
    same("what is left", &left, &Vec::new())
}
