//! How objects are kept by the store: their storage class and their tags.

use super::section::Section;
use super::value::Texts;

/// Classes from which an object can be read at once; the server reads each within seconds.
const CLASSES: [&str; 5] = ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"];

/// Tags that S3 takes of one object.
const MOST_TAGS: usize = 10;

#[expect(
    clippy::option_option,
    reason = "the outer says whether it could be read, the inner whether it is there"
)]
pub(super) fn storage_class(section: &mut Section<'_>) -> Option<Option<String>> {
    let class = section.optional::<String>("storage_class")?;
    if let Some(class) = class.as_deref().filter(|class| !CLASSES.contains(class)) {
        section.wrong("storage_class", format!("\"{class}\" is none of {}", CLASSES.join(", ")));
        return None;
    }
    Some(class)
}

pub(super) fn tags(section: &mut Section<'_>) -> Option<Vec<(String, String)>> {
    let texts = section.optional::<Texts>("tags")?.map_or_else(Vec::new, |Texts(texts)| texts);
    if texts.len() > MOST_TAGS {
        section.wrong("tags", format!("has {} tags; S3 takes {MOST_TAGS} of an object", texts.len()));
        return None;
    }
    let mut tags: Vec<(String, String)> = Vec::with_capacity(texts.len());
    for text in texts {
        match tag(&text) {
            Ok((name, _)) if tags.iter().any(|(other, _)| *other == name) => {
                section.wrong("tags", format!("names \"{name}\" twice"));
                return None;
            }
            Ok(tag) => tags.push(tag),
            Err(mistake) => {
                section.wrong("tags", format!("\"{text}\" {mistake}"));
                return None;
            }
        }
    }
    Some(tags)
}

/// S3's own rules, so that a mistake is found at the start and not at the first put.
fn tag(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("is not written NAME=VALUE")?;
    let taken = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    if !name.chars().chain(value.chars()).all(taken) {
        return Err("has other characters than letters, digits, spaces and +-=._:/@");
    }
    if name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256 {
        return Err("has a name that is not 1 to 128 characters long, or a value longer than 256");
    }
    if name.starts_with("aws:") {
        return Err("has a name that begins with aws:, which AWS keeps for itself");
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use blob_store::S3Options;

    use crate::config::{Config, Flags};
    use crate::sink::SinkKind;

    /// The store of this sink, or every mistake in it.
    fn stored(table: &str) -> Result<S3Options, String> {
        let text = format!(
            "[sources.web]\nkind = \"http\"\n[sinks.s3]\nkind = \"s3\"\nbucket = \"bucket\"\n{table}\n"
        );
        let config = Config::parse("agent.toml", &text, &Flags::default(), &|_| None);
        let config = config.map_err(|error| error.to_string())?;
        match config.sinks[0].kind.clone() {
            SinkKind::S3(sink) => Ok(sink.store),
            _ => panic!("it is s3"),
        }
    }

    #[test]
    fn objects_have_the_class_and_the_tags_of_the_configuration() {
        let plain = stored("").unwrap();
        assert_eq!((plain.storage_class, plain.tags), (None, vec![]));
        let table = "storage_class = \"GLACIER_IR\"\ntags = [\"team=data\", \"path=a=b\", \"empty=\"]";
        let tags = [("team", "data"), ("path", "a=b"), ("empty", "")].map(|(a, b)| (a.into(), b.into()));
        let both = stored(table).unwrap();
        assert_eq!((both.storage_class.as_deref(), both.tags), (Some("GLACIER_IR"), tags.to_vec()));
    }

    #[test]
    fn what_s3_would_refuse_of_class_and_tags_is_named_at_the_start() {
        let eleven = (0..11).map(|n| format!("\"t{n}=\"")).collect::<Vec<_>>().join(",");
        for (table, said) in [
            ("storage_class = \"DEEP_ARCHIVE\"", "storage_class: \"DEEP_ARCHIVE\" is none of STANDARD, "),
            ("tags = [\"team\"]", "tags: \"team\" is not written NAME=VALUE"),
            ("tags = [\"=x\"]", "has a name that is not 1 to 128"),
            ("tags = [\"aws:x=y\"]", "begins with aws:"),
            ("tags = [\"a=b&c\"]", "has other characters"),
            ("tags = [\"a=b\", \"a=c\"]", "names \"a\" twice"),
            (&*format!("tags = [{eleven}]"), "has 11 tags; S3 takes 10"),
        ] {
            let error = stored(table).unwrap_err();
            assert!(error.contains(said), "{table}: {error}");
        }
    }
}
