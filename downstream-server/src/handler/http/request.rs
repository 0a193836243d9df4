//! One batch as a request: its body, its headers, its signatures.

use bytes::Bytes;
use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Signer};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use object_format::Rows;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::super::batches::Batch;
use super::super::{Delivery, json};
use crate::clock::now_ms;
use crate::config::{Format, HttpConfig};

/// What a header cannot carry, and what marks it.
const UNSAFE: &AsciiSet = &CONTROLS.add(b'%');

pub(super) struct Request {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The request of a batch. Its id is the batch's in every attempt.
pub(super) fn build(config: &HttpConfig, signers: &[Signer], delivery: &Delivery, batch: &Batch) -> Request {
    let (kind, body) = match config.format {
        Format::Ndjson => ("application/x-ndjson", batch.bytes.clone()),
        Format::Json => ("application/json", array(batch)),
    };
    // Numbers of lines are no numbers of events, and an id must not pass for one (I10).
    let (of_what, count_name) = match batch.rows {
        Rows::Events => ("", "sluicegate-batch-events"),
        Rows::Lines => ("line", "sluicegate-batch-lines"),
    };
    let id = format!("{}-{of_what}{}-{}", delivery.id, batch.first, batch.count);
    let timestamp_s = u64::try_from(now_ms() / 1000).unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let mut set = |name: &str, value: &str| {
        let encoded = utf8_percent_encode(value, UNSAFE).to_string();
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&encoded)) {
            headers.insert(name, value);
        }
    };
    for (name, value) in delivery.metadata.iter().flat_map(contract::ObjectMetadata::to_pairs) {
        set(&name, &value);
    }
    set("sluicegate-delivery-id", &delivery.id);
    set("sluicegate-attempt", &delivery.attempt.to_string());
    set("sluicegate-notice-id", &delivery.notice_id);
    set("sluicegate-bucket", &delivery.bucket);
    set("sluicegate-key", &delivery.key);
    if let Some(version) = &delivery.version_id {
        set("sluicegate-version-id", version);
    }
    set("sluicegate-batch-first", &batch.first.to_string());
    set(count_name, &batch.count.to_string());
    set("sluicegate-batch-is-last", &batch.is_last.to_string());
    if let Some(position) = batch.position(delivery) {
        set("sluicegate-batch-position", &position.to_string());
    }
    set(HEADER_ID, &id);
    set(HEADER_TIMESTAMP, &timestamp_s.to_string());
    if !signers.is_empty() {
        let signatures: Vec<String> =
            signers.iter().map(|signer| signer.sign(&id, timestamp_s, &body)).collect();
        set(HEADER_SIGNATURE, &signatures.join(" "));
    }
    Request { headers, body }
}

/// The rows as a JSON array.
fn array(batch: &Batch) -> Bytes {
    let mut array = Vec::with_capacity(batch.bytes.len() + 2);
    array.push(b'[');
    for row in batch.iter() {
        if array.len() > 1 {
            array.push(b',');
        }
        json::put(row, &mut array);
    }
    array.push(b']');
    Bytes::from(array)
}
