//! What does this store keep? Asked once at start where it is not AWS, and said in the log if it is not all.
//!
//! | lacking | then |
//! |---|---|
//! | conditional puts | the key is looked at before each put |
//! | checksums of whole uploads | the parts' checksums vouch for their bytes |
//! | right checksums in a head | an object is known by cut, length and checksum in its metadata, and its length |

use blob_store::{ErrorKind, Promises, promises};

use super::backoff::Backoff;
use super::shared::Shared;

/// Asks the store, until it has answered. AWS is not asked, nor where there is no place for it, or nothing left open.
pub(super) async fn learn(shared: &Shared) {
    let config = &shared.config;
    let (Some(prefix), Some(_)) = (&config.control_prefix, &config.store.endpoint) else { return };
    if config.conditional.is_some() && config.composite.is_some() {
        return;
    }
    let key = format!("{}/promises", prefix.trim_end_matches('/'));
    let store = shared.bucket(&config.store.bucket);
    let mut backoff = Backoff::new(config.retry);
    let found = loop {
        shared.metrics.requests.inc();
        match promises(&*store, &key).await {
            Ok(found) => break found,
            Err(error)
                if matches!(
                    error.kind,
                    ErrorKind::AccessDenied | ErrorKind::Unsupported | ErrorKind::NeverValid
                ) =>
            {
                tracing::warn!(%key, error = %error, "what the store keeps could not be asked; it is taken for what S3 keeps");
                break Promises::ALL;
            }
            Err(error) => {
                let pause = backoff.pause();
                if backoff.is_worth_a_line() {
                    tracing::warn!(error = %error, "the store cannot be asked yet what it keeps; nothing is shipped before");
                }
                shared.metrics.retries.inc();
                tokio::time::sleep(pause).await;
            }
        }
    };
    if !found.conditions {
        tracing::warn!(
            "the store does not keep conditional puts: each key is looked at before its put, which is weaker"
        );
    }
    if !found.whole_checksums {
        tracing::warn!(
            "the store takes no checksum of a whole multipart upload: the parts' checksums vouch for them"
        );
    }
    if !found.right_checksums {
        tracing::warn!(
            "the store tells wrong checksums of its objects: they are known by their metadata and length"
        );
    }
    let _ = shared.promises.set(found);
}
