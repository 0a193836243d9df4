//! A Flume agent's properties file is told for what it is, instead of in a mistake for each of its lines.

use super::mistakes::{Mistake, Origin};

/// The mistake of a file that is Flume's: its first line of the form `AGENT.sources = ..`.
pub(super) fn mistake(text: &str) -> Option<Mistake> {
    let mut lines = text.lines().enumerate();
    let (index, agent) = lines.find_map(|(index, line)| Some((index, agent_of(line)?)))?;
    Some(Mistake {
        origin: Origin::Line(index + 1),
        text: format!(
            "this is a Flume configuration (of the agent \"{agent}\"); this agent reads TOML. Begin with \
             `--print-config`, which explains every key: [sources.NAME] with kind, [channels.NAME] and \
             [sinks.NAME]; keys of Flume that have another name here are answered with it"
        ),
    })
}

/// The agent's name in a line that lists its sources, channels or sinks. TOML has no dots and blanks so:
/// a list of names without quotes.
fn agent_of(line: &str) -> Option<&str> {
    let (key, value) = line.split_once(['=', ':'])?;
    let (agent, part) = key.trim().split_once('.')?;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let lists = matches!(part.trim(), "sources" | "channels" | "sinks" | "sinkgroups");
    let names = value.split_whitespace().all(is_name) && !value.trim().is_empty();
    (is_name(agent) && lists && names).then_some(agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flume_properties_file_is_known_and_toml_is_not_taken_for_one() {
        let told = |text: &str| mistake(text).map(|mistake| (mistake.origin, mistake.text));
        let (origin, text) = told("# agent\n\na1.sources = r1 r2\na1.channels=c1\n").unwrap();
        assert_eq!(origin, Origin::Line(3));
        assert!(text.contains("\"a1\"") && text.contains("TOML"), "{text}");
        assert!(told("agent-1.sinks: k1\n").is_some());
        for text in
            ["[sources.web]\nkind = \"http\"\n", "a.sources = \"x\"\n", "a.sources = 1.5\n", "x = 1\n", ""]
        {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
