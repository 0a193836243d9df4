//! The cases: what is sent, and how the agent is set up for it.

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
    pub(crate) setup: Setup,
}

/// How the agent is set up, beside its defaults.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// Lines to add to the netcat source.
    pub(crate) netcat: &'static str,
    /// Lines to add to the sink.
    pub(crate) sink: &'static str,
}

const DEFAULTS: Setup = Setup { netcat: "", sink: "" };

const fn case(name: &'static str, shape: Shape) -> Case {
    Case { name, shape, event_bytes: 500, connections: None, one_in: 1, setup: DEFAULTS }
}

const HTTP: Case = case("http", Shape::Http(100));
const NETCAT: Case = case("netcat", Shape::Netcat);

/// Those that run unless others are named.
pub(crate) const MAIN: &[&str] = &["netcat", "http"];

/// Every case, `floor` apart: that runs beside each size of events.
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
        setup: Setup { sink: "codec = \"gzip\"\ncodec_level = 1", ..DEFAULTS },
        ..case("http-gzip", Shape::Http(100))
    },
    Case {
        setup: Setup { sink: "codec = \"zstd\"\ncodec_level = 1", ..DEFAULTS },
        ..case("http-zstd", Shape::Http(100))
    },
    Case {
        setup: Setup { sink: "partition = \"t=%{json:t}/s=%{json:s}\"", ..DEFAULTS },
        ..case("http-200-partitions", Shape::Http(100))
    },
    // A day of a games company: JSON events of 870 bytes by day, type and sub type, compressed.
    Case {
        event_bytes: 870,
        setup: Setup {
            sink: "codec = \"zstd\"\ncodec_level = 1\npartition = \"%Y/%m/%d/%{json:t}/%{json:s}\"",
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
    names.into_iter().filter(|name| *name != "floor").map(find).collect()
}
