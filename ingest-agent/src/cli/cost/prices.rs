//! The one table of prices, `prices.toml`, and how to ask it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

const TABLE: &str = include_str!("prices.toml");

/// Prices of one region on one day, in US dollars.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prices {
    pub(super) region: String,
    /// Year and month of which they are.
    pub(super) as_of: String,
    #[serde(rename = "price", deserialize_with = "by_key")]
    list: BTreeMap<String, Price>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    key: String,
    usd: f64,
    per: String,
    what: String,
}

fn by_key<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Price>, D::Error> {
    let list = Vec::<Price>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|price| (price.key.clone(), price)).collect())
}

impl Prices {
    /// Those that the program was built with.
    pub(super) fn built_in() -> Self {
        toml::from_str(TABLE).expect("a test reads the table that is compiled in")
    }

    /// The price of what has this key.
    pub(super) fn of(&self, key: &str) -> f64 {
        self.list.get(key).map_or_else(|| unreachable!("no price is called {key}"), |price| price.usd)
    }

    /// The instance types that have a price.
    pub(super) fn instances(&self) -> Vec<&str> {
        self.list.keys().filter_map(|key| key.strip_prefix("ec2.")).collect()
    }

    /// The table as it stands in the documentation.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "Prices of {}, as of {}.\n\n| price | USD | per | what |\n|---|---|---|---|\n",
            self.region, self.as_of
        );
        for price in self.list.values() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| `{}` | {} | {} | {} |", price.key, price.usd, price.per, price.what);
        }
        text
    }
}
