//! What the program prints to a person, who gives it an argument; Lambda gives it none.

use std::fmt::Write as _;

/// What `--help` prints of a program that is called `name`: the table that heads [`crate::config`].
pub fn help(name: &str) -> String {
    let mut text = format!(
        "Relays events about new S3 objects as signed notices. AWS Lambda starts it (runtime provided.al2023).\n\
         \nUsage: {name}\n\n\
         It takes no arguments but --help and --version. Its settings are variables of the environment:\n"
    );
    for row in include_str!("settings.md").lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').splitn(3, '|').map(str::trim).collect();
        let [variable, default, meaning] = cells.as_slice() else { continue };
        let default = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n  {variable}{default}\n      {meaning}");
    }
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_explains_every_variable() {
        let text = help("installed");
        assert!(text.contains("Usage: installed\n"), "{text}");
        let rows = include_str!("settings.md").lines().skip(2).count();
        assert_eq!(text.matches("\n  SLUICEGATE_").count(), rows, "{text}");
        assert!(text.contains("\n  SLUICEGATE_NOTIFY_TIMEOUT [10s]\n      longest wait"), "{text}");
    }
}
