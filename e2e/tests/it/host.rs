//! What needs more of the machine than other tests: rights to mount and to make control groups,
//! strace, libfaketime. Each has a stage of its own, which looks for these first.

mod cgroup;
mod clock;
mod disk;
mod folders;
pub(crate) mod sync;
