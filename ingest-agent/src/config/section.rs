//! Reading one table: typed values, defaults, and everything that is wrong with it.
//!
//! A [`Section`] is given its table and the list of its keys. What it has read it also writes down, with the
//! defaults: that is the effective configuration of `--print-config`, and it cannot differ from what is in force.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use command_line::values;

use contract::without_userinfo;

use super::document::{Node, Table};
use super::mistakes::{Mistake, Origin};
use super::value::{FromValue, Word};

/// One key of one kind of table: the documentation that people read, and the default that is in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) default: Default,
    pub(super) doc: &'static str,
}

/// What an absent key means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    /// This TOML value.
    Value(&'static str),
    /// Nothing: the doc says what then.
    Absent,
    /// As `Absent`, and a value is never shown.
    Secret,
    /// A mistake.
    Required,
}

/// The keys of one kind of table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) list: &'static [Key],
    /// Names of tables inside of it, which are sections of their own.
    pub(super) tables: &'static [&'static str],
    /// Names that a key had once, or has in Flume, with the name that it has here.
    pub(super) renamed: &'static [(&'static str, &'static str)],
}

/// What all sections of one document share.
#[derive(Debug, std::default::Default)]
pub(super) struct Reading {
    mistakes: RefCell<Vec<Mistake>>,
    effective: RefCell<String>,
    notes: RefCell<Vec<String>>,
    /// Where each part listens, with the name of its key.
    listeners: RefCell<Vec<(String, SocketAddr)>>,
}

/// What came of reading a document.
pub(super) struct Read {
    /// The effective configuration.
    pub(super) effective: String,
    /// What is right and still worth a look.
    pub(super) notes: Vec<String>,
    /// The mistakes, in the order of the file.
    pub(super) mistakes: Vec<Mistake>,
}

/// One table while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    reading: &'a Reading,
    keys: Keys,
    path: String,
    table: Table,
}

pub(super) const fn key(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default: Default::Value(default), doc }
}

pub(super) const fn required(name: &'static str, doc: &'static str) -> Key {
    Key { name, default: Default::Required, doc }
}

pub(super) const fn optional(name: &'static str, doc: &'static str) -> Key {
    Key { name, default: Default::Absent, doc }
}

pub(super) const fn secret(name: &'static str, doc: &'static str) -> Key {
    Key { name, default: Default::Secret, doc }
}

// === impl Reading ===

impl Reading {
    pub(super) fn new(mistakes: Vec<Mistake>) -> Self {
        Self { mistakes: RefCell::new(mistakes), ..Self::default() }
    }

    pub(super) fn mistake(&self, origin: &Origin, text: impl Into<String>) {
        // Any of them may repeat a URL.
        let text = without_userinfo(&text.into());
        self.mistakes.borrow_mut().push(Mistake { origin: origin.clone(), text });
    }

    pub(super) fn finish(self) -> Read {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        mistakes.dedup();
        Read { effective: self.effective.into_inner(), notes: self.notes.into_inner(), mistakes }
    }
}

// === impl Section ===

impl<'a> Section<'a> {
    /// Starts to read `table`, which stands at `path` (empty for the document itself), and notes what
    /// it should not contain.
    pub(super) fn new(reading: &'a Reading, path: impl Into<String>, table: Table, keys: Keys) -> Self {
        let section = Self { reading, keys, path: path.into(), table };
        section.refuse_unknown();
        section.write_effective();
        section
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.table.origin
    }

    /// The value of `name` or its default; `None` means that a mistake has been noted.
    pub(super) fn get<T: FromValue>(&mut self, name: &str) -> Option<T> {
        let found = self.optional(name)?;
        if found.is_none() {
            let text = format!("{} is missing: {}", self.full(name), first_sentence(self.key(name).doc));
            self.reading.mistake(&self.table.origin, text);
        }
        found
    }

    /// As [`get`](Self::get), for a key that may be absent: `Some(None)`.
    #[expect(
        clippy::option_option,
        reason = "the outer says whether it could be read, the inner whether it is there"
    )]
    pub(super) fn optional<T: FromValue>(&mut self, name: &str) -> Option<Option<T>> {
        let default;
        let (value, origin) = match (self.table.entries.get(name), self.key(name).default) {
            (Some(Node::Leaf { value, origin }), _) => (value, origin),
            (Some(Node::Table(table)), _) => {
                self.mistake(&table.origin, name, &format!("a table is not {}", T::WHAT));
                return None;
            }
            (None, Default::Value(text)) => {
                default = parse_default(text);
                (&default, &Origin::Nowhere)
            }
            (None, _) => return Some(None),
        };
        let parsed = T::from_value(value);
        if parsed.is_none() {
            let text = match self.key(name).default {
                Default::Secret => format!("this is not {}", T::WHAT),
                _ => T::hint(value).unwrap_or_else(|| format!("{value} is not {}", T::WHAT)),
            };
            self.mistake(origin, name, &text);
        }
        parsed.map(Some)
    }

    /// One of a fixed set of words.
    pub(super) fn choice<T: Clone>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let Word(word) = self.get(name)?;
        let found = choices.iter().find(|(choice, _)| *choice == word).map(|(_, value)| value.clone());
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(choice, _)| format!("\"{choice}\"")).collect();
            let near = nearest(&word, choices.iter().map(|(choice, _)| *choice));
            let hint = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
            self.wrong(name, format!("\"{word}\" is none of {}{hint}", words.join(", ")));
        }
        found
    }

    /// A whole number or size within limits that the program has.
    pub(super) fn bounded<T: FromValue + Copy + Into<u64>>(
        &mut self,
        name: &str,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let value: u64 = self.get::<T>(name)?.into();
        if (least..=most).contains(&value) {
            return Some(value);
        }
        self.wrong(name, format!("{value} is not between {least} and {most}"));
        None
    }

    /// A duration that is longer than nothing.
    pub(super) fn time(&mut self, name: &str) -> Option<Duration> {
        let time = self.get::<Duration>(name)?;
        if time.is_zero() {
            self.wrong(name, "0s is no time: nothing could be done within it");
        }
        Some(time).filter(|time| !time.is_zero())
    }

    /// The address that a part listens on, which no other part may take.
    pub(super) fn listener(&mut self, name: &str) -> Option<SocketAddr> {
        let address = self.get::<SocketAddr>(name)?;
        let mut listeners = self.reading.listeners.borrow_mut();
        if let Some((path, taken)) = listeners.iter().find(|(_, taken)| values::clash(*taken, address)) {
            self.wrong(
                name,
                format!("{address} is taken by {path} ({taken}); two parts cannot share a port"),
            );
        }
        listeners.push((self.full(name), address));
        Some(address)
    }

    /// Notes what is right and still worth a look.
    pub(super) fn note(&self, name: &str, text: impl AsRef<str>) {
        self.reading.notes.borrow_mut().push(format!("{}: {}", self.full(name), text.as_ref()));
    }

    /// Whether the file or a flag says something about `name`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.table.entries.contains_key(name)
    }

    /// Takes the table `name` out of this one, empty if it is absent, to be read as a section.
    pub(super) fn table(&mut self, name: &str, keys: Keys) -> Section<'a> {
        let path = self.full(name);
        let table = match self.table.entries.remove(name) {
            Some(Node::Table(table)) => table,
            Some(Node::Leaf { origin, .. }) => {
                self.mistake(&origin, name, "this should be a table");
                Table::new(origin)
            }
            None => Table::new(self.table.origin.clone()),
        };
        Section::new(self.reading, path, table, keys)
    }

    /// Takes the table `name`, whose own entries are tables with names that the user chose.
    pub(super) fn named_tables(&mut self, name: &str) -> Vec<(String, String, Table)> {
        let mut named = Vec::new();
        let entries = match self.table.entries.remove(name) {
            Some(Node::Table(table)) => table.entries,
            Some(Node::Leaf { origin, .. }) => {
                self.mistake(&origin, name, &format!("this should be a table for each, as in [{name}.NAME]"));
                return named;
            }
            None => return named,
        };
        for (inner, node) in entries {
            let path = format!("{name}.{inner}");
            match node {
                Node::Table(table) => named.push((inner, path, table)),
                Node::Leaf { origin, .. } => {
                    self.reading
                        .mistake(&origin, format!("{path}: this should be a table, as in [{name}.NAME]"));
                }
            }
        }
        named
    }

    /// Notes that the value of `name` cannot be used.
    pub(super) fn wrong(&self, name: &str, text: impl AsRef<str>) {
        let origin = self.table.entries.get(name).map_or(&self.table.origin, Node::origin);
        self.mistake(origin, name, text.as_ref());
    }

    fn mistake(&self, origin: &Origin, name: &str, text: &str) {
        self.reading.mistake(origin, format!("{}: {text}", self.full(name)));
    }

    fn full(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn key(&self, name: &str) -> &'static Key {
        let found = self.keys.list.iter().find(|key| key.name == name);
        found.expect("every key that is read stands in the list of its section")
    }

    fn refuse_unknown(&self) {
        let names = || self.keys.list.iter().map(|key| key.name).chain(self.keys.tables.iter().copied());
        for (name, node) in &self.table.entries {
            if names().any(|known| known == name) {
                continue;
            }
            let renamed = self.keys.renamed.iter().find(|(old, _)| old == name);
            let text = match (renamed, nearest(name, names())) {
                (Some((_, new)), _) => format!("this key is called \"{new}\" here"),
                (None, Some(near)) => format!("unknown key; did you mean \"{near}\"?"),
                (None, None) => format!("unknown key; known are {}", names().collect::<Vec<_>>().join(", ")),
            };
            self.mistake(node.origin(), name, &text);
        }
    }

    fn write_effective(&self) {
        let mut out = self.reading.effective.borrow_mut();
        if !self.path.is_empty() {
            let _ = writeln!(out, "\n[{}]", self.path);
        }
        for Key { name, default, doc } in self.keys.list {
            for line in doc.lines() {
                let _ = writeln!(out, "# {}", line.trim());
            }
            let _ = match (self.table.entries.get(*name), default) {
                (Some(_), Default::Secret) => writeln!(out, "{name} = \"<redacted>\""),
                (Some(Node::Leaf { value, .. }), _) => {
                    writeln!(out, "{name} = {}", without_userinfo(&value.to_string()))
                }
                (_, Default::Value(value)) => writeln!(out, "{name} = {value}"),
                _ => writeln!(out, "# {name} ="),
            };
        }
    }
}

/// The known name that `word` was probably meant to be.
pub(super) fn nearest<'n>(word: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = known.map(|name| (strsim::jaro_winkler(word, name), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.8).map(|(_, name)| name)
}

fn parse_default(text: &str) -> toml::Value {
    text.parse().expect("defaults are written in the source as TOML values")
}

fn first_sentence(doc: &str) -> &str {
    doc.split_inclusive('.').next().unwrap_or(doc).trim_end_matches('.')
}
