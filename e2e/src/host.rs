//! What a test may need of the machine beside the programs: a small disk of its own, a clock that is
//! set, a share of the processors. Each is looked for first; where one is missing, whoever wants it
//! says NOT RUN.

mod clock;
mod disk;
mod group;

pub use clock::Clock;
pub use disk::{Ballast, SmallDisk};
pub use group::Group;
