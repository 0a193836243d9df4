//! The raw configuration: a tree of TOML values, each of which knows where it stands.
//!
//! It comes from a file, or from flags; what reads it cannot tell them apart. `${env:NAME}` is replaced here,
//! inside of strings and after the file is parsed, so that a value can change no structure;
//! `${env:NAME:-text}` has a default, and `$${env:` stands for `${env:`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::mistakes::{Mistake, Origin};

/// How the value of an environment variable is found; tests pass a map.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One value of the tree.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Table(Table),
    Leaf { origin: Origin, value: toml::Value },
}

/// A table of the tree.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) origin: Origin,
    pub(super) entries: BTreeMap<String, Node>,
}

// === impl Table ===

impl Table {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, entries: BTreeMap::new() }
    }

    /// Parses a file; every mistake in it that can be told apart is pushed onto `mistakes`.
    pub(super) fn parse(text: &str, env: Lookup<'_>, mistakes: &mut Vec<Mistake>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut converter = Converter { text, env, mistakes };
        for error in errors {
            let line = error.span().map_or(Origin::Nowhere, |span| converter.origin(span.start));
            converter.mistakes.push(Mistake { origin: line, text: error.message().replace('\n', ", ") });
        }
        converter.table(root.get_ref(), Origin::Nowhere)
    }

    /// Sets the value at `path`, making the tables on the way there.
    pub(super) fn set(&mut self, path: &[&str], origin: &Origin, value: toml::Value) {
        let [first, rest @ ..] = path else { return };
        if rest.is_empty() {
            self.entries.insert((*first).to_owned(), Node::Leaf { origin: origin.clone(), value });
            return;
        }
        let node =
            self.entries.entry((*first).to_owned()).or_insert_with(|| Node::Table(Self::new(origin.clone())));
        if let Node::Table(table) = node {
            table.set(rest, origin, value);
        }
    }
}

// === impl Node ===

impl Node {
    pub(super) fn origin(&self) -> &Origin {
        match self {
            Self::Table(table) => &table.origin,
            Self::Leaf { origin, .. } => origin,
        }
    }
}

struct Converter<'a> {
    text: &'a str,
    env: Lookup<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

// === impl Converter ===

impl Converter<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        Origin::Line(1 + memchr::memchr_iter(b'\n', before).count())
    }

    fn table(&mut self, table: &DeTable<'_>, origin: Origin) -> Table {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let origin = self.origin(key.span().start);
            let node = match value.get_ref() {
                DeValue::Table(inner) => Node::Table(self.table(inner, origin)),
                leaf => Node::Leaf { value: self.leaf(leaf, &origin), origin },
            };
            entries.insert(key.get_ref().to_string(), node);
        }
        Table { origin, entries }
    }

    fn leaf(&mut self, value: &DeValue<'_>, origin: &Origin) -> toml::Value {
        match value {
            DeValue::String(text) => toml::Value::String(self.substitute(text, origin)),
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix());
                if value.is_err() {
                    self.mistake(origin, format!("{number} is too large a number"));
                }
                toml::Value::Integer(value.unwrap_or_default())
            }
            DeValue::Float(number) => toml::Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => toml::Value::Boolean(*value),
            DeValue::Datetime(value) => toml::Value::Datetime(*value),
            DeValue::Array(array) => toml::Value::Array(self.array(array, origin)),
            DeValue::Table(table) => {
                let inner =
                    table.iter().map(|(k, v)| (k.get_ref().to_string(), self.leaf(v.get_ref(), origin)));
                toml::Value::Table(inner.collect())
            }
        }
    }

    fn array(&mut self, array: &DeArray<'_>, origin: &Origin) -> Vec<toml::Value> {
        array.iter().map(Spanned::get_ref).map(|value| self.leaf(value, origin)).collect()
    }

    fn substitute(&mut self, text: &str, origin: &Origin) -> String {
        const OPEN: &str = "${env:";
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(OPEN) {
            let (before, from) = rest.split_at(at);
            let inner = &from[OPEN.len()..];
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str(OPEN);
                rest = inner;
                continue;
            }
            out.push_str(before);
            let Some(end) = inner.find('}') else {
                self.mistake(
                    origin,
                    format!("\"{OPEN}\" has no closing \"}}\"; write \"${OPEN}\" for itself"),
                );
                return out;
            };
            let (name, default) = match inner[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (&inner[..end], None),
            };
            if let Some(value) = (self.env)(name).or(default) {
                out.push_str(&value);
            } else {
                self.mistake(origin, format!("the environment variable {name} is not set"));
                // What stands there is kept, so that its absence is not judged a second time.
                out.push_str(&from[..=OPEN.len() + end]);
            }
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        out
    }

    fn mistake(&mut self, origin: &Origin, text: String) {
        self.mistakes.push(Mistake { origin: origin.clone(), text });
    }
}
