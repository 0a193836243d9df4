//! Headers of an answer that are no text.
//!
//! Who stores an object may give it any bytes as metadata, and old clients give Latin-1. The SDK would
//! refuse the whole answer for one such header, of which we need none.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Passes over each header of an answer that is not UTF-8, as if it were not there.
#[derive(Debug)]
pub(super) struct TextHeaders;

impl Intercept for TextHeaders {
    fn name(&self) -> &'static str {
        "TextHeaders"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response_mut().headers_mut();
        let no_text = headers.iter_bytes().filter(|(_, value)| std::str::from_utf8(value).is_err());
        for name in no_text.map(|(name, _)| name.to_owned()).collect::<Vec<_>>() {
            headers.remove(name);
        }
        Ok(())
    }
}
