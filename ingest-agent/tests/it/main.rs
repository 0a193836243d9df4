//! Tests of the whole agent: in this process where that is enough, as a program where it is not.

mod agent;
mod channel_commands;
mod descriptors;
mod installed;
mod program;
mod s3_sink;
mod sources;
mod support;
