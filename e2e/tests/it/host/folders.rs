//! Folders where one does not expect them: each on a file system of its own, and on one that nobody may
//! write to.

use std::path::Path;
use std::time::Duration;

use e2e::door::{flushed, post};
use e2e::host::SmallDisk;
use e2e::parts::{Agent, Cloud, Server, Tuning, notifier, objects};
use e2e::producer::{self, Record};
use e2e::{oracle, until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(30);

fn disk(path: &Path) -> SmallDisk {
    SmallDisk::mount(path, 96 << 20).expect("the disk stage may mount")
}

fn tuning(channel: &str) -> Tuning {
    Tuning {
        channel: format!("segment = \"8MiB\"\nmax_batch = \"4MiB\"\nfree_disk_floor = \"0B\"\n{channel}"),
        // Through the staging log, whose place is beside the channel's.
        sink: "codec = \"zstd\"\npartition = \"type=%{json:type}\"\nstaging = \"16MiB\"".to_owned(),
        roll: "age = \"100ms\"".to_owned(),
        ..Tuning::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_folder_may_lie_on_a_file_system_of_its_own_and_be_named_by_a_link() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let disks = ["channel", "agent", "inbox", "output"].map(|name| disk(&home.path().join(name)));
    let [channel, data, inbox, output] = disks.each_ref().map(|disk| disk.path.clone());
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&channel, &link).expect("a link can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let place = format!("dir = \"{}\"", link.join("of/the/channel").display());
    let mut agent = Agent::new(&home.path().join("run"), &cloud.url(), tuning(&place));
    agent.data = data.join("data");
    // Rotated, so that files are renamed where the output lies.
    let file = output.join("out.ndjson");
    let path = file.to_str().expect("a path of ours is text");
    let flags = [("handler-kind", "ndjson"), ("handler-path", path), ("handler-rotate-bytes", "64KiB")];
    let server = Server::new(&inbox, &cloud.url(), &flags);
    let _notifier = notifier(home.path(), cloud.lambda, server.addr).start().await;

    let client = producer::client();
    let mut sent = Record::default();
    for round in 0..3 {
        let (agent_runs, server_runs) = (agent.program().start().await, server.program().start().await);
        for number in 0..100 {
            let line = format!(r#"{{"type":"t{}","round":{round},"number":{number}}}"#, number % 3);
            assert_eq!(post(&client, &agent, line.clone()).await, 200, "{}", agent.program().said());
            sent.answered.push(line);
        }
        flushed(&agent, SOON).await;
        let written = || {
            let files = std::fs::read_dir(&output).expect("the output is there").flatten();
            files.flat_map(|file| std::fs::read(file.path()).unwrap_or_default()).collect::<Vec<_>>()
        };
        until("the arrival of every line", SOON, async || {
            (!oracle::verdict(&sent, &written()).contains("missing")).then_some(())
        })
        .await;
        assert_eq!(oracle::verdict(&sent, &written()), "");
        agent_runs.kill().await;
        server_runs.kill().await;
    }
    assert!(std::fs::read_dir(&channel).expect("it is there").count() > 0, "the link led elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_nobody_may_write_to_stops_the_start_with_its_name_and_harms_nothing_in_it() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let disks = ["agent", "inbox"].map(|name| disk(&home.path().join(name)));
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let mut agent = Agent::new(&home.path().join("run"), &cloud.url(), tuning(""));
    agent.data = disks[0].path.join("data");
    let output = home.path().join("out.ndjson");
    let path = output.to_str().expect("a path of ours is text");
    let flags = [("handler-kind", "ndjson"), ("handler-path", path)];
    let mut server = Server::new(&home.path().join("server"), &cloud.url(), &flags);
    server.inbox = disks[1].path.join("inbox");
    let client = producer::client();

    // Held back in the channel, so that what is owed lies on the disk that nobody may write to.
    let running = agent.program().start().await;
    assert_eq!(post(&client, &agent, r#"{"sent":"before"}"#).await, 200);
    running.kill().await;
    server.program().start().await.kill().await;
    for (program, disk) in [(agent.program(), &disks[0]), (server.program(), &disks[1])] {
        until("the disk being nobody's", SOON, async || disk.read_only().ok()).await;
        let before = std::fs::read_to_string(&program.log).expect("it has a log").len();
        let ended = program.spawn().await.exit_code().await;
        let said = std::fs::read_to_string(&program.log).expect("it has a log").split_off(before);
        assert!([Some(77), Some(74)].contains(&ended), "{} ended with {ended:?}: {said}", program.name);
        let named =
            said.contains(&disk.path.display().to_string()) && said.to_lowercase().contains("read-only");
        assert!(named, "{} does not name the folder and the reason: {said}", program.name);
        disk.writable().expect("the disk is writable again");
    }
    let (agent_runs, server_runs) = (agent.program().start().await, server.program().start().await);
    let _notifier = notifier(home.path(), cloud.lambda, server.addr).start().await;
    assert_eq!(post(&client, &agent, r#"{"sent":"after"}"#).await, 200);
    flushed(&agent, SOON).await;
    assert_eq!(objects(&cloud.bucket().await).await.iter().map(|(cut, _)| cut.events).sum::<u64>(), 2);
    until("both events at the handler", SOON, async || {
        (std::fs::read_to_string(&output).ok()?.lines().count() == 2).then_some(())
    })
    .await;
    for running in [agent_runs, server_runs] {
        running.signal(Signal::TERM);
        assert_eq!(running.exit_code().await, Some(0));
    }
}
