//! A program with whatever it starts itself: one process group, killed as a whole.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process_group};

/// Every process of the group is killed when it is dropped, also those whose parent is gone.
pub(crate) struct Group {
    leader: Child,
}

impl Group {
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        Ok(Self { leader: command.process_group(0).spawn()? })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The leader was not waited for yet, so that its number is still its own.
        let _ = kill_process_group(Pid::from_child(&self.leader), Signal::KILL);
        let _ = self.leader.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;

    /// Ended, or ended and not waited for yet by whoever inherited it.
    fn is_gone(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    }

    #[test]
    fn no_process_of_a_group_survives_its_drop() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut group = Group::spawn(shell).expect("a shell is there");
        let mut child = String::new();
        let output = group.leader.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut child).expect("the shell says what it started");
        assert!(!is_gone(child.trim()));
        drop(group);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_gone(child.trim()) {
            assert!(Instant::now() < deadline, "the shell's child outlives it");
            std::thread::yield_now();
        }
    }
}
