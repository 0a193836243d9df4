//! How an `s3` sink makes its objects: format and codec, with their settings.

use object_format::{Codec, Coding, Format, Layout, MetaName};

use super::section::Section;

/// How events are laid into objects.
pub(super) fn layout(section: &mut Section<'_>) -> Option<Layout> {
    let formats = [Format::Ndjson, Format::Text, Format::Raw, Format::JsonLines];
    let format = section.choice("format", &formats.map(|format| (format.name(), format)));
    let meta = section.get::<String>("meta").and_then(|name| match name.as_str() {
        "" => Some(None),
        name => MetaName::new(name).map_err(|error| section.wrong("meta", error.to_string())).ok().map(Some),
    });
    Some(match (format?, meta?) {
        (Format::Ndjson, meta) => Layout::Ndjson { meta },
        (Format::Text, _) => Layout::Text,
        (Format::Raw, _) => Layout::Raw,
        (Format::JsonLines | Format::DeadLetters, _) => Layout::JsonLines,
    })
}

/// How objects are compressed.
pub(super) fn codec(section: &mut Section<'_>) -> Option<Codec> {
    let coding = section.choice("codec", &Coding::ALL.map(|coding| (coding.name(), coding)));
    let level = section.optional::<i32>("codec_level");
    Codec::new(coding?, level?).map_err(|error| section.wrong("codec_level", error.to_string())).ok()
}
