//! What the S3 store says and hears, against a server that answers by script.
