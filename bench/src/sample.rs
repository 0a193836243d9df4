//! Events as producers send them: JSON objects of [`BYTES`] bytes with a type of ten and a sub type of twenty.

use std::fmt::Write as _;

/// The size of one event.
pub const BYTES: usize = 500;

/// Events of one request, and of one batch.
pub const BATCH: u32 = 100;

/// The event number `id`.
pub fn event(id: u32) -> String {
    let mut event = format!(r#"{{"id":"{id:010}","t":"{:02}","s":"{:02}","text":""#, id % 10, id / 10 % 20);
    let text = "the quick brown fox jumps over the lazy dog ".repeat(BYTES / 44 + 1);
    event.push_str(&text[..BYTES - event.len() - 2]);
    event.push_str("\"}");
    event
}

/// `count` events, each with a newline.
pub fn lines(count: u32) -> String {
    (0..count).fold(String::new(), |lines, id| lines + &event(id) + "\n")
}

/// An array of `count` events.
pub fn json_array(count: u32) -> String {
    let events: Vec<_> = (0..count).map(event).collect();
    format!("[{}]", events.join(","))
}

/// `count` events with a header each, as Flume's `JSONHandler` wants them.
pub fn flume_array(count: u32) -> String {
    let mut array = String::new();
    for id in 0..count {
        let body = serde_json::Value::from(event(id));
        write!(array, r#",{{"headers":{{"host":"web-{:02}"}},"body":{body}}}"#, id % 10)
            .expect("writing to a String does not fail");
    }
    array.replace_range(..1, "[");
    array + "]"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_json_of_the_size_promised() {
        for id in [0, 199, u32::MAX] {
            let event = event(id);
            assert_eq!(event.len(), BYTES);
            assert!(serde_json::from_str::<serde_json::Value>(&event).is_ok(), "{event}");
        }
        let array: Vec<serde_json::Value> = serde_json::from_str(&flume_array(3)).unwrap();
        assert_eq!(array[2]["body"], event(2));
    }
}
