//! How an object is compressed.
