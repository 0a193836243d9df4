//! Memory is bounded by configuration, and a kernel that kills whoever takes more is the judge.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::parts::{Agent, Cloud, Tuning};
use e2e::process::Program;
use e2e::{producer, until};

const LIMIT_BYTES: u64 = 128 << 20;
const TOTAL_BYTES: usize = 1 << 30;

/// A memory cgroup of its own, version 1 or 2; removed when dropped.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn make() -> Self {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, limit) = if v1.exists() {
            (v1, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let group = root.join(format!("sluicegate-e2e-{}", std::process::id()));
        std::fs::create_dir(&group).expect("the memory stage may make a cgroup");
        std::fs::write(group.join(limit), LIMIT_BYTES.to_string()).expect("a limit can be set");
        Self(group)
    }

    /// The program, started as a member of the group.
    fn member(&self, program: &Program) -> Program {
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        let mut args = vec!["-c".into(), join.into(), "sh".into(), program.file.clone().into()];
        args.extend(program.args.iter().cloned());
        Program { file: "sh".into(), args, ..program.clone() }
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The last member may still be on its way out.
        for _ in 0..200 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_by_http_passes_through_an_agent_that_may_use_128_mib() {
    let group = MemoryGroup::make();
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    // Compressed and partitioned: the way with the most memory on it.
    let tuning = Tuning {
        sink: "codec = \"zstd\"\npartition = \"type=%{json:type}\"".to_owned(),
        roll: "age = \"1s\"".to_owned(),
        ..Tuning::default()
    };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let program = group.member(&agent.program());
    let running = program.start().await;
    let client = producer::client();
    let line = |number: usize| format!("{{\"type\":\"t{}\",\"text\":\"{}\"}}\n", number % 7, "x".repeat(480));
    let body: String = (0..4000).map(line).collect::<Vec<_>>().concat();
    let requests = TOTAL_BYTES.div_ceil(body.len());
    let send = async |share: usize| {
        for _ in 0..share {
            let request = client.post(agent.events_url()).header("content-type", "application/x-ndjson");
            let answer = request.body(body.clone()).send().await;
            let answer = answer.unwrap_or_else(|error| panic!("{error}: {}", program.said()));
            assert_eq!(answer.status(), 200);
        }
    };
    futures_util::future::join_all((0..8).map(|_| send(requests.div_ceil(8)))).await;
    until("the flush", Duration::from_secs(60), async || {
        let flush = client.post(agent.admin_url("/v1/flush")).send().await.ok()?;
        (flush.status() == 200).then_some(())
    })
    .await;
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
}
