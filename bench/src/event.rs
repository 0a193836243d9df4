//! Events that carry an id: a JSON object of a fixed size, its id at a fixed place, so that
//! making one costs ten bytes and checking a million costs a scan.

/// What stands before the id in every event.
pub(crate) const MARK: &[u8] = br#"{"id":""#;
const DIGITS: usize = 10;

/// Writes events of one size, each a line.
pub(crate) struct Events {
    line: Vec<u8>,
}

impl Events {
    /// Lines whose event, without its newline, is `bytes` long.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut line = MARK.to_vec();
        line.extend_from_slice(&[b'0'; DIGITS]);
        line.extend_from_slice(br#"","text":""#);
        let text = bytes.saturating_sub(line.len() + 2);
        line.extend((0..text).map(|i| b"the quick brown fox jumps over the lazy dog "[i % 44]));
        line.extend_from_slice(b"\"}\n");
        Self { line }
    }

    /// Appends the line of event `id`.
    pub(crate) fn push(&self, id: u32, out: &mut Vec<u8>) {
        let start = out.len() + MARK.len();
        out.extend_from_slice(&self.line);
        let mut rest = id;
        for digit in out[start..start + DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// Counts how often each id below `events` stands in `objects`: (missing, doubled, unknown).
pub(crate) fn check<'a>(objects: impl Iterator<Item = &'a [u8]>, events: u32) -> (u32, u32, u32) {
    let mut seen = vec![0_u8; events as usize];
    let mut unknown = 0;
    for object in objects {
        for at in memchr::memmem::find_iter(object, MARK) {
            let digits = object.get(at + MARK.len()..at + MARK.len() + DIGITS);
            let id = digits
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|d| d.parse::<usize>().ok());
            match id.and_then(|id| seen.get_mut(id)) {
                Some(count) => *count = count.saturating_add(1),
                None => unknown += 1,
            }
        }
    }
    let (mut missing, mut doubled) = (0, 0);
    for count in seen {
        match count {
            0 => missing += 1,
            1 => {}
            _ => doubled += 1,
        }
    }
    (missing, doubled, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_size_asked_for_and_its_id_is_found_again() {
        let events = Events::new(500);
        let mut object = Vec::new();
        for id in [0, 1, 3, 3] {
            events.push(id, &mut object);
        }
        assert_eq!(object.len(), 4 * 501);
        assert_eq!(check([object.as_slice()].into_iter(), 4), (1, 1, 0));
        assert_eq!(check([object.as_slice()].into_iter(), 2), (0, 0, 2));
    }
}
