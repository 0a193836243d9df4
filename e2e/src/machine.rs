//! The machine that the parts of a run share, as far as it can be had here, and what goes wrong with
//! it, chosen by the run's seed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::faults::Storm;
use crate::host::{Clock, Group, SmallDisk};
use crate::pipeline::signal;
use crate::process::{Kept, Program};
use crate::random::Random;
use crate::tally::Tally;

/// The size of the agent's disk, where that is a small one.
const DISK_BYTES: u64 = 160 << 20;
/// How long a trouble lasts at most: longer than the shortest time-outs of a run.
const LONGEST: Duration = Duration::from_secs(3);

/// What can go wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The agent's disk has no room left.
    DiskFull,
    /// The agent's disk takes no further file, though it has room.
    NoInodes,
    /// The agent's clock is set by seconds, minutes or days.
    ClockSet,
    /// A part may open nothing more: no file, no connection.
    NoDescriptors,
    /// All parts together get a few thousandths of a processor.
    NoProcessor,
    /// A part is stopped, and goes on later.
    Frozen,
}

impl Trouble {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::DiskFull,
        Self::NoInodes,
        Self::ClockSet,
        Self::NoDescriptors,
        Self::NoProcessor,
        Self::Frozen,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::DiskFull => "disk full",
            Self::NoInodes => "no inodes",
            Self::ClockSet => "clock set",
            Self::NoDescriptors => "no descriptors",
            Self::NoProcessor => "no processor",
            Self::Frozen => "frozen",
        }
    }

    /// The longest pause before it comes again.
    fn pause(self) -> Duration {
        match self {
            Self::ClockSet => Duration::from_secs(4),
            _ => Duration::from_secs(8),
        }
    }
}

/// A machine that has what its troubles need.
#[derive(Debug, Default)]
pub struct Machine {
    disk: Option<SmallDisk>,
    clock: Option<Clock>,
    processors: Option<Group>,
    troubles: Vec<Trouble>,
    /// Troubles that cannot be had here, and why.
    pub not_run: Vec<String>,
}

impl Machine {
    /// One for these troubles, whose disk is mounted below `home`.
    pub fn make(home: &Path, troubles: &[Trouble]) -> Self {
        let mut machine = Self::default();
        for trouble in troubles {
            match machine.prepare(home, *trouble) {
                Ok(()) => machine.troubles.push(*trouble),
                Err(why) => machine.not_run.push(format!("{} ({why})", trouble.name())),
            }
        }
        machine
    }

    fn prepare(&mut self, home: &Path, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::DiskFull | Trouble::NoInodes if self.disk.is_none() => {
                self.disk = Some(SmallDisk::mount(&home.join("disk"), DISK_BYTES)?);
            }
            Trouble::ClockSet => self.clock = Some(Clock::new(&home.join("clock"))?),
            Trouble::NoProcessor => self.processors = Some(Group::of_processors()?),
            _ => {}
        }
        Ok(())
    }

    /// Where the agent's data lies: on the small disk if there is one.
    pub fn data(&self, home: &Path) -> PathBuf {
        self.disk.as_ref().map_or(home, |disk| &disk.path).join("data")
    }

    /// The agent, on this machine.
    pub fn agent(&self, mut program: Program) -> Program {
        if let Some(clock) = &self.clock {
            clock.give(&mut program);
        }
        self.part(&program)
    }

    /// Any other part, on this machine.
    pub fn part(&self, program: &Program) -> Program {
        self.processors.as_ref().map_or_else(|| program.clone(), |processors| processors.member(program))
    }

    /// What was asked for goes wrong now and then, each by itself, until the storm ends. The first part
    /// is the agent.
    pub async fn trouble(&self, storm: &Storm, random: Random, tally: &Tally, parts: &[(&str, &Kept)]) {
        let kinds = (0..).zip(&self.troubles).map(async |(stream, trouble)| {
            let mut random = random.stream(stream);
            while storm.is_on() {
                tokio::time::sleep(random.up_to(trouble.pause())).await;
                if storm.is_on() {
                    tally.count(trouble.name());
                    self.happen(*trouble, &mut random, parts).await;
                }
            }
        });
        join_all(kinds).await;
        if let Some(clock) = &self.clock {
            clock.set(0);
        }
    }

    async fn happen(&self, trouble: Trouble, random: &mut Random, parts: &[(&str, &Kept)]) {
        let meanwhile = tokio::time::sleep(random.up_to(LONGEST));
        match trouble {
            Trouble::DiskFull => {
                let _ballast = self.disk.as_ref().map(SmallDisk::fill);
                meanwhile.await;
            }
            Trouble::NoInodes => {
                let _ballast = self.disk.as_ref().map(SmallDisk::fill_inodes);
                meanwhile.await;
            }
            Trouble::ClockSet => {
                let furthest = [3, 240, 3 * 86_400][random.below(3) as usize];
                let seconds = random.below(2 * furthest).cast_signed() - furthest.cast_signed();
                if let Some(clock) = &self.clock {
                    clock.set(seconds);
                }
            }
            Trouble::NoDescriptors => {
                let Some(pid) = parts[random.first_or_other(parts.len())].1.pid() else { return };
                let before = few_descriptors(pid, random.below(4));
                meanwhile.await;
                before.and_then(|before| set_descriptors(pid, before));
            }
            Trouble::NoProcessor => {
                if let Some(processors) = &self.processors {
                    processors.processors(Some(10 + random.below(40))).expect("a group takes limits");
                    meanwhile.await;
                    processors.processors(None).expect("a group takes limits");
                }
            }
            Trouble::Frozen => {
                let Some(pid) = parts[random.first_or_other(parts.len())].1.pid() else { return };
                signal(pid, Signal::STOP);
                meanwhile.await;
                signal(pid, Signal::CONT);
            }
        }
    }
}

/// Lets a running process open only so many more descriptors than it has; the limit from before, to be
/// [set](set_descriptors) again. `None` if it is gone.
pub fn few_descriptors(pid: u32, more: u64) -> Option<Rlimit> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    // What it may raise its own limit to stays as it is: it has it from us.
    let maximum = getrlimit(Resource::Nofile).maximum;
    set_descriptors(pid, Rlimit { current: Some(open + more), maximum })
}

/// Sets the limit of a running process; the one from before. `None` if it is gone.
pub fn set_descriptors(pid: u32, limit: Rlimit) -> Option<Rlimit> {
    prlimit(Some(Pid::from_raw(pid.cast_signed())?), Resource::Nofile, limit).ok()
}
