//! Memory is bounded by configuration: a gigabyte passes through, the agent stays small.

use std::time::Duration;

use e2e::pipeline::Pipeline;
use e2e::{producer, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LINE_BYTES: usize = 500;
const TOTAL_BYTES: usize = 1 << 30;
const LIMIT_KIB: u64 = 64 << 10;

#[tokio::test]
async fn the_agent_stays_under_64_mib_while_a_gigabyte_passes_through() {
    let pipeline = Pipeline::start().await;
    let pid = pipeline.child_pid("agent").expect("the agent runs");
    let stream = TcpStream::connect(pipeline.addr("netcat")).await.expect("netcat listens");
    let (mut read, mut write) = stream.into_split();
    let lines = TOTAL_BYTES / (LINE_BYTES + 1);
    let answers = tokio::spawn(async move {
        let (mut buffer, mut bytes) = (vec![0; 64 << 10], 0);
        while bytes < 3 * lines {
            match read.read(&mut buffer).await.expect("the connection stays up") {
                0 => break,
                read => bytes += read,
            }
        }
        bytes
    });
    let block = format!("{}\n", "x".repeat(LINE_BYTES)).repeat(100);
    for _ in 0..lines / 100 {
        write.write_all(block.as_bytes()).await.expect("the agent takes the lines");
    }
    let rest = format!("{}\n", "x".repeat(LINE_BYTES)).repeat(lines % 100);
    write.write_all(rest.as_bytes()).await.expect("the agent takes the lines");
    assert_eq!(answers.await.expect("the answers are read"), 3 * lines, "every line is answered OK");

    let client = producer::client();
    until("the flush", Duration::from_secs(60), async || {
        let answer = client.post(pipeline.url("admin", "/v1/flush")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent still runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("the peak is a number");
    println!("peak resident memory of the agent: {} MiB", peak >> 10);
    assert!(peak < LIMIT_KIB, "the agent used {peak} KiB");
}
