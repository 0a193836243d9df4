//! The `null` sink: settles every event and keeps none. It measures the rest of an agent, and proves the contract.

use super::{SinkContext, SinkError, drain};

/// Runs until shutdown.
pub async fn run(ctx: SinkContext) -> Result<(), SinkError> {
    drain::drain(ctx, |_, _, _, _| {}).await
}
