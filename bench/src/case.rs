//! The cases: what is sent, and how the agent is set up for it.

use crate::event::{KINDS, Kinds, WORDS};
use crate::load::Shape;

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) event_bytes: usize,
    /// `None`: as many as the command line says.
    pub(crate) connections: Option<u32>,
    /// Large events come in smaller numbers: of `--events`, one in so many.
    pub(crate) one_in: u32,
    pub(crate) kinds: Kinds,
    pub(crate) setup: Setup,
}

/// How the agent is set up, beside its defaults.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    /// Lines to add to the HTTP source; `@TLS@` is the folder of a certificate and its key.
    pub(crate) http: &'static str,
    /// Lines to add to the netcat source.
    pub(crate) netcat: &'static str,
    /// Lines to add to the channel.
    pub(crate) channel: &'static str,
    /// Lines to add to the sink.
    pub(crate) sink: &'static str,
}

pub(crate) const DEFAULTS: Setup = Setup { http: "", netcat: "", channel: "", sink: "" };

const fn case(name: &'static str, shape: Shape) -> Case {
    Case { name, shape, event_bytes: 500, connections: None, one_in: 1, kinds: KINDS, setup: DEFAULTS }
}

pub(crate) const HTTP: Case = case("http", Shape::Http(100));
pub(crate) const NETCAT: Case = case("netcat", Shape::Netcat);

/// What the baseline is sent beside cases of `event_bytes`.
pub(crate) const fn baseline(event_bytes: usize, one_in: u32) -> Case {
    Case { event_bytes, connections: Some(1), one_in, ..case("baseline", Shape::Lines) }
}

/// The baselines that stand beside `cases`: one for each size of events.
pub(crate) fn baselines(cases: &[Case]) -> Vec<Case> {
    let mut sizes: Vec<_> = cases.iter().map(|case| (case.event_bytes, case.one_in)).collect();
    if sizes.is_empty() {
        sizes.push((500, 1));
    }
    sizes.sort_unstable();
    sizes.dedup_by_key(|(bytes, _)| *bytes);
    sizes.into_iter().map(|(bytes, one_in)| baseline(bytes, one_in)).collect()
}

/// Those that run unless others are named.
pub(crate) const MAIN: &[&str] = &["netcat", "http"];

/// Every case, `baseline` apart: that runs beside each size of events.
pub(crate) const CASES: &[Case] = &[
    NETCAT,
    Case {
        setup: Setup { netcat: "ack_every_event = false", ..DEFAULTS },
        ..case("netcat-no-answer", Shape::Lines)
    },
    Case { event_bytes: 100, ..case("netcat-100-bytes", Shape::Netcat) },
    Case { event_bytes: 4096, one_in: 8, ..case("netcat-4-kilobytes", Shape::Netcat) },
    Case { connections: Some(256), ..case("netcat-256-connections", Shape::Netcat) },
    HTTP,
    Case { one_in: 10, ..case("http-1-a-request", Shape::Http(1)) },
    case("http-10-a-request", Shape::Http(10)),
    case("http-1000-a-request", Shape::Http(1000)),
    Case { event_bytes: 100, ..case("http-100-bytes", Shape::Http(100)) },
    Case { event_bytes: 4096, one_in: 8, ..case("http-4-kilobytes", Shape::Http(100)) },
    Case { connections: Some(256), ..case("http-256-connections", Shape::Http(100)) },
    case("http-flume-array", Shape::Flume(100)),
    Case {
        kinds: WORDS,
        setup: Setup { sink: "codec = \"gzip\"\ncodec_level = 1", ..DEFAULTS },
        ..case("http-gzip", Shape::Http(100))
    },
    Case {
        kinds: WORDS,
        setup: Setup { sink: "codec = \"zstd\"\ncodec_level = 1", ..DEFAULTS },
        ..case("http-zstd", Shape::Http(100))
    },
    Case {
        setup: Setup { sink: "partition = \"t=%{json:t}/s=%{json:s}\"", ..DEFAULTS },
        ..case("http-200-partitions", Shape::Http(100))
    },
    Case {
        setup: Setup {
            http: "tls_certificate = \"@TLS@/certificate.pem\"\ntls_key = \"@TLS@/key.pem\"",
            ..DEFAULTS
        },
        ..case("http-tls", Shape::Http(100))
    },
    Case {
        kinds: Kinds { types: 10, sub_types: 10, ..KINDS },
        setup: Setup { sink: "partition = \"t=%{json:t}/s=%{json:s}\"", ..DEFAULTS },
        ..case("http-100-partitions", Shape::Http(100))
    },
    // A day of a games company: JSON events of 870 bytes by day, type and sub type, compressed.
    Case {
        event_bytes: 870,
        kinds: WORDS,
        setup: Setup {
            // What is not shipped yet keeps to this much of the disk: senders wait for the sink.
            channel: "capacity = \"2GiB\"",
            // A frame of 256 KiB in memory for each partition, and the other core to compress.
            sink: "codec = \"zstd\"\ncodec_level = 1\npartition = \"%Y/%m/%d/%{json:t}/%{json:s}\"\n\
                   staging_memory = \"64MiB\"\ncompression_threads = 1",
            ..DEFAULTS
        },
        ..case("plumbee", Shape::Http(100))
    },
];

/// The cases that `names` ask for; `all` is every one.
pub(crate) fn chosen(names: &[String]) -> anyhow::Result<Vec<Case>> {
    if names.iter().any(|name| name == "all") {
        return Ok(CASES.to_vec());
    }
    let names: Vec<&str> =
        if names.is_empty() { MAIN.to_vec() } else { names.iter().map(String::as_str).collect() };
    let find = |name: &str| {
        let found = CASES.iter().find(|case| case.name == name).copied();
        found.ok_or_else(|| {
            let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            anyhow::anyhow!("no case is called {name:?}: known are all, {}", known.join(", "))
        })
    };
    names.into_iter().filter(|name| *name != "baseline").map(find).collect()
}
