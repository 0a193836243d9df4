//! Who a source lets in, and over what: its tokens and its certificate.

use std::path::{Path, PathBuf};

use contract::without_mark;
use entrance::{Tls, Tokens};

use super::section::Section;
use super::value::Texts;

/// The certificate that a source shows.
#[expect(
    clippy::option_option,
    reason = "the outer says whether it could be read, the inner whether it is there"
)]
pub(super) fn tls(section: &mut Section<'_>) -> Option<Option<Tls>> {
    let certificate = section.optional::<PathBuf>("tls_certificate")?;
    let key = section.optional::<PathBuf>("tls_key")?;
    match (certificate, key) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => match Tls::load(&certificate, &key) {
            Ok(tls) => Some(Some(tls)),
            Err(error) => {
                section.wrong("tls_certificate", error.to_string());
                None
            }
        },
        (Some(_), None) => {
            section.wrong("tls_certificate", "it needs tls_key beside it");
            None
        }
        (None, Some(_)) => {
            section.wrong("tls_key", "it needs tls_certificate beside it");
            None
        }
    }
}

/// The tokens of those who may send.
pub(super) fn tokens(section: &mut Section<'_>) -> Option<Tokens> {
    let mut texts: Vec<_> = section
        .optional::<Texts>("tokens")?
        .map_or_else(Vec::new, |Texts(texts)| texts.into_iter().map(|text| ("tokens", text)).collect());
    if let Some(file) = section.optional::<PathBuf>("token_file")? {
        match read(&file) {
            Ok(lines) => texts.extend(lines.into_iter().map(|line| ("token_file", line))),
            Err(mistake) => {
                section.wrong("token_file", mistake);
                return None;
            }
        }
    }
    let mut tokens = Tokens::default();
    for (key, text) in texts {
        if let Err(error) = tokens.add(&text) {
            section.wrong(key, error.to_string());
            return None;
        }
    }
    Some(tokens)
}

fn read(file: &Path) -> Result<Vec<String>, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("reading {}: {error}", file.display()))?;
    let lines: Vec<_> = without_mark(&text)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    // An emptied file must not let everybody in.
    if lines.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(lines) }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Flags};
    use crate::source::SourceKind;
    use crate::source::http::HttpConfig;

    /// The source of this table, or every mistake in it.
    fn source(table: &str) -> Result<HttpConfig, String> {
        let text = format!(
            "[sources.web]\nkind = \"http\"\n{table}\n[sinks.s3]\nkind = \"s3\"\nbucket = \"bucket\"\n"
        );
        let env = |name: &str| (name == "TOKEN").then(|| "the-token-in-the-environment".to_owned());
        let config =
            Config::parse("agent.toml", &text, &Flags::default(), &env).map_err(|error| error.to_string())?;
        match config.sources[0].kind.clone() {
            SourceKind::Http(http) => Ok(http),
            SourceKind::Netcat(_) => panic!("it is http"),
        }
    }

    #[test]
    fn tokens_come_from_the_configuration_the_environment_and_a_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("tokens");
        // With the byte order mark that some editors write.
        std::fs::write(&file, "\u{feff}b:the-token-in-the-file\n\n").unwrap();
        let file = file.to_str().unwrap();
        let table =
            format!("tokens = [\"a:${{env:TOKEN}}\", \"c:a-third-long-token\"]\ntoken_file = \"{file}\"");
        let tokens = source(&table).unwrap().tokens;
        let names = [
            "the-token-in-the-environment",
            "the-token-in-the-file",
            "a-third-long-token",
            "no-such-token-here",
        ];
        assert_eq!(names.map(|token| tokens.holder(token)), [Some("a"), Some("b"), Some("c"), None]);
        assert!(
            source("tokens = \"one:a-single-long-token\"")
                .unwrap()
                .tokens
                .holder("a-single-long-token")
                .is_some()
        );
        assert!(source("").unwrap().tokens.is_empty());
    }

    #[test]
    fn a_mistake_in_who_is_let_in_names_its_key_and_never_shows_a_token() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("empty");
        std::fs::write(&file, "\n").unwrap();
        for (table, said) in [
            (
                "tokens = \"hunter2hunter2hunter2\"",
                "sources.web.tokens: a token is written NAME:TOKEN".to_owned(),
            ),
            ("tokens = [\"a:hunter2\"]", "sources.web.tokens: the token of a has 7 characters".to_owned()),
            ("tokens = 7", "sources.web.tokens: this is not".to_owned()),
            (
                &*format!("token_file = {file:?}"),
                format!("sources.web.token_file: {} is empty", file.display()),
            ),
            ("tls_key = \"key.pem\"", "sources.web.tls_key: it needs tls_certificate beside it".to_owned()),
            ("tls_certificate = \"none.pem\"\ntls_key = \"none.pem\"", "reading none.pem".to_owned()),
        ] {
            let error = source(table).unwrap_err();
            assert!(error.contains(&said) && !error.contains("hunter2"), "{table}: {error}");
        }
    }
}
