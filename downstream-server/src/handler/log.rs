//! The `log` handler: one line in the log for each object, none of its content.

use async_trait::async_trait;

use super::{Delivery, Effect, Handler, HandlerError, NoEffect};
use crate::fetch::Content;

/// Says what arrived, and forgets it.
#[derive(Debug, Clone, Copy)]
pub struct Log;

#[async_trait]
impl Handler for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    async fn handle(
        &self,
        delivery: &Delivery,
        content: &mut Content,
    ) -> Result<Box<dyn Effect>, HandlerError> {
        while content.next().await?.is_some() {}
        tracing::info!(
            delivery_id = delivery.id,
            events = content.events(),
            bytes = content.stored_bytes(),
            set_aside = delivery.is_set_aside(),
            "an object arrived"
        );
        Ok(Box::new(NoEffect))
    }
}
