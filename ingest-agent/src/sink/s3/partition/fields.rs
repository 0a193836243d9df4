//! Picks a few fields out of a JSON body without building the rest of it.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The wanted paths as a tree, and the texts last found at them.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    root: Node,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Where the value goes if this very node is wanted.
    slot: Option<usize>,
    children: Vec<(String, Node)>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    found: bool,
    text: String,
}

/// A node at work on one value.
struct Walk<'n, 's> {
    node: &'n Node,
    slots: &'s mut [Slot],
}

/// Finds the child that a member's name leads to.
struct ChildOf<'n>(&'n Node);

// === impl Fields ===

impl Fields {
    /// Asks for the value at `path` and returns the number by which [`get`](Self::get) knows it.
    pub(super) fn want(&mut self, path: &[String]) -> usize {
        let mut node = &mut self.root;
        for step in path {
            let known = node.children.iter().position(|(name, _)| name == step);
            let index = known.unwrap_or_else(|| {
                node.children.push((step.clone(), Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[index].1;
        }
        let next = self.slots.len();
        let slot = *node.slot.get_or_insert(next);
        if slot == next {
            self.slots.push(Slot::default());
        }
        slot
    }

    /// Whether any field is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Reads `body`. If it is not exactly one JSON value, nothing is found.
    pub(super) fn read(&mut self, body: &[u8]) {
        self.forget();
        let mut json = serde_json::Deserializer::from_slice(body);
        let walk = Walk { node: &self.root, slots: &mut self.slots };
        if walk.deserialize(&mut json).and_then(|()| json.end()).is_err() {
            self.forget();
        }
    }

    /// The text found last: a string's own, an integer or true or false as written, another number in its shortest form;
    /// nothing for null, an object, an array or an empty string.
    pub(super) fn get(&self, slot: usize) -> Option<&str> {
        let slot = &self.slots[slot];
        (slot.found && !slot.text.is_empty()).then_some(&slot.text)
    }

    fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.found = false);
    }
}

// === impl Walk ===

impl Walk<'_, '_> {
    fn put(&mut self, value: impl fmt::Display) {
        if let Some(text) = self.text() {
            write!(text, "{value}").expect("writing to a String does not fail");
        }
    }

    fn put_text(&mut self, value: &str) {
        if let Some(text) = self.text() {
            text.push_str(value);
        }
    }

    /// Where the text of this node goes, if it is wanted.
    fn text(&mut self) -> Option<&mut String> {
        let slot = &mut self.slots[self.node.slot?];
        slot.found = true;
        slot.text.clear();
        Some(&mut slot.text)
    }
}

impl Node {
    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|(known, node)| (known == name).then_some(node))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.put_text(value);
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.put(value);
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.put(value);
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.put(value);
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        if let Some(number) = serde_json::Number::from_f64(value) {
            self.put(number);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(child) = members.next_key_seed(ChildOf(self.node))? {
            match child {
                Some(node) => members.next_value_seed(Walk { node, slots: self.slots })?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let child = self.node.children.iter().find(|(name, _)| name.parse() == Ok(index));
            let more = match child {
                Some((_, node)) => elements.next_element_seed(Walk { node, slots: self.slots })?.is_some(),
                None => elements.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

// === impl ChildOf ===

impl<'de, 'n> DeserializeSeed<'de> for ChildOf<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for ChildOf<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.child(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_value_has_its_text_or_none() {
        let cases = [
            (r#"{"a":"text"}"#, "a", Some("text")),
            (r#"{"a":"q\"\u00fc\n"}"#, "a", Some("q\"ü\n")),
            (r#"{"a":0}"#, "a", Some("0")),
            (r#"{"a":-7}"#, "a", Some("-7")),
            (r#"{"a":18446744073709551615}"#, "a", Some("18446744073709551615")),
            (r#"{"a":1.50}"#, "a", Some("1.5")),
            (r#"{"a":true}"#, "a", Some("true")),
            (r#"{"a":null}"#, "a", None),
            (r#"{"a":""}"#, "a", None),
            (r#"{"a":{}}"#, "a", None),
            (r#"{"a":[1]}"#, "a", None),
            (r#"{"b":1}"#, "a", None),
            (r#"{"a":{"b":{"c":"deep"}}}"#, "a.b.c", Some("deep")),
            (r#"{"a":[{"b":1},{"b":2}]}"#, "a.1.b", Some("2")),
            (r#"["x","y"]"#, "1", Some("y")),
            (r#"{"a":1,"a":2}"#, "a", Some("2")),
            (r#""just text""#, "a", None),
            (r#"{"a":1} trailing"#, "a", None),
            (r#"{"a":1"#, "a", None),
            ("", "a", None),
            ("not json", "a", None),
        ];
        for (body, path, expected) in cases {
            let mut fields = Fields::default();
            let slot = fields.want(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
            fields.read(body.as_bytes());
            assert_eq!(fields.get(slot), expected, "{path} of {body}");
        }
    }

    #[test]
    fn a_value_is_never_left_over_from_the_event_before() {
        let mut fields = Fields::default();
        let slot = fields.want(&["a".to_owned()]);
        assert_eq!(fields.want(&["a".to_owned()]), slot);
        fields.read(br#"{"a":1}"#);
        fields.read(br#"{"b":1}"#);
        assert_eq!(fields.get(slot), None);
    }

    #[test]
    fn a_body_nested_without_end_finds_nothing_and_harms_nothing() {
        let mut fields = Fields::default();
        let slot = fields.want(&["a".to_owned()]);
        fields.read("[".repeat(1_000_000).as_bytes());
        fields.read(r#"{"a":"#.repeat(1_000_000).as_bytes());
        assert_eq!(fields.get(slot), None);
    }
}
