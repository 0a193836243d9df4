//! The text of a key template, taken apart.
//!
//! | in the template         | stands for                                                                         |
//! |-------------------------|------------------------------------------------------------------------------------|
//! | `%{name}`               | the event's header `name`                                                          |
//! | `%{json:user.id}`       | that member of the body, which is JSON; a number steps into an array               |
//! | `%{json:/user/first.name}` | the same as a JSON pointer (RFC 6901), for names with dots in them              |
//! | `%Y %m %d %H %M %S ...` | a part of the event's time, with the letters of Flume (below)                      |
//! | `%s`, `%t`              | the event's time in seconds, in milliseconds since the epoch                       |
//! | `%%`                    | a percent sign                                                                     |
//!
//! The letters: `%a %A` weekday (Mon, Monday), `%b %B` month (Jan, January), `%c` date and time, `%d %e` day (05, 5),
//! `%D` `%m/%d/%y`, `%H %k` hour (07, 7), `%I %l` hour of 12, `%j` day of the year, `%m %n` month (03, 3), `%M` minute,
//! `%p` AM or PM, `%S` second, `%y %Y` year, `%z` offset (+0100). Unlike in Flume, where an unknown letter
//! silently becomes nothing, a template with one is refused. `%[localhost]` and its like are refused too: what an
//! object is called must not depend on the host that happens to drain the channel.

/// One part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text that stands for itself.
    Literal(String),
    /// The value of this header.
    Header(String),
    /// The value at this path in the body.
    Field(Vec<String>),
    /// A part of the time, as a format of the time library.
    Time(&'static str),
    /// The time itself in milliseconds, which rounding does not touch.
    Millis,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at byte {at} of the template")]
pub struct TemplateError {
    /// Where in the template, counting bytes from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: TemplateProblem,
}

/// What can be wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// The template ends in a percent sign.
    #[error("a lone % (write %% for a percent sign)")]
    LonePercent,
    /// A brace is opened and never closed.
    #[error("%{{ without a closing brace")]
    Unclosed,
    /// The braces hold no name.
    #[error("%{{}} without a name")]
    NoName,
    /// A letter that stands for nothing.
    #[error("unknown escape %{0} (write %% for a percent sign)")]
    UnknownEscape(char),
    /// Flume's escapes for the host's name and address.
    #[error("%[...] would make the key depend on the host")]
    Host,
    /// A path segment of the literal text is `.` or `..`.
    #[error("a path segment that is only dots")]
    Dots,
    /// The literal text has a control character.
    #[error("a control character")]
    Control,
}

/// Takes `template` apart; slashes at its ends and doubled ones are dropped.
pub(super) fn parse(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(found) = template[at..].chars().next() {
        let fail = |problem| Err(TemplateError { at, problem });
        if found.is_control() {
            return fail(TemplateProblem::Control);
        }
        if found != '%' {
            push_literal(&mut pieces, found);
            at += found.len_utf8();
            continue;
        }
        let Some(letter) = template[at + 1..].chars().next() else {
            return fail(TemplateProblem::LonePercent);
        };
        match letter {
            '%' => push_literal(&mut pieces, '%'),
            '[' => return fail(TemplateProblem::Host),
            't' => pieces.push(Piece::Millis),
            '{' => {
                let Some(length) = template[at + 2..].find('}') else {
                    return fail(TemplateProblem::Unclosed);
                };
                let name = &template[at + 2..at + 2 + length];
                match placeholder(name) {
                    Some(piece) => pieces.push(piece),
                    None => return fail(TemplateProblem::NoName),
                }
                at += 2 + length + 1;
                continue;
            }
            letter => match time_format(letter) {
                Some(format) => pieces.push(Piece::Time(format)),
                None => return fail(TemplateProblem::UnknownEscape(letter)),
            },
        }
        at += 1 + letter.len_utf8();
    }
    if let Some(Piece::Literal(last)) = pieces.last_mut() {
        last.truncate(last.trim_end_matches('/').len());
    }
    pieces.retain(|piece| *piece != Piece::Literal(String::new()));
    no_segment_of_dots(template, &pieces)?;
    Ok(pieces)
}

fn push_literal(pieces: &mut Vec<Piece>, found: char) {
    match pieces.last_mut() {
        Some(Piece::Literal(text)) if found == '/' && text.ends_with('/') => {}
        Some(Piece::Literal(text)) => text.push(found),
        None if found == '/' => {}
        _ => pieces.push(Piece::Literal(found.to_string())),
    }
}

fn placeholder(name: &str) -> Option<Piece> {
    let path: Vec<String> = match name.strip_prefix("json:") {
        None if name.is_empty() => return None,
        None => return Some(Piece::Header(name.to_owned())),
        Some(pointer) if pointer.starts_with('/') => {
            pointer[1..].split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
        }
        Some(dotted) => dotted.split('.').map(str::to_owned).collect(),
    };
    (!path.iter().any(String::is_empty)).then_some(Piece::Field(path))
}

/// The format by which the time library writes what Flume's `letter` stands for.
fn time_format(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' => "%a",
        'A' => "%A",
        'b' => "%b",
        'B' => "%B",
        'c' => "%a %b %-d %H:%M:%S %Y",
        'd' => "%d",
        'e' => "%-d",
        'D' => "%m/%d/%y",
        'H' => "%H",
        'I' => "%I",
        'j' => "%j",
        'k' => "%-H",
        'l' => "%-I",
        'm' => "%m",
        'n' => "%-m",
        'M' => "%M",
        'p' => "%p",
        's' => "%s",
        'S' => "%S",
        'y' => "%y",
        'Y' => "%Y",
        'z' => "%z",
        _ => return None,
    })
}

/// Values are never empty and never only dots, so only literal text can make a segment of dots.
fn no_segment_of_dots(template: &str, pieces: &[Piece]) -> Result<(), TemplateError> {
    let mut shape = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => shape.push_str(text),
            _ => shape.push('x'),
        }
    }
    match shape.split('/').find(|segment| matches!(*segment, "." | "..")) {
        None => Ok(()),
        Some(dots) => {
            let at = template.find(dots).unwrap_or(0);
            Err(TemplateError { at, problem: TemplateProblem::Dots })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.to_owned())
    }

    fn field(path: &[&str]) -> Piece {
        Piece::Field(path.iter().map(|&step| step.to_owned()).collect())
    }

    #[test]
    fn a_template_is_text_headers_fields_and_times() {
        let cases = [
            ("", vec![]),
            ("/", vec![]),
            ("plain", vec![literal("plain")]),
            ("/a//b/", vec![literal("a/b")]),
            ("100%%", vec![literal("100%")]),
            ("%{host}", vec![Piece::Header("host".into())]),
            ("%{X-Any name: at all}", vec![Piece::Header("X-Any name: at all".into())]),
            (
                "t=%{json:type}/%{json:a.0.b}",
                vec![literal("t="), field(&["type"]), literal("/"), field(&["a", "0", "b"])],
            ),
            ("%{json:/a.b/c~1d~0e}", vec![field(&["a.b", "c/d~e"])]),
            ("%Y-%e", vec![Piece::Time("%Y"), literal("-"), Piece::Time("%-d")]),
            ("%t", vec![Piece::Millis]),
            ("größe/%{größe}/", vec![literal("größe/"), Piece::Header("größe".into())]),
            (".hidden/...", vec![literal(".hidden/...")]),
        ];
        for (template, pieces) in cases {
            assert_eq!(parse(template), Ok(pieces), "{template}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_meant_is_refused_with_its_place() {
        let cases = [
            ("a%", "a lone % (write %% for a percent sign), at byte 1 of the template"),
            ("a/%{b", "%{ without a closing brace, at byte 2 of the template"),
            ("%{}", "%{} without a name, at byte 0 of the template"),
            ("%{json:}", "%{} without a name, at byte 0 of the template"),
            ("%{json:a..b}", "%{} without a name, at byte 0 of the template"),
            ("%Y/%Q", "unknown escape %Q (write %% for a percent sign), at byte 3 of the template"),
            ("%ü", "unknown escape %ü (write %% for a percent sign), at byte 0 of the template"),
            ("%[localhost]", "%[...] would make the key depend on the host, at byte 0 of the template"),
            ("a/../b", "a path segment that is only dots, at byte 2 of the template"),
            ("./%Y", "a path segment that is only dots, at byte 0 of the template"),
            ("%Y/..", "a path segment that is only dots, at byte 3 of the template"),
            ("a\nb", "a control character, at byte 1 of the template"),
        ];
        for (template, text) in cases {
            assert_eq!(parse(template).unwrap_err().to_string(), text, "{template}");
        }
    }
}
