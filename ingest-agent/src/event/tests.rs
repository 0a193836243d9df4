use proptest::prelude::*;

use super::*;

type Owned = (Option<i64>, Vec<(String, String)>, Vec<u8>);

fn events() -> impl Strategy<Value = Vec<Owned>> {
    let header = (".{0,8}", ".{0,20}");
    let event = (
        any::<Option<i64>>(),
        proptest::collection::vec(header, 0..4),
        proptest::collection::vec(any::<u8>(), 0..64),
    );
    proptest::collection::vec(event, 0..20)
}

fn encoded(events: &[Owned]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (timestamp_ms, headers, body) in events {
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        encode(&mut payload, *timestamp_ms, headers, body);
    }
    payload
}

fn owned(event: EventRef<'_>) -> Owned {
    let headers = event.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    (event.timestamp_ms, headers.collect(), event.body.to_vec())
}

proptest! {
    #[test]
    fn events_come_back_as_they_went_in(events in events()) {
        let payload = encoded(&events);
        let decoded: Vec<_> =
            decode_all(&payload, events.len() as u32).map(|event| owned(event.unwrap())).collect();
        prop_assert_eq!(decoded, events);
    }

    #[test]
    fn a_payload_cut_short_gives_its_whole_events_and_one_error(events in events(), cut in any::<prop::sample::Index>()) {
        let payload = encoded(&events);
        prop_assume!(!payload.is_empty());
        let cut = cut.index(payload.len());
        let decoded: Vec<_> = decode_all(&payload[..cut], events.len() as u32).collect();
        let (last, whole) = decoded.split_last().unwrap();
        prop_assert!(last.is_err());
        for (event, expected) in whole.iter().zip(&events) {
            prop_assert_eq!(&owned(event.clone().unwrap()), expected);
        }
    }

    #[test]
    fn no_bytes_whatever_make_the_decoder_panic(payload in proptest::collection::vec(any::<u8>(), 0..200), count in 0_u32..10) {
        prop_assert!(decode_all(&payload, count).count() <= count as usize + 1);
    }
}

#[test]
fn the_encoding_of_version_1_stays_as_it_is() {
    let mut payload = Vec::new();
    encode_body(&mut payload, b"hi");
    assert_eq!(payload, b"\x10\x02\0\0\0hi");
    assert_eq!(payload.len(), b"hi".len() + PLAIN_OVERHEAD_BYTES);

    payload.clear();
    encode(&mut payload, Some(-2), [("a", "bc")], b"!");
    assert_eq!(payload, b"\x13\xfe\xff\xff\xff\xff\xff\xff\xff\x0b\0\0\0\x01\0\0\0a\x02\0\0\0bc\x01\0\0\0!");
}

#[test]
fn a_plain_body_and_an_event_without_headers_are_encoded_alike() {
    let (mut plain, mut full) = (Vec::new(), Vec::new());
    encode_body(&mut plain, b"body");
    encode(&mut full, None, [], b"body");
    assert_eq!(plain, full);
}

#[test]
fn a_newer_version_and_bytes_after_the_last_event_are_refused_by_name() {
    let error = decode_all(b"\x20\0\0\0\0", 1).next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "decoding event 0 of a batch at byte 0: its version or flags are unknown to this program"
    );
    let mut payload = Vec::new();
    encode_body(&mut payload, b"one");
    encode_body(&mut payload, b"two");
    let mut events = decode_all(&payload, 1);
    assert!(events.next().unwrap().is_ok());
    assert_eq!(
        events.next().unwrap().unwrap_err().to_string(),
        "decoding event 1 of a batch at byte 8: there is more than the batch's count of events"
    );
    assert!(events.next().is_none());
}

#[test]
fn an_events_own_time_is_its_timestamp_header_if_that_is_a_number() {
    assert_eq!(timestamp_of([("a", "1"), ("timestamp", "1700000000123")]), Some(1_700_000_000_123));
    assert_eq!(timestamp_of([("timestamp", "yesterday")]), None);
    assert_eq!(timestamp_of([("Timestamp", "5")]), None);
    let (headers, known) = (HeadersRef::default(), Known::NOTHING);
    let event = EventRef { timestamp_ms: None, headers, body: b"", known };
    assert_eq!(event.time_ms(7), 7);
}
