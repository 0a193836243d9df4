//! The agent under a limit of open files: connections that say nothing stop neither its channel nor its sink.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use contract::exit;
use local_cloud::{CloudOptions, LocalCloud};
use rustix::process::Signal;
use tempfile::tempdir;

use crate::program::{Running, agent, write_config};
use crate::support::{metric, request, until};

/// Starts the agent of `config` with at most `limit` open files; what it says goes to `log` in `dir`.
fn start_limited(dir: &Path, config: &Path, limit: usize) -> Running {
    let mut limited = Command::new("sh");
    limited.env_clear().stdin(Stdio::null());
    limited.args(["-c", "ulimit -n $LIMIT && exec \"$AGENT\" --config \"$CONFIG\" 2> \"$LOG\""]);
    limited.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    limited.env("LIMIT", limit.to_string()).env("AGENT", agent().get_program());
    limited.env("CONFIG", config).env("LOG", dir.join("log"));
    Running::start_with(dir, &mut limited)
}

/// Connections that never say anything.
fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address).expect("the system takes it for the agent")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_silent_connections_than_open_files_stop_neither_taking_nor_shipping() {
    // This process has both ends of all of them.
    assert!(entrance::descriptors::raise() > 4_000, "the limit of this process is too low for the test");
    for limit in [64, 256, 1024] {
        let dir = tempdir().unwrap();
        let cloud = LocalCloud::start(CloudOptions::new(dir.path().join("cloud"))).await.unwrap();
        cloud.create_bucket("events").await.unwrap();
        let rest = format!(
            "[sources.lines]\nkind = \"netcat\"\nlisten = \"127.0.0.1:0\"\n\
             [sources.web]\nkind = \"http\"\nlisten = \"127.0.0.1:0\"\n\
             [channels.main]\nsegment = \"1MiB\"\nmax_batch = \"256KiB\"\nfree_disk_floor = \"0B\"\n\
             [sinks.s3]\nkind = \"s3\"\nbucket = \"events\"\nendpoint = \"{}\"\npath_style = true\ncodec = \"gzip\"\n\
             credentials = {{ from = \"static\", access_key_id = \"local\", secret_access_key = \"local-secret\" }}\n\
             [sinks.s3.roll]\nage = \"200ms\"\n",
            cloud.s3_url()
        );
        let config = write_config(dir.path(), &rest);
        let running = start_limited(dir.path(), &config, limit);
        let connections = silent(running.address("/sources/lines"), limit + 100);

        // Four segments end, and each event is answered.
        let (web, admin) = (running.address("/sources/web"), running.address("/admin"));
        let event = "x".repeat(100_000);
        for _ in 0..40 {
            let (status, body) = request(web, "POST", "/v1/events", &event).await;
            assert_eq!(status, 200, "with {limit} open files: {body}\n{}", said(dir.path()));
        }
        let (status, body) = request(admin, "POST", "/v1/flush?timeout=50s", "").await;
        assert_eq!(status, 200, "with {limit} open files: {body}\n{}", said(dir.path()));
        let scrape = request(admin, "GET", "/metrics", "").await.1;
        assert_eq!(metric(&scrape, "sluicegate_events_shipped_total", "channel=\"main\",sink=\"s3\""), 40);
        let open = metric(&scrape, "sluicegate_source_connections", "source=\"lines\"");
        assert!((1..limit as u64).contains(&open), "{open} connections at a time");
        let told = said(dir.path());
        assert!(told.contains("fewer connections than configured"), "{told}");

        // A silent connection has its place for idle_timeout; then, or when it goes, the next has it.
        drop(connections);
        until("a place for a line", || {
            let lines = running.address("/sources/lines");
            std::io::Write::write_all(&mut TcpStream::connect(lines).ok()?, b"a line\n").ok()
        });
        running.signal(Signal::TERM);
        assert_eq!(running.exit_code(), Some(i32::from(exit::OK)), "{}", said(dir.path()));
        cloud.shutdown().await;
    }
}

fn said(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}
