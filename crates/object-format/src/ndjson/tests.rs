use proptest::prelude::*;
use serde_json::Value;

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn line(timestamp_ms: Option<i64>, headers: Pairs<'_>, body: &[u8], meta: Option<&MetaName>) -> String {
    let headers = headers.iter().copied();
    let event = Event { timestamp_ms, arrival_ms: 1000, headers, body, known: Known::NOTHING };
    let mut out = b"{".to_vec();
    write(&event, meta, &mut out);
    if let Some(same) = as_it_is(&event, meta) {
        assert_eq!([same, b"\n"].concat(), out[1..]);
    }
    assert_eq!(out.pop(), Some(b'\n'));
    String::from_utf8(out.split_off(1)).expect("a line is UTF-8")
}

fn plain(body: &[u8]) -> String {
    line(None, &[], body, Some(&MetaName::default()))
}

#[test]
fn an_object_is_its_own_line_and_loses_nothing_but_line_breaks_and_outer_blanks() {
    let cases: [(&[u8], &str); 12] = [
        (b"{}", "{}"),
        (b" \r\n{ }\t\n", "{ }"),
        (b"{\n  \"a\": 1,\r\n\r  \"b\": [ 1,\n2 ]\n}", "{  \"a\": 1,  \"b\": [ 1,2 ]}"),
        (br#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        (
            br#"{"n":1e400,"m":-0.10,"k":12345678901234567890123}"#,
            r#"{"n":1e400,"m":-0.10,"k":12345678901234567890123}"#,
        ),
        (br#"{"s":"\ud800","t":"\n\u000a","\/":null}"#, r#"{"s":"\ud800","t":"\n\u000a","\/":null}"#),
        ("{\"s\":\"\u{2028}\u{2029}\u{85}\u{7f}é\"}".as_bytes(), "{\"s\":\"\u{2028}\u{2029}\u{85}\u{7f}é\"}"),
        (br#"{"message":"mine"}"#, r#"{"message":"mine"}"#),
        (br#"{"message_base64":"AA=="}"#, r#"{"message_base64":"AA=="}"#),
        (
            br#"{"a":{"_meta":1},"b":[{"_meta":2}],"c":"_meta"}"#,
            r#"{"a":{"_meta":1},"b":[{"_meta":2}],"c":"_meta"}"#,
        ),
        (br#"{"_Meta":1,"_meta ":2,"meta":3}"#, r#"{"_Meta":1,"_meta ":2,"meta":3}"#),
        (b"{\t\"a\"\t:\t1\t}", "{\t\"a\"\t:\t1\t}"),
    ];
    for (body, expected) in cases {
        assert_eq!(plain(body), expected);
    }
}

#[test]
fn any_other_body_is_wrapped_as_text_or_as_base64() {
    let cases: [(&[u8], &str); 16] = [
        (b"", r#"{"message":""}"#),
        (b"a line", r#"{"message":"a line"}"#),
        (b"two\nlines\r\n", r#"{"message":"two\nlines\r\n"}"#),
        (b"\r", r#"{"message":"\r"}"#),
        (b"nul \0 and \x1b[0m", r#"{"message":"nul \u0000 and \u001b[0m"}"#),
        ("\u{2028} ü".as_bytes(), "{\"message\":\"\u{2028} ü\"}"),
        (b"[1,2]", r#"{"message":"[1,2]"}"#),
        (b"\"text\"", r#"{"message":"\"text\""}"#),
        (b"12", r#"{"message":"12"}"#),
        (b" null\n", r#"{"message":" null\n"}"#),
        (b"{\"a\":1}{}", r#"{"message":"{\"a\":1}{}"}"#),
        (b"{\"a\":\"\n\"}", r#"{"message":"{\"a\":\"\n\"}"}"#),
        ("\u{feff}{}".as_bytes(), "{\"message\":\"\u{feff}{}\"}"),
        (b"{\"a\":\"\xff\"}", r#"{"message_base64":"eyJhIjoi/yJ9"}"#),
        (b"\xff\xfe", r#"{"message_base64":"//4="}"#),
        (b"{}\0", r#"{"message":"{}\u0000"}"#),
    ];
    for (body, expected) in cases {
        assert_eq!(plain(body), expected, "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn headers_and_own_time_are_the_last_member() {
    let meta = MetaName::default();
    let cases: [(Option<i64>, Pairs<'_>, &[u8], &str); 9] = [
        (None, &[], br#"{"a":1}"#, r#"{"a":1}"#),
        (Some(-5), &[], br#"{"a":1}"#, r#"{"a":1,"_meta":{"timestamp":-5}}"#),
        (None, &[("h", "1")], br#"{"a":1}"#, r#"{"a":1,"_meta":{"headers":{"h":"1"}}}"#),
        (None, &[("h", "1")], b"{}", r#"{"_meta":{"headers":{"h":"1"}}}"#),
        (Some(7), &[("h", "1")], b" { \n\t} ", "{ \t\"_meta\":{\"timestamp\":7,\"headers\":{\"h\":\"1\"}}}"),
        (None, &[("h", "1")], br#"{"a":"{"}"#, r#"{"a":"{","_meta":{"headers":{"h":"1"}}}"#),
        (None, &[("h", "1")], b"{\"a\":1\n\n}", r#"{"a":1,"_meta":{"headers":{"h":"1"}}}"#),
        (
            Some(7),
            &[("b", "\"q\"\n"), ("a", "zürich"), ("a", "")],
            b"text",
            r#"{"message":"text","_meta":{"timestamp":7,"headers":{"b":"\"q\"\n","a":"zürich","a":""}}}"#,
        ),
        (
            Some(i64::MIN),
            &[],
            b"\xff",
            r#"{"message_base64":"/w==","_meta":{"timestamp":-9223372036854775808}}"#,
        ),
    ];
    for (timestamp_ms, headers, body, expected) in cases {
        assert_eq!(line(timestamp_ms, headers, body, Some(&meta)), expected);
    }
    assert_eq!(line(Some(7), &[("h", "1")], b"{ }", None), "{ }", "switched off");
    let other = MetaName::new("@context").unwrap();
    assert_eq!(line(Some(7), &[], b"x", Some(&other)), r#"{"message":"x","@context":{"timestamp":7}}"#);
}

#[test]
fn an_object_with_a_member_of_our_name_is_wrapped_so_that_none_passes_for_ours() {
    let bodies = [
        r#"{"_meta":{"headers":{"admin":"yes"}}}"#,
        r#"{"a":1,"_meta":null}"#,
        r#"{"_meta":1,"a":{"b":[2]}}"#,
        r#"{"\u005fmeta":1}"#,
        r#"{"_\u006D\u0065ta":1}"#,
        r#"{"a":1,"a":2,"_meta":3,"_meta":4}"#,
    ];
    for body in bodies {
        let wrapped = serde_json::json!({ "message": body }).to_string();
        assert_eq!(plain(body.as_bytes()), wrapped);
        assert_eq!(line(None, &[], body.as_bytes(), None), body, "switched off");
        let other = MetaName::new("_m").unwrap();
        assert_eq!(line(None, &[], body.as_bytes(), Some(&other)), body, "called otherwise");
    }
}

#[test]
fn a_name_that_would_need_escapes_or_is_taken_is_refused() {
    for bad in ["", "a b", "ü", "\"", "\\", "message", "message_base64", &"x".repeat(65)] {
        assert_eq!(MetaName::new(bad), Err(BadMetaName(bad.to_owned())));
    }
    for good in ["_meta", "$", "@m.e-t_a9", &"x".repeat(64)] {
        assert_eq!(MetaName::new(good).unwrap().as_str(), good);
    }
}

/// An object that is one line, as a decoder may have seen it.
fn known(body: &[u8]) -> Known {
    let mut plain = true;
    match json::scan_with(body, |name| plain &= !name.starts_with(b"_") && !name.contains(&b'\\')) {
        Some(seen) if seen.kind == json::Kind::Object && !seen.has_breaks && json::trim(body) == body => {
            if plain {
                Known::PLAIN_OBJECT
            } else {
                Known::OBJECT
            }
        }
        _ => Known::NOTHING,
    }
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["a", "_meta", r"\u005fmeta", "b c", "message", "é", ""]);
    let value =
        prop::sample::select(vec!["1", "\"x\"", "{}", "[ 1 ]", "{\"_meta\":1}", "\"\\ud800\"", "1e999"]);
    let blank = prop::sample::select(vec!["", " ", "\n", "\r\n", "\t"]);
    let member =
        (name, value, blank).prop_map(|(name, value, blank)| format!("{blank}\"{name}\":{blank}{value}"));
    let object = (prop::collection::vec(member, 0..4), prop::sample::select(vec!["", "\n", " "]))
        .prop_map(|(members, blank)| format!("{blank}{{{}{blank}}}{blank}", members.join(",")).into_bytes());
    prop_oneof![
        4 => object,
        1 => any::<Vec<u8>>(),
        1 => ".{0,60}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_comes_is_one_line_and_one_json_object(
        body in any_body(),
        timestamp_ms: Option<i64>,
        headers in prop::collection::vec((".{0,8}", ".{0,12}"), 0..3),
        meta in prop::sample::select(vec![None, Some("_meta"), Some("x.y")]),
    ) {
        let meta = meta.map(|name| MetaName::new(name).unwrap());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let line = line(timestamp_ms, &headers, &body, meta.as_ref());
        prop_assert!(!line.contains(['\n', '\r']));
        let seen = json::scan(line.as_bytes());
        prop_assert_eq!(seen.map(|seen| seen.kind), Some(json::Kind::Object));
        // The judge is a parser. (As values it has no such numbers and no halves of pairs.)
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&line).is_ok());
        // Of our member there is one, the last, where there is something to say, and else none.
        let mut names = Vec::new();
        json::scan_with(line.as_bytes(), |name| names.push(name.to_vec()));
        if let Some(meta) = &meta {
            let ours = names.iter().filter(|name| json::says(name, meta.as_str())).count();
            let says = timestamp_ms.is_some() || !headers.is_empty();
            prop_assert_eq!(ours, usize::from(says));
            prop_assert_eq!(says, names.last().is_some_and(|name| json::says(name, meta.as_str())));
        }
    }

    #[test]
    fn what_is_known_before_changes_no_byte(
        body in any_body(), timestamp_ms: Option<i64>, meta in prop::sample::select(vec![None, Some("_meta"), Some("a")]),
    ) {
        let meta = meta.map(|name| MetaName::new(name).unwrap());
        let known = known(&body);
        let headers = std::iter::empty();
        let event = |known| Event { timestamp_ms, arrival_ms: 0, headers: headers.clone(), body: &body, known };
        let mut lines = [Vec::new(), Vec::new()];
        write(&event(Known::NOTHING), meta.as_ref(), &mut lines[0]);
        write(&event(known), meta.as_ref(), &mut lines[1]);
        prop_assert_eq!(&lines[0], &lines[1]);
        if let Some(same) = as_it_is(&event(known), meta.as_ref()) {
            prop_assert_eq!([same, b"\n"].concat(), lines.into_iter().next().unwrap());
        }
    }

    #[test]
    fn the_body_comes_back_from_the_documented_form(body in any_body()) {
        let line = plain(&body);
        let has_breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let unbroken: Vec<u8> = json::trim(&body).iter().copied().filter(|byte| !has_breaks(byte)).collect();
        if line.as_bytes() == unbroken {
            return Ok(());
        }
        let value: Value = serde_json::from_str(&line).unwrap();
        let back = match (value["message"].as_str(), value["message_base64"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(base64)) => base64::Engine::decode(&STANDARD, base64).unwrap(),
            _ => panic!("{line}"),
        };
        prop_assert_eq!(back, body);
    }
}
