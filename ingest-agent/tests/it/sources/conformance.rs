//! What every source promises ([`ingest_agent::source`]), as tests that each kind of source is put through.

use std::sync::Arc;

use durable_channel::{Channel, MemoryChannel, Start};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::source::SourceKind;
use tokio::io::AsyncWriteExt as _;

use super::http::post;
use super::{Held, QUEUE_BYTES, Running, http, memory_channel, netcat, read_to_end, soon, stored};

/// A kind of source, and how one speaks to it.
struct Spoken {
    kind: fn() -> SourceKind,
    /// One event with this text, sent as all that its connection sends.
    message: fn(&str) -> Vec<u8>,
    /// What the answer to it begins with if it is stored, and if the channel is full.
    stored: &'static str,
    full: &'static str,
}

const HTTP: Spoken = Spoken {
    kind: || http::kind(|_| ()),
    message: |text| post("/v1/events", "text/plain", text.as_bytes()),
    stored: "HTTP/1.1 200",
    full: "HTTP/1.1 503",
};

const NETCAT: Spoken = Spoken {
    kind: || netcat::kind(|_| ()),
    message: |text| format!("{text}\n").into_bytes(),
    stored: "OK\n",
    full: "FAILED: channel full",
};

impl Spoken {
    async fn run(&self) {
        self.answers_only_after_the_sync().await;
        self.a_refusal_stores_nothing_and_is_over_once_there_is_room().await;
        self.a_refusal_of_one_channel_is_one_of_all().await;
        self.a_stop_answers_what_was_taken_and_takes_no_more().await;
        self.a_sender_that_vanishes_harms_nobody().await;
    }

    async fn send(&self, source: &Running, text: &str) -> String {
        source.exchange(&(self.message)(text)).await
    }

    async fn answers_only_after_the_sync(&self) {
        let channel = Held::new();
        let source = Running::start_on((self.kind)(), channel.clone());
        let mut stream = source.connect().await;
        stream.write_all(&(self.message)("one")).await.unwrap();
        source.appended(1).await;
        assert!(stream.try_read(&mut [0]).is_err(), "I1: nothing is synced");
        channel.release();
        stream.shutdown().await.unwrap();
        assert!(read_to_end(&mut stream).await.starts_with(self.stored));
        assert_eq!(source.bodies(), ["one"]);
        source.stop().await;
    }

    async fn a_refusal_stores_nothing_and_is_over_once_there_is_room(&self) {
        let source = Running::start_on((self.kind)(), Arc::new(MemoryChannel::new(1, 1, 1 << 20).unwrap()));
        assert!(self.send(&source, "one").await.starts_with(self.stored));
        for _ in 0..3 {
            assert!(self.send(&source, "two").await.starts_with(self.full));
        }
        assert_eq!((source.channel.stats().next, source.metrics.refused_full.get()), (1, 3));
        source.channel.reader("sink", Start::Oldest).unwrap().release(1).unwrap();
        assert!(self.send(&source, "two").await.starts_with(self.stored));
        assert_eq!((source.channel.stats().next, source.metrics.accepted_events.get()), (2, 2));
        source.stop().await;
    }

    async fn a_refusal_of_one_channel_is_one_of_all(&self) {
        let large: Arc<dyn Channel> = Arc::new(memory_channel());
        let small: Arc<dyn Channel> = Arc::new(MemoryChannel::new(1, 1, 1 << 20).unwrap());
        let handles = [("a", &large), ("b", &small)];
        let handles =
            handles.map(|(name, channel)| ChannelHandle::new(name, Arc::clone(channel), QUEUE_BYTES));
        let source = Running::start_with((self.kind)(), Arc::clone(&large), handles.into());
        assert!(self.send(&source, "one").await.starts_with(self.stored));
        assert!(self.send(&source, "two").await.starts_with(self.full));
        assert_eq!((large.stats().next, small.stats().next), (1, 1));
        assert_eq!(stored(&*large), stored(&*small));
        source.stop().await;
    }

    async fn a_stop_answers_what_was_taken_and_takes_no_more(&self) {
        let channel = Held::new();
        let source = Running::start_on((self.kind)(), channel.clone());
        let mut stream = source.connect().await;
        stream.write_all(&(self.message)("one")).await.unwrap();
        source.appended(1).await;
        source.shutdown.cancel();
        let address = source.address;
        soon(async { while tokio::net::TcpStream::connect(address).await.is_ok() {} }).await;
        assert!(!source.task.is_finished(), "an answer is owed");
        channel.release();
        assert!(read_to_end(&mut stream).await.starts_with(self.stored));
        drop(stream);
        source.stop().await;
        assert_eq!(stored(&*channel).len(), 1);
    }

    async fn a_sender_that_vanishes_harms_nobody(&self) {
        let source = Running::start((self.kind)());
        let whole = (self.message)("half");
        for cut in [0, 1, whole.len() - 1] {
            let mut stream = source.connect().await;
            stream.write_all(&whole[..cut]).await.unwrap();
            stream.set_zero_linger().unwrap();
        }
        assert!(self.send(&source, "whole").await.starts_with(self.stored));
        assert_eq!(source.bodies(), ["whole"]);
        source.stop().await;
    }
}

#[tokio::test]
async fn the_http_source_keeps_every_promise() {
    HTTP.run().await;
}

#[tokio::test]
async fn the_netcat_source_keeps_every_promise() {
    NETCAT.run().await;
}
