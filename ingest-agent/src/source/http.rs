//! Events by HTTP.
