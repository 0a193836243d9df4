use blob_store::{Body, Fault, FaultPlan, FaultyStore, MemoryStore, Operation, PutOptions};
use contract::{ChannelId, CutId, CutKind};

use super::*;
use crate::fetch::Verdict;
use crate::testing::config;

fn ours(content: &[u8]) -> ObjectMetadata {
    ObjectMetadata {
        version: 1,
        cut: CutId { channel: ChannelId([7; 16]), sink: "s3".parse().unwrap(), number: 5 },
        kind: CutKind::Events,
        events: 3,
        first: 10,
        last: 12,
        set_aside: 0,
        total_events: 13,
        total_dead_lettered: 0,
        total_damaged: 0,
        length: content.len() as u64,
        crc32c: crc32c::crc32c(content),
        format: "text".to_owned(),
        format_version: 1,
        rows: Some("events".to_owned()),
        codec: "none".to_owned(),
    }
}

fn our_key() -> String {
    format!("events/{}.txt", ours(b"").cut)
}

async fn stored(key: &str, content: &[u8], metadata: Option<&ObjectMetadata>) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new("logs"));
    let put = PutOptions {
        metadata: metadata.map(ObjectMetadata::to_pairs).unwrap_or_default(),
        crc32c: crc32c::crc32c(content),
        ..PutOptions::default()
    };
    store.put_if_absent(key, Body::from(content.to_vec()), &put).await.unwrap();
    store
}

async fn read(
    store: Arc<dyn BlobStore>,
    key: &str,
    flags: &[&str],
) -> Result<(Vec<u8>, Content), FetchError> {
    let place = Place { bucket: "logs".to_owned(), key: key.to_owned(), version_id: None };
    let mut content = Content::open(store, &place, &config(flags).fetch).await?;
    let mut whole = Vec::new();
    while let Some(piece) = content.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok((whole, content))
}

#[tokio::test]
async fn an_object_of_ours_is_held_against_its_own_metadata() {
    let text = b"one\ntwo\nthree\n";
    let (whole, content) =
        read(stored(&our_key(), text, Some(&ours(text))).await, &our_key(), &[]).await.unwrap();
    assert_eq!(whole, text);
    assert_eq!((content.events(), content.lines().count()), (3, 3));
    assert_eq!(content.identity(), Identity::of_cut(ours(b"").cut));

    let longer = ObjectMetadata { length: 15, ..ours(text) };
    let error = read(stored(&our_key(), text, Some(&longer)).await, &our_key(), &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the object has 14 bytes instead of 15");
    let other = ObjectMetadata { crc32c: 1, ..ours(text) };
    let error = read(stored(&our_key(), text, Some(&other)).await, &our_key(), &[]).await.unwrap_err();
    let found = crc32c::crc32c(text);
    assert_eq!(error.to_string(), format!("the object's crc32c is {found:08x} instead of 00000001"));
    assert_eq!(error.verdict(), Verdict::Retry);
}

#[tokio::test]
async fn an_object_that_holds_more_or_fewer_events_than_it_says_is_never_taken() {
    let text = b"one\ntwo\nthree\n";
    for events in [2, 4] {
        let wrong = ObjectMetadata { events, ..ours(text) };
        let error = read(stored(&our_key(), text, Some(&wrong)).await, &our_key(), &[]).await.unwrap_err();
        let expected = format!("the object holds 3 events and says that it holds {events}");
        assert_eq!((error.to_string(), error.verdict()), (expected, Verdict::Never));
        // Of what are lines, or were written by an agent of before, nobody can say how many there are.
        for rows in [None, Some("lines".to_owned())] {
            let lines = ObjectMetadata { rows, ..wrong.clone() };
            let store = stored(&our_key(), text, Some(&lines)).await;
            let (_, content) = read(store, &our_key(), &[]).await.unwrap();
            assert_eq!(content.events(), events, "as the agent counted them");
        }
    }
}

#[tokio::test]
async fn a_key_that_names_a_cut_which_the_object_is_not_is_never_taken() {
    let other = CutId { number: 6, ..ours(b"").cut };
    let metadata = ObjectMetadata { cut: other.clone(), ..ours(b"x") };
    let error = read(stored(&our_key(), b"x", Some(&metadata)).await, &our_key(), &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the key names cut {}, and the object holds {other}", ours(b"").cut)
    );
    assert_eq!(error.verdict(), Verdict::Never);
    let error = read(stored(&our_key(), b"x", None).await, &our_key(), &[]).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Never);
    assert_eq!(error.to_string(), format!("the key names cut {}, and the object holds none", ours(b"").cut));
}

#[tokio::test]
async fn a_foreign_object_is_counted_by_lines_and_decoded_by_its_extension() {
    let text = b"one\ntwo";
    let gzip = gzip(text);
    let zstd = zstd::encode_all(&text[..], 1).unwrap();
    for (key, content) in [("a.log", &text[..]), ("a.log.gz", &gzip), ("a.log.zst", &zstd)] {
        let (whole, read) = read(stored(key, content, None).await, key, &[]).await.unwrap();
        assert_eq!((whole.as_slice(), read.events()), (&text[..], 2), "{key}");
        assert_eq!(read.stored_bytes(), content.len() as u64);
    }
}

#[tokio::test]
async fn an_object_above_a_limit_is_refused_before_or_while_it_is_read() {
    let store = stored("a", &[b'x'; 101], None).await;
    let error = read(store, "a", &["--fetch-max-object-bytes", "100"]).await.unwrap_err();
    assert_eq!(error.to_string(), "the object has 101 bytes, and fetch.max_object_bytes is 100");
    assert_eq!(error.verdict(), Verdict::Never);
    let bomb = zstd::encode_all(&vec![0; 10 << 20][..], 1).unwrap();
    let error =
        read(stored("a.zst", &bomb, None).await, "a.zst", &["--fetch-max-decoded-bytes", "1MiB"]).await;
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the object decodes to more than fetch.max_decoded_bytes, which is 1048576"
    );
    assert_eq!(error.verdict(), Verdict::Never);
}

#[tokio::test]
async fn a_bomb_is_never_taken_whatever_its_size_may_be_and_what_expands_little_is() {
    let flags = ["--fetch-max-expansion", "100", "--fetch-expansion-floor-bytes", "1MiB"];
    let zeros = vec![0; 8 << 20];
    for (key, bomb) in [("a.gz", gzip(&zeros)), ("a.zst", zstd::encode_all(&zeros[..], 1).unwrap())] {
        let error = read(stored(key, &bomb, None).await, key, &flags).await.unwrap_err();
        assert!(matches!(error, FetchError::Bomb { .. }), "{error}");
        assert_eq!(error.verdict(), Verdict::Never);
    }
    let small = gzip(&zeros[..1 << 20]);
    read(stored("a.gz", &small, None).await, "a.gz", &flags).await.unwrap();
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    read(stored("a.GZ", &gzip(&text), None).await, "a.GZ", &flags).await.unwrap();
}

/// A store whose answers are odd where S3's are not.
struct Odd {
    inner: Arc<MemoryStore>,
    /// Bodies wait so long before each piece.
    wait: Duration,
    /// Heads tell this checksum.
    crc32c: Option<u32>,
    /// Gets tell no length, as of a body in chunks.
    chunked: bool,
    /// Bodies end after so many bytes.
    ends_after: usize,
}

impl Odd {
    fn over(inner: Arc<MemoryStore>) -> Self {
        Self { inner, wait: Duration::ZERO, crc32c: None, chunked: false, ends_after: usize::MAX }
    }
}

#[async_trait::async_trait]
impl BlobStore for Odd {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    async fn check(&self) -> Result<(), blob_store::StoreError> {
        self.inner.check().await
    }

    async fn put_if_absent(
        &self,
        key: &str,
        body: Body,
        put: &PutOptions,
    ) -> Result<blob_store::Stored, blob_store::StoreError> {
        self.inner.put_if_absent(key, body, put).await
    }

    async fn create_upload(
        &self,
        key: &str,
        put: &PutOptions,
    ) -> Result<blob_store::UploadId, blob_store::StoreError> {
        self.inner.create_upload(key, put).await
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &blob_store::UploadId,
        number: i32,
        body: Body,
        crc32c: u32,
    ) -> Result<blob_store::Part, blob_store::StoreError> {
        self.inner.upload_part(key, upload, number, body, crc32c).await
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &blob_store::UploadId,
        parts: &[blob_store::Part],
        put: &PutOptions,
    ) -> Result<blob_store::Stored, blob_store::StoreError> {
        self.inner.complete_upload(key, upload, parts, put).await
    }

    async fn abort_upload(
        &self,
        key: &str,
        upload: &blob_store::UploadId,
    ) -> Result<(), blob_store::StoreError> {
        self.inner.abort_upload(key, upload).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<blob_store::Upload>, blob_store::StoreError> {
        self.inner.list_uploads(prefix).await
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, blob_store::StoreError> {
        let info = self.inner.head(key, version).await?;
        Ok(ObjectInfo { crc32c: self.crc32c, ..info })
    }

    async fn get(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<blob_store::Object, blob_store::StoreError> {
        let object = self.inner.get(key, version, range).await?;
        let (wait, ends_after) = (self.wait, self.ends_after);
        let body = object.body.flat_map(move |bytes| {
            let bytes = bytes.unwrap();
            let bytes = &bytes[..bytes.len().min(ends_after)];
            let pieces: Vec<_> = bytes.chunks(4).map(Bytes::copy_from_slice).collect();
            futures_util::stream::iter(pieces)
        });
        let body = body.then(move |piece| async move {
            tokio::time::sleep(wait).await;
            Ok(piece)
        });
        let length = object.info.length.filter(|_| !self.chunked);
        let info = ObjectInfo { length, ..object.info };
        Ok(blob_store::Object { info, body: Box::pin(body) })
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max: usize,
    ) -> Result<blob_store::Page, blob_store::StoreError> {
        self.inner.list(prefix, start_after, max).await
    }
}

#[tokio::test]
async fn the_checksum_that_a_store_keeps_of_a_foreign_object_is_held_against_its_bytes() {
    let text = b"0123456789";
    let odd = async |crc32c| Arc::new(Odd { crc32c, ..Odd::over(stored("a", text, None).await) });
    for unknown in [None, Some(crc32c::crc32c(text))] {
        read(odd(unknown).await, "a", &[]).await.unwrap();
    }
    let error = read(odd(Some(1)).await, "a", &[]).await.unwrap_err();
    assert!(matches!(error, FetchError::Checksum { expected: 1, .. }), "{error}");
    read(odd(Some(1)).await, "a", &["--fetch-verify-foreign", "false"]).await.unwrap();
}

#[tokio::test]
async fn an_object_that_drips_is_given_up_though_no_single_wait_was_too_long() {
    let inner = stored("a", &[b'x'; 400], None).await;
    let store = Arc::new(Odd { wait: Duration::from_millis(20), ..Odd::over(inner) });
    let error = read(store, "a", &["--fetch-read-timeout", "10s", "--fetch-timeout", "200ms"]).await;
    let error = error.unwrap_err();
    assert!(matches!(error, FetchError::Slow(_)), "{error}");
    assert_eq!(error.verdict(), Verdict::Retry);
}

fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_object_of_no_bytes_holds_no_event_whatever_its_name_says_of_its_compression() {
    for key in ["x.log", "x.log.gz", "x.log.gzip", "x.log.zst", "x.log.zstd"] {
        let (whole, content) = read(stored(key, b"", None).await, key, &[]).await.unwrap();
        assert_eq!((whole.len(), content.events()), (0, 0), "{key}");
    }
}

#[tokio::test]
async fn bytes_that_are_as_they_were_stored_and_do_not_decode_are_given_up_at_the_first_try() {
    let text = b"some line that is here\n".repeat(1_000);
    let zstd = zstd::encode_all(&text[..], 1).unwrap();
    let mut flipped = gzip(&text);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (key, bytes) in [
        ("plain.gz", &text[..]),
        ("plain.zst", &text),
        ("cut.gz", &gzip(&text)[..40]),
        ("cut.zst", &zstd[..zstd.len() - 3]),
        ("flipped.gz", &flipped),
    ] {
        for crc32c in [None, Some(crc32c::crc32c(bytes))] {
            let store = Arc::new(Odd { crc32c, ..Odd::over(stored(key, bytes, None).await) });
            let error = read(store, key, &[]).await.unwrap_err();
            assert!(matches!(error, FetchError::Decode(_)), "{key}: {error}");
            assert_eq!(error.verdict(), Verdict::Never, "{key}: {error}");
        }
    }
}

#[tokio::test]
async fn bytes_that_do_not_decode_because_they_changed_on_the_way_are_fetched_again() {
    let text = b"some line that is here\n".repeat(1_000);
    for (key, bytes) in [("plain.gz", &text[..]), ("plain.zst", &text), ("cut.gz", &gzip(&text)[..40])] {
        let store = Arc::new(Odd { crc32c: Some(1), ..Odd::over(stored(key, bytes, None).await) });
        let error = read(store, key, &[]).await.unwrap_err();
        assert!(matches!(error, FetchError::Checksum { .. }), "{key}: {error}");
        assert_eq!(error.verdict(), Verdict::Retry);
    }
}

#[tokio::test]
async fn the_end_of_the_body_tells_the_length_of_an_object_whose_answer_does_not() {
    let text = b"one\ntwo\nthree\n";
    let odd = async |ends_after| {
        Arc::new(Odd { chunked: true, ends_after, ..Odd::over(stored("a", text, None).await) })
    };
    let (whole, content) = read(odd(usize::MAX).await, "a", &[]).await.unwrap();
    assert_eq!((whole.as_slice(), content.events()), (&text[..], 3));
    // A head tells the length, and shows where a body ended too early.
    let error = read(odd(4).await, "a", &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the object has 4 bytes instead of 14");
    assert_eq!(error.verdict(), Verdict::Retry);
    let error = read(odd(usize::MAX).await, "a", &["--fetch-max-object-bytes", "10"]).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 10, .. }), "{error}");
    // What the agent wrote is held against its metadata, whatever the answer tells.
    let ours = stored(&our_key(), text, Some(&ours(text))).await;
    for (ends_after, right) in [(usize::MAX, true), (4, false)] {
        let store = Arc::new(Odd { chunked: true, ends_after, ..Odd::over(ours.clone()) });
        assert_eq!(read(store, &our_key(), &[]).await.is_ok(), right);
    }
}

#[tokio::test]
async fn a_missing_object_is_a_state_of_its_own() {
    let error = read(stored("a", b"", None).await, "b", &[]).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Missing);
}

#[tokio::test]
async fn another_object_under_the_key_than_the_notice_told_of_is_known_by_its_etag_or_by_its_version() {
    let store = stored("a", b"old", None).await;
    let put = PutOptions { crc32c: crc32c::crc32c(b"new"), ..PutOptions::default() };
    store.put_if_absent("a", Body::from(b"new".to_vec()), &put).await.unwrap();
    let (_, content) = read(store.clone(), "a", &[]).await.unwrap();
    for told in [None, Some("etag-2"), Some("\"etag-2\"")] {
        content.expect_etag(told).unwrap();
    }
    let error = content.expect_etag(Some("etag-1")).unwrap_err();
    assert_eq!(error.verdict(), Verdict::Overwritten);
    assert_eq!(
        error.to_string(),
        "the object was overwritten: the notice told of etag etag-1, and the key holds etag-2"
    );

    // A version is that version whatever the key holds, and a cut is known by its metadata.
    let place =
        Place { bucket: "logs".to_owned(), key: "a".to_owned(), version_id: Some("version-1".to_owned()) };
    let content = Content::open(store, &place, &config(&[]).fetch).await.unwrap();
    content.expect_etag(Some("another")).unwrap();
    let one = ObjectMetadata { events: 1, ..ours(b"x") };
    let ours = stored(&our_key(), b"x", Some(&one)).await;
    let (_, content) = read(ours, &our_key(), &[]).await.unwrap();
    content.expect_etag(Some("another")).unwrap();
}

#[tokio::test]
async fn a_store_that_fails_is_tried_again_later() {
    let plan =
        FaultPlan::default().script(Operation::Get, [Some(Fault::Before(blob_store::ErrorKind::Server))]);
    let store = Arc::new(FaultyStore::new(MemoryStore::new("logs"), plan));
    let error = read(store, "a", &[]).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Later, "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_taken_up_where_it_ended() {
    let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let breaks = || Some(Fault::After(blob_store::ErrorKind::Connection));
    for (faults, expected) in [(vec![breaks(), breaks(), None], true), (vec![breaks(); 40], false)] {
        let store = Arc::new(FaultyStore::new(MemoryStore::new("logs"), FaultPlan::default()));
        let put = PutOptions { crc32c: crc32c::crc32c(&text), ..PutOptions::default() };
        store.put_if_absent("a", Body::from(text.clone()), &put).await.unwrap();
        store.set_plan(FaultPlan::default().script(Operation::Get, faults));
        let read = read(store.clone(), "a", &[]).await;
        let gets = store.calls().iter().filter(|(operation, _)| *operation == Operation::Get).count();
        assert_eq!(read.is_ok_and(|(whole, _)| whole == text), expected, "after {gets} gets");
        assert!(gets > 1, "{gets} gets");
    }
}
