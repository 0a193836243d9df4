//! Events as lines over TCP.
