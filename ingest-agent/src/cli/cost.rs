//! `sluicegate-agent cost`: what a month on AWS costs, beside what it costs elsewhere. It asks nobody: the
//! prices are compiled in, with their date.

mod bill;
mod prices;

use std::fmt::Write as _;

use clap::Args;

use self::bill::{Bill, Load, Network};
use self::prices::Prices;
use super::Failure;
use contract::exit;

/// What is sent, and how it is carried.
#[derive(Debug, Args)]
pub(super) struct CostArgs {
    /// Messages a second, on average
    #[arg(long, value_name = "N", default_value_t = 1200.0)]
    messages_per_second: f64,
    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 4096)]
    message_bytes: u64,
    /// Size at which an object is finished, in MiB as stored
    #[arg(long, value_name = "MIB", default_value_t = 64.0)]
    object_mib: f64,
    /// Age in seconds at which a smaller object is finished
    #[arg(long, value_name = "S", default_value_t = 300.0)]
    roll_age_s: f64,
    /// Partitions that are written to at a time
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    partitions: f64,
    /// How many times smaller compression makes the events; 1 if unknown
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    compression: f64,
    /// Days that objects are kept; 0 leaves storage out, which costs the same whoever writes
    #[arg(long, value_name = "DAYS", default_value_t = 0.0)]
    stored_days: f64,
    /// The network, as in terraform/examples
    #[arg(long, value_enum, default_value = "minimal")]
    network: Network,
    /// How many agents
    #[arg(long, value_name = "N", default_value_t = 1)]
    agents: u32,
    /// Type of the agents' and the server's instances
    #[arg(long, value_name = "TYPE", default_value = "t4g.small")]
    instance: String,
    /// Size of each data volume in GB
    #[arg(long, value_name = "GB", default_value_t = 20.0)]
    volume_gb: f64,
    /// Time of one notice in the notifier, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    notice_ms: f64,
    /// Print the table of prices and nothing else
    #[arg(long)]
    prices: bool,
}

pub(super) fn execute(args: &CostArgs) -> Result<(), Failure> {
    let prices = Prices::built_in();
    if args.prices {
        print!("{}", prices.markdown());
        return Ok(());
    }
    let load = args.load(&prices).map_err(|text| Failure { code: exit::CONFIG, text })?;
    print!("{}", report(&load, &prices));
    Ok(())
}

impl CostArgs {
    fn load(&self, prices: &Prices) -> Result<Load, String> {
        let positive = [
            ("messages-per-second", self.messages_per_second),
            ("object-mib", self.object_mib),
            ("roll-age-s", self.roll_age_s),
            ("partitions", self.partitions),
            ("compression", self.compression),
            ("volume-gb", self.volume_gb),
        ];
        for (flag, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(format!("--{flag}: {value} is not a number above 0"));
            }
        }
        for (flag, value) in [("stored-days", self.stored_days), ("notice-ms", self.notice_ms)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("--{flag}: {value} is not a number from 0 on"));
            }
        }
        if self.agents == 0 {
            return Err("--agents: 0 agents take no events".to_owned());
        }
        let known = prices.instances();
        if !known.contains(&self.instance.as_str()) {
            return Err(format!(
                "--instance: no price is known for {}; there is {}",
                self.instance,
                known.join(", ")
            ));
        }
        Ok(Load {
            messages_per_second: self.messages_per_second,
            message_bytes: self.message_bytes,
            object_bytes: self.object_mib * f64::from(1 << 20),
            roll_age_s: self.roll_age_s,
            partitions: self.partitions,
            compression: self.compression,
            stored_days: self.stored_days,
            network: self.network,
            agents: f64::from(self.agents),
            instance: self.instance.clone(),
            volume_gb: self.volume_gb,
            notice_ms: self.notice_ms,
        })
    }
}

fn report(load: &Load, prices: &Prices) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} messages of {} bytes a second: {:.0} GB a month, {:.0} objects\nUSD a month, prices of {} in {}",
        load.messages_per_second,
        load.message_bytes,
        load.bytes_per_month() / bill::GB,
        load.objects(),
        prices.region,
        prices.as_of
    );
    let firehose = bill::firehose(load, prices);
    let flume = bill::flume(load, prices);
    let ours = bill::sluicegate(load, prices);
    for bill in [&firehose, &flume, &ours] {
        show(&mut text, bill);
    }
    let _ = writeln!(
        text,
        "\nFirehose in round figures (KB and GB of thousands, 30 days): {:.2}\n\
         Sluicegate's network without a single event: {:.2}",
        bill::firehose_by_hand(load, prices),
        ours.fixed_network()
    );
    text
}

fn show(text: &mut String, bill: &Bill) {
    let _ = writeln!(text, "\n{:<52} {:>9.2}", bill.title, bill.total());
    for line in &bill.lines {
        let _ = writeln!(text, "  {:<50} {:>9.2}", line.what, line.usd);
    }
}

#[cfg(test)]
mod tests;
