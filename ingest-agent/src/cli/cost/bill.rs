//! What a month costs: a bill is a list of lines, and each line is amount times price.

use super::prices::Prices;

/// AWS reckons a month as 730 hours, and a gigabyte as 2^30 bytes.
pub(super) const HOURS: f64 = 730.0;
pub(super) const SECONDS: f64 = HOURS * 3600.0;
pub(super) const GB: f64 = (1_u64 << 30) as f64;
/// What Data Firehose rounds each message up to.
const FIREHOSE_UNIT: u64 = 5 * 1024;
/// What `packaging/aws/metrics.sh` sends for an agent and for a server, each minute.
const METRICS: (f64, f64) = (10.0, 4.0);
/// What the module `observability` makes: for the pipeline, for each agent, for the server.
const ALARMS: (f64, f64, f64) = (3.0, 5.0, 3.0);
const ROOT_VOLUME_GB: f64 = 8.0;

/// What is sent, and what carries it.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) messages_per_second: f64,
    pub(super) message_bytes: u64,
    /// Bytes of an object as stored, and the age at which a smaller one is finished.
    pub(super) object_bytes: f64,
    pub(super) roll_age_s: f64,
    /// Partitions that are open at a time, in each agent.
    pub(super) partitions: f64,
    /// Bytes before compression over bytes after it.
    pub(super) compression: f64,
    pub(super) stored_days: f64,
    pub(super) network: Network,
    pub(super) agents: f64,
    pub(super) instance: String,
    pub(super) volume_gb: f64,
    /// Milliseconds of one invocation of the notifier.
    pub(super) notice_ms: f64,
}

/// The examples below `terraform/examples`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Network {
    /// One zone, public addresses for what instances ask of AWS, no balancer
    Minimal,
    /// Three zones, private subnets, five interface endpoints in each, an internal balancer, SQS, KMS
    Production,
}

/// A bill of one month.
#[derive(Debug)]
pub(super) struct Bill {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) usd: f64,
    /// Whether it is due without a single event.
    pub(super) fixed: bool,
}

impl Load {
    pub(super) fn bytes_per_month(&self) -> f64 {
        self.messages_per_second * self.message_bytes as f64 * SECONDS
    }

    fn stored_bytes(&self) -> f64 {
        self.bytes_per_month() / self.compression
    }

    /// Objects are finished when they are big or old enough, whichever comes first; never more of them
    /// than messages.
    pub(super) fn objects(&self) -> f64 {
        let by_size = self.stored_bytes() / self.object_bytes;
        let by_age = self.agents * self.partitions * SECONDS / self.roll_age_s;
        by_size.max(by_age).min(self.messages_per_second * SECONDS)
    }
}

/// Data Firehose, which counts each message as a multiple of 5 KB.
pub(super) fn firehose(load: &Load, prices: &Prices) -> Bill {
    let billed = load.message_bytes.div_ceil(FIREHOSE_UNIT).max(1) * FIREHOSE_UNIT;
    let gb = load.messages_per_second * billed as f64 * SECONDS / GB;
    let mut bill = Bill::new("Amazon Data Firehose");
    bill.add(
        format!("{gb:.0} GB, each message counted as {} KB", billed / 1024),
        gb * prices.of("firehose.gb"),
        false,
    );
    bill
}

/// The same in round figures, as people do it by hand: KB and GB of thousands, 30 days.
pub(super) fn firehose_by_hand(load: &Load, prices: &Prices) -> f64 {
    let kb = (load.message_bytes as f64 / 1024.0 / 5.0).ceil().max(1.0) * 5.0;
    load.messages_per_second * kb * 86_400.0 * 30.0 / 1e6 * prices.of("firehose.gb")
}

/// Apache Flume on one instance, as somebody measured it for 1,200 messages of 4 KB a second: objects
/// of 16 MiB, each put under a temporary name and copied to its own.
pub(super) fn flume(load: &Load, prices: &Prices) -> Bill {
    let objects = load.bytes_per_month() / f64::from(16 << 20);
    let mut bill = Bill::new("Apache Flume on one t2.large");
    bill.add("t2.large".to_owned(), HOURS * prices.of("ec2.t2.large"), true);
    bill.add("30 GB gp2".to_owned(), 30.0 * prices.of("ebs.gp2.gb"), true);
    bill.add(
        format!("{:.0} puts and copies", objects * 2.0),
        objects * 2.0 / 1000.0 * prices.of("s3.put"),
        false,
    );
    bill
}

/// Sluicegate as `terraform/examples` provisions it: agents, bucket, notifier, server, alarms.
pub(super) fn sluicegate(load: &Load, prices: &Prices) -> Bill {
    let production = load.network == Network::Production;
    let instances = load.agents + 1.0;
    let objects = load.objects();
    let hourly = |key: &str| HOURS * prices.of(key);
    let thousand = |number: f64, key: &str| number / 1000.0 * prices.of(key);
    let mut bill = Bill::new("Sluicegate");

    bill.add(
        format!("{} agents and a server, {}", load.agents, load.instance),
        instances * hourly(&format!("ec2.{}", load.instance)),
        true,
    );
    let disk_gb = instances * (load.volume_gb + ROOT_VOLUME_GB);
    bill.add(format!("{disk_gb} GB gp3, data and system"), disk_gb * prices.of("ebs.gp3.gb"), true);

    if production {
        bill.add("network: 5 endpoints in 3 zones".to_owned(), 15.0 * hourly("endpoint"), true);
        let capacity_units = load.bytes_per_month() / GB / HOURS;
        bill.add(
            "network: balancer".to_owned(),
            hourly("balancer") + capacity_units * hourly("balancer.unit"),
            true,
        );
        // Two of three connections lead to an agent in another zone.
        let crossing = load.bytes_per_month() / GB * 2.0 / 3.0;
        bill.add("network: between zones".to_owned(), crossing * prices.of("between_zones"), false);
        bill.add("KMS key".to_owned(), prices.of("kms.key"), true);
    } else {
        bill.add("network: 1 endpoint".to_owned(), hourly("endpoint"), true);
        bill.add(format!("network: {instances} public addresses"), instances * hourly("address"), true);
    }

    // Larger objects go in parts of 16 MiB, and two more requests.
    let put_bytes = f64::from(64 << 20);
    let parts = if load.object_bytes > put_bytes {
        objects.min(load.stored_bytes() / load.object_bytes)
            * ((load.object_bytes / f64::from(16 << 20)).ceil() + 1.0)
    } else {
        0.0
    };
    bill.add(format!("{objects:.0} objects put"), thousand(objects + parts, "s3.put"), false);
    bill.add(format!("{objects:.0} objects fetched"), thousand(objects, "s3.get"), false);
    let duration_gb_s = objects * load.notice_ms / 1000.0 * 128.0 / 1024.0;
    bill.add(
        format!("Lambda, {objects:.0} notices"),
        thousand(objects, "lambda.request") + duration_gb_s * prices.of("lambda.gb_s"),
        false,
    );
    if production {
        // Sent by S3, received and deleted by Lambda.
        bill.add("SQS".to_owned(), thousand(3.0 * objects, "sqs.request"), false);
    }

    let metrics = load.agents * METRICS.0 + METRICS.1;
    let sends = instances * HOURS * 60.0;
    bill.add(
        format!("{metrics} metrics, sent each minute"),
        metrics * prices.of("metric") + thousand(sends, "metric.put"),
        true,
    );
    let alarms = ALARMS.0 + load.agents * ALARMS.1 + ALARMS.2;
    bill.add("alarms".to_owned(), alarms * prices.of("alarm"), true);
    bill.add("secret".to_owned(), prices.of("secret"), true);
    if load.stored_days > 0.0 {
        let gb = load.stored_bytes() / GB / (HOURS / 24.0) * load.stored_days;
        bill.add(format!("{gb:.0} GB stored"), gb * prices.of("s3.gb"), false);
    }
    bill
}

impl Bill {
    fn new(title: &str) -> Self {
        Self { title: title.to_owned(), lines: Vec::new() }
    }

    fn add(&mut self, what: String, usd: f64, fixed: bool) {
        self.lines.push(Line { what, usd, fixed });
    }

    pub(super) fn total(&self) -> f64 {
        self.lines.iter().map(|line| line.usd).sum()
    }

    /// What the network costs without a single event.
    pub(super) fn fixed_network(&self) -> f64 {
        self.lines
            .iter()
            .filter(|line| line.fixed && line.what.starts_with("network"))
            .map(|line| line.usd)
            .sum()
    }
}
