//! The layers a setting may come from (default, file, environment, flag; the later wins) and
//! the reader that turns texts into typed values while it collects every mistake.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use contract::without_userinfo;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key};

/// Where a value was written, for the message about a mistake in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

/// What all layers say together, and what is wrong with it so far.
#[derive(Debug, Default)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, Setting>,
    mistakes: Vec<String>,
}

impl Settings {
    pub(super) fn with_defaults() -> Self {
        let mut settings = Self::default();
        for key in KEYS {
            if let Some(default) = key.default {
                settings.set(key, vec![default.to_owned()], Origin::Default);
            }
        }
        settings
    }

    pub(super) fn set(&mut self, key: &'static Key, values: Vec<String>, origin: Origin) {
        self.values.insert(key.name, Setting { values, origin });
    }

    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.values.get(name)
    }

    pub(super) fn mistake(&mut self, text: impl Into<String>) {
        // Any of them may repeat a URL.
        self.mistakes.push(without_userinfo(&text.into()));
    }

    pub(super) fn into_mistakes(self) -> Vec<String> {
        self.mistakes
    }

    /// Adds the file's layer.
    pub(super) fn read_file(&mut self, path: &Path, text: &str) {
        match DeTable::parse(text) {
            Ok(table) => self.read_table(path, text, "", table.get_ref()),
            Err(error) => {
                let line = line_of(text, error.span().map_or(0, |span| span.start));
                self.mistake(format!("{}:{line}: {}", path.display(), error.message()));
            }
        }
    }

    fn read_table(&mut self, path: &Path, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            let origin = Origin::File { path: path.to_owned(), line: line_of(text, name.span().start) };
            if let DeValue::Table(inner) = value.get_ref() {
                let inner_prefix = format!("{full}.");
                if KEYS.iter().any(|key| key.name.starts_with(&inner_prefix)) {
                    self.read_table(path, text, &inner_prefix, inner);
                    continue;
                }
            }
            let Some(key) = KEYS.iter().find(|key| key.name == full) else {
                self.mistake(format!("{origin}: there is no setting `{full}`{}", nearest(&full)));
                continue;
            };
            match texts(value.get_ref()) {
                Some(values) => self.set(key, values, origin),
                None => self.mistake(format!("{origin}: `{full}` is neither a value nor a list of values")),
            }
        }
    }

    /// The typed value of a setting that has a default, or its mistake and `fallback`.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        fallback: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.optional(name, parse).unwrap_or(fallback)
    }

    /// The typed value of a setting that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let setting = self.values.get(name)?;
        let parsed = match setting.values.as_slice() {
            [text] => parse(text),
            _ => Err("one value is needed, not a list".to_owned()),
        };
        let origin = setting.origin.clone();
        parsed.map_err(|mistake| self.mistake(format!("{origin}: {name}: {mistake}"))).ok()
    }

    /// The values of a setting that may hold several, written as a list or with commas.
    pub(super) fn list(&self, name: &'static str) -> Vec<String> {
        let values = self.values.get(name).map_or(&[][..], |setting| &setting.values);
        values
            .iter()
            .flat_map(|value| value.split(','))
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .collect()
    }
}

/// The clause that names the setting closest to a mistyped one.
pub(super) fn nearest(name: &str) -> String {
    KEYS.iter()
        .map(|key| (strsim::jaro_winkler(name, key.name), key.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, nearest)| format!("; did you mean `{nearest}`?"))
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Integer(number) => Some(vec![number.to_string()]),
        DeValue::Float(number) => Some(vec![number.to_string()]),
        DeValue::Boolean(on) => Some(vec![on.to_string()]),
        DeValue::Array(items) => {
            items.iter().map(|item| texts(item.get_ref()).and_then(one)).collect::<Option<Vec<_>>>()
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn one(mut values: Vec<String>) -> Option<String> {
    (values.len() == 1).then(|| values.remove(0))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
