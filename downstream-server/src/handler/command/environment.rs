//! What a program learns of its object: variables whose names begin with `SLUICEGATE_`.

use std::ffi::OsString;

use object_format::Rows;

use super::super::Delivery;
use super::super::batches::Batch;
use crate::fetch::Content;

/// Whether the server's own variable is kept from the program: its settings hold secrets, and a
/// variable of ours must never be one that the server was started with.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("SLUICEGATE_")
}

/// The variables of an object. Our metadata are named as they are in S3 (`sluicegate-cut` is
/// `SLUICEGATE_CUT`), those of foreign objects begin with `SLUICEGATE_META_`.
pub(super) fn of_object(delivery: &Delivery, content: &Content) -> Vec<(OsString, OsString)> {
    let mut variables = vec![
        variable("BUCKET", &delivery.bucket),
        variable("KEY", &delivery.key),
        variable("DELIVERY_ID", &delivery.id),
        variable("ATTEMPT", &delivery.attempt.to_string()),
        variable("NOTICE_ID", &delivery.notice_id),
    ];
    variables.extend(delivery.version_id.as_ref().map(|version| variable("VERSION_ID", version)));
    if let Some(metadata) = &delivery.metadata {
        let pairs = metadata.to_pairs();
        variables.extend(
            pairs.iter().map(|(name, value)| {
                variable(&upper(name.strip_prefix("sluicegate-").unwrap_or(name)), value)
            }),
        );
    } else {
        let pairs = &content.info().metadata;
        variables.extend(pairs.iter().map(|(name, value)| variable(&format!("META_{}", upper(name)), value)));
    }
    variables
}

/// The variables that a batch has in addition.
pub(super) fn of_batch(delivery: &Delivery, batch: &Batch) -> Vec<(OsString, OsString)> {
    let count_name = match batch.rows {
        Rows::Events => "BATCH_EVENTS",
        Rows::Lines => "BATCH_LINES",
    };
    let mut variables = vec![
        variable("BATCH_FIRST", &batch.first.to_string()),
        variable(count_name, &batch.count.to_string()),
        variable("BATCH_IS_LAST", &batch.is_last.to_string()),
    ];
    variables
        .extend(batch.position(delivery).map(|position| variable("BATCH_POSITION", &position.to_string())));
    variables
}

fn variable(name: &str, value: &str) -> (OsString, OsString) {
    (format!("SLUICEGATE_{name}").into(), value.into())
}

fn upper(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
