//! An EventBridge event about an S3 object: the same facts under other names.

use contract::Notice;
use serde::Deserialize;
use serde_json::Value;

use crate::record::RecordFault;

/// The members that a notice can use. `aws_lambda_events` leaves `detail` to whoever reads it.
#[derive(Deserialize)]
struct Created {
    account: Option<String>,
    time: Option<String>,
    region: Option<String>,
    detail: Detail,
}

#[derive(Deserialize)]
struct Detail {
    bucket: Bucket,
    object: Object,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Object {
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// The notice of an event about a new object; `None` for any other.
pub(crate) fn notice(event: Value) -> Result<Option<Notice>, RecordFault> {
    if event["detail-type"] != "Object Created" {
        return Ok(None);
    }
    let Created { account, time, region, detail } = serde_json::from_value(event)?;
    let Detail { bucket, object, reason } = detail;
    if bucket.name.is_empty() {
        return Err(RecordFault::Missing("bucket"));
    }
    if object.key.is_empty() {
        return Err(RecordFault::Missing("key"));
    }
    let mut notice = Notice {
        version_id: object.version_id,
        etag: object.etag,
        size: object.size,
        sequencer: object.sequencer,
        event_time: time,
        event_name: Some(event_name(reason.as_deref())),
        region,
        account,
        // Unlike in S3's own events, the key is not encoded here.
        ..Notice::new(bucket.name, object.key)
    };
    notice.id = notice.idempotency_id();
    Ok(Some(notice))
}

/// The API call that made the object, under the name that S3's own events give it.
fn event_name(reason: Option<&str>) -> String {
    let how = match reason {
        Some("PutObject") => "Put",
        Some("POST Object") => "Post",
        Some("CopyObject") => "Copy",
        Some("CompleteMultipartUpload") => "CompleteMultipartUpload",
        _ => "*",
    };
    format!("ObjectCreated:{how}")
}
