//! Events that carry an id: a JSON object of a fixed size, id and fields at fixed places, so that making one costs
//! a copy and a few digits, and checking a million costs a scan.

use std::ops::Range;
use std::sync::LazyLock;

/// What stands before the id in every event, as the event is stored.
pub(crate) const MARK: &[u8] = br#"{"id":""#;
const ID_DIGITS: usize = 10;
const FIELD_DIGITS: usize = 2;
const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog ";

/// Of how many types `t` and sub types `s` events are, at most 100 each: what partitioned cases partition by.
#[derive(Clone, Copy)]
pub(crate) struct Kinds {
    pub(crate) types: u32,
    pub(crate) sub_types: u32,
    /// Whether each event has words of its own: a text that repeats itself costs a compressor next to nothing.
    pub(crate) varied: bool,
}

/// 200 partitions.
pub(crate) const KINDS: Kinds = Kinds { types: 10, sub_types: 20, varied: false };

/// As many, for a compressor.
pub(crate) const WORDS: Kinds = Kinds { varied: true, ..KINDS };

/// Bytes of words that varied texts are cut from: more than a compressor at its fastest looks back.
const CORPUS_BYTES: usize = 8 << 20;
static CORPUS: LazyLock<Vec<u8>> = LazyLock::new(corpus);

/// Writes events of one size in one form.
pub(crate) struct Events {
    record: Vec<u8>,
    text: Range<usize>,
    id_at: usize,
    type_at: usize,
    sub_type_at: usize,
    kinds: Kinds,
}

/// What surrounds an event on its way to a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The event and a newline.
    Line,
    /// An element of the array of Flume's `JSONHandler`, and a comma.
    Flume,
}

impl Events {
    /// Events whose JSON, without what surrounds it, is `bytes` long.
    pub(crate) fn new(bytes: usize, form: Form, kinds: Kinds) -> Self {
        let mut event = MARK.to_vec();
        event.extend_from_slice(&[b'0'; ID_DIGITS]);
        event.extend_from_slice(br#"","t":"00","s":"00","text":""#);
        let text = bytes.saturating_sub(event.len() + 2);
        event.extend(TEXT.iter().cycle().take(text));
        event.extend_from_slice(b"\"}");
        let record = match form {
            Form::Line => [&event[..], b"\n"].concat(),
            Form::Flume => {
                let body = serde_json::Value::from(String::from_utf8_lossy(&event));
                format!(r#"{{"headers":{{}},"body":{body}}},"#).into_bytes()
            }
        };
        // In a JSON string the quotes are escaped, so the places are found rather than counted.
        let after = |field: &str| {
            let zeros = memchr::memmem::find(&record, field.as_bytes()).expect("every event has the field");
            zeros + record[zeros..].iter().position(|byte| *byte == b'0').expect("and digits in it")
        };
        let begin =
            memchr::memmem::find(&record, &TEXT[..text.min(TEXT.len())]).expect("every event has a text");
        let text = begin..begin + text;
        Self { id_at: after("id"), type_at: after("\"t"), sub_type_at: after("\"s"), kinds, record, text }
    }

    /// Bytes that one event takes.
    pub(crate) fn record_bytes(&self) -> usize {
        self.record.len()
    }

    /// Appends event `id`.
    pub(crate) fn push(&self, id: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.record);
        let record = &mut out[start..];
        digits(&mut record[self.id_at..][..ID_DIGITS], id);
        if self.kinds.varied {
            // A multiplicative hash: neighbours get texts from far apart.
            let from = (u64::from(id) * 0x9e37_79b9) as usize % (CORPUS_BYTES - self.text.len());
            record[self.text.clone()].copy_from_slice(&CORPUS[from..][..self.text.len()]);
        }
        digits(&mut record[self.type_at..][..FIELD_DIGITS], id % self.kinds.types);
        digits(&mut record[self.sub_type_at..][..FIELD_DIGITS], id / self.kinds.types % self.kinds.sub_types);
    }
}

/// Words, the same in every run, few of them often and many seldom.
fn corpus() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<Vec<u8>> = (0..4096)
        .map(|_| {
            let letters = 2 + next() % 9;
            (0..letters).map(|_| b'a' + (next() % 26) as u8).chain([b' ']).collect()
        })
        .collect();
    let mut corpus = Vec::with_capacity(CORPUS_BYTES + 16);
    while corpus.len() < CORPUS_BYTES {
        let (one, other) = (next() % 4096, next() % 4096);
        corpus.extend_from_slice(&words[(one * other / 4096) as usize]);
    }
    corpus
}

fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// How often each id below a bound was seen.
pub(crate) struct Seen {
    counts: Vec<u8>,
    /// Marks without an id below the bound.
    pub(crate) unknown: u32,
}

impl Seen {
    pub(crate) fn new(events: u32) -> Self {
        Self { counts: vec![0; events as usize], unknown: 0 }
    }

    /// Counts the ids in the bytes of an object, decompressed.
    pub(crate) fn scan(&mut self, object: &[u8]) {
        for at in memchr::memmem::find_iter(object, MARK) {
            let digits = object.get(at + MARK.len()..at + MARK.len() + ID_DIGITS);
            let id = digits
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| digits.parse::<usize>().ok());
            match id.and_then(|id| self.counts.get_mut(id)) {
                Some(count) => *count = count.saturating_add(1),
                None => self.unknown += 1,
            }
        }
    }

    /// Ids that are in no object.
    pub(crate) fn missing(&self) -> usize {
        self.counts.len() - self.counts.iter().filter(|count| **count > 0).count()
    }

    /// Ids that are there more than once.
    pub(crate) fn doubled(&self) -> usize {
        self.counts.iter().filter(|count| **count > 1).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(object: &[u8], events: u32) -> (usize, usize, u32) {
        let mut seen = Seen::new(events);
        seen.scan(object);
        (seen.missing(), seen.doubled(), seen.unknown)
    }

    #[test]
    fn an_event_has_the_size_asked_for_and_its_id_is_found_again() {
        let events = Events::new(500, Form::Line, KINDS);
        let mut object = Vec::new();
        for id in [0, 1, 3, 3] {
            events.push(id, &mut object);
        }
        assert_eq!(object.len(), 4 * 501);
        assert_eq!(seen(&object, 4), (1, 1, 0));
        assert_eq!(seen(&object, 2), (0, 0, 2));
    }

    #[test]
    fn an_element_of_flumes_array_holds_the_same_event() {
        let (lines, elements) = (Events::new(300, Form::Line, KINDS), Events::new(300, Form::Flume, KINDS));
        let (mut line, mut array) = (Vec::new(), b"[".to_vec());
        lines.push(1234, &mut line);
        elements.push(1234, &mut array);
        *array.last_mut().unwrap() = b']';
        let array: serde_json::Value = serde_json::from_slice(&array).unwrap();
        assert_eq!(format!("{}\n", array[0]["body"].as_str().unwrap()).as_bytes(), line);
        let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&event["t"], &event["s"]), (&"04".into(), &"03".into()));
    }
}
