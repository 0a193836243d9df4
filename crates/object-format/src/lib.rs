//! How events become the bytes of an object, and how those are read back: one set of formats and codecs for whoever
//! writes objects and whoever reads them.
//!
//! | format | bytes of an event | its rows are |
//! |---|---|---|
//! | [`ndjson`] | one valid JSON object and a newline, whatever the body is | events |
//! | `text` | the body and a newline | events, unless a body held a newline |
//! | `raw` | the body and nothing else | lines, never events |
//! | [`json_lines`] | an envelope with time, headers and body, and a newline | events |
//! | [`dead_letters`] | why an event could not go where it belonged, and the event | events |
//!
//! **One event in, one event out** (I10): a [`Reader`] says of each row whether it is an event or a mere line. It never
//! guesses: what a row is follows from the format and from what the writer noted beside the object.
//!
//! An object's bytes are a function of its events, their arrival times and its [`Layout`] (I4). A changed behaviour is
//! a new [`Format::version`], never a new meaning of an old one.
//!
//! Writers append to a buffer; readers and [`Decoder`]s take bytes cut anywhere, and hold no more than what they say.

mod codec;
pub mod dead_letters;
mod decoder;
mod event;
mod format;
pub mod json;
pub mod json_lines;
mod known;
mod layout;
pub mod ndjson;
mod reader;
mod zstd_frame;

pub use codec::{Codec, CodecError, Coding, Compressor, UnknownCoding};
pub use decoder::{DEFAULT_MAX_ZSTD_WINDOW, DecodeError, Decoder};
pub use event::{Event, OwnedEvent};
pub use format::{Format, Rows, UnknownFormat, UnknownRows};
pub use known::Known;
pub use layout::Layout;
pub use ndjson::{BadMetaName, MetaName};
pub use reader::{ReadError, Reader, Row};
