//! An EventBridge event about an S3 object: the same facts under other names.

use contract::Notice;
use serde_json::Value;

use crate::record::{RecordFault, etag, owned, text};

/// The notice of an event about a new object; `None` for any other. Bucket and key are all that it needs.
pub(crate) fn notice(event: &Value) -> Result<Option<Notice>, RecordFault> {
    if event["detail-type"] != "Object Created" {
        return Ok(None);
    }
    let Value::Object(_) = event["detail"] else { return Err(RecordFault::Missing("object")) };
    let (bucket, object) = (&event["detail"]["bucket"], &event["detail"]["object"]);
    let bucket = text(&bucket["name"]).ok_or(RecordFault::Missing("bucket"))?;
    // Unlike in S3's own events, the key is not encoded here.
    let key = text(&object["key"]).ok_or(RecordFault::Missing("key"))?;
    let mut notice = Notice {
        version_id: owned(&object["version-id"]),
        etag: etag(&object["etag"]),
        size: object["size"].as_u64(),
        sequencer: owned(&object["sequencer"]),
        event_time: owned(&event["time"]),
        event_name: Some(event_name(event["detail"]["reason"].as_str())),
        region: owned(&event["region"]),
        account: owned(&event["account"]),
        ..Notice::new(bucket, key)
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
