use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What serde_json says, which reads no deeper than 128 levels.
fn judged(text: &[u8]) -> Option<Kind> {
    // `IgnoredAny` takes numbers that `Value` has no room for.
    serde_json::from_slice::<serde::de::IgnoredAny>(text).ok()?;
    str::from_utf8(text).ok()?;
    Some(match text.trim_ascii_start()[0] {
        b'{' => Kind::Object,
        b'[' => Kind::Array,
        b'"' => Kind::String,
        b't' | b'f' | b'n' => Kind::Literal,
        _ => Kind::Number,
    })
}

fn kind(text: &[u8]) -> Option<Kind> {
    scan(text).map(|scanned| scanned.kind)
}

/// Bytes that JSON is made of, so that much of what comes is nearly valid.
fn jsonish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u12aF", "\\ud800", "\\n", "\"a\":", "\"a\"", "0", "-",
        "12", ".5", "1e400", "E+", "true", "false", "null", " ", "\n", "\r\n", "\t", "\u{1}", "\u{2028}",
        "é", "x",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_it_calls_json_is_what_a_parser_calls_json(text in jsonish()) {
        prop_assert_eq!(kind(&text), judged(&text), "{:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn one_byte_changed_is_judged_as_a_parser_does(
        value in any_value(), at in any::<prop::sample::Index>(), byte: u8, pretty: bool,
    ) {
        let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
        let mut text = write(&value).unwrap();
        prop_assert_eq!(kind(&text), judged(&text));
        prop_assert!(kind(&text).is_some());
        let has_breaks = memchr::memchr2(b'\n', b'\r', &text).is_some();
        prop_assert_eq!(scan(&text).map(|scanned| scanned.has_breaks), Some(has_breaks));
        let at = at.index(text.len());
        text[at] = byte;
        prop_assert_eq!(kind(&text), judged(&text), "{:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn no_bytes_make_it_panic(text: Vec<u8>) {
        prop_assert_eq!(kind(&text), judged(&text));
    }

    #[test]
    fn a_text_is_written_as_a_library_writes_it(text in prop_oneof![".{0,80}", "[ -~\\n\\t\"\\\\\u{0}-\u{8}]{0,80}"]) {
        let mut out = b"before".to_vec();
        put_string(&text, &mut out);
        prop_assert_eq!(&out[6..], serde_json::to_vec(&text).unwrap());
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_is(before in 0_usize..100, special: u8, after in 0_usize..50) {
        let text = [vec![b'x'; before], vec![special], vec![0xe9; after]].concat();
        let expected = if is_special(special) { before } else { text.len() };
        prop_assert_eq!(plain_prefix(&text), expected);
    }
}

#[test]
fn the_corners_of_the_grammar_are_judged_by_the_standard() {
    let valid = [
        r#"{"a":1e400,"a":-0.0E-9,"\ud800":"\uDFFF"}"#,
        " \t\r\n0 ",
        r#""\/\b""#,
        "\"\u{7f}\u{2028}\u{2029}\u{feff}\"",
        "[[],{},[{}]]",
        "-0",
    ];
    for text in valid {
        assert!(scan(text.as_bytes()).is_some(), "{text}");
    }
    let invalid = [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "01",
        "1.",
        ".1",
        "+1",
        "-",
        "1e",
        "NaN",
        "tru",
        "truex",
        "\"\t\"",
        "\"\n\"",
        "\"\0\"",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\u12"#,
        "\"",
        "1 2",
        "{} {}",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":}",
        "[,1]",
        "{,}",
        "[}",
        "{]",
        "\u{feff}{}",
        "{}\0",
        "{\"a\":1}//c",
        "\u{c}{}",
    ];
    for text in invalid {
        assert_eq!(scan(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(scan(b"{\"a\":\"\xff\"}"), None, "JSON is UTF-8");
    assert_eq!(scan(b"{\"a\":\"\xed\xa0\x80\"}"), None, "an encoded surrogate is no UTF-8");
}

#[test]
fn no_depth_is_too_much() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":[", "]}]")] {
        for depth in [1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 100_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(scan(text.as_bytes()).is_some(), "{open} {depth}");
            let unclosed = &text[..text.len() - 1];
            assert!(scan(unclosed.as_bytes()).is_none(), "{open} {depth}");
            let wrong = format!("{unclosed}{}", if close.ends_with(']') { "}" } else { "]" });
            assert!(scan(wrong.as_bytes()).is_none(), "{open} {depth}");
        }
    }
}

#[test]
fn only_the_names_of_the_object_itself_are_told() {
    let mut names = Vec::new();
    let text = br#"{"a":{"b":1},"c":[{"d":2}],"a":"x","\u0065":null}"#;
    scan_with(text, |name| names.push(String::from_utf8_lossy(name).into_owned())).unwrap();
    assert_eq!(names, ["a", "c", "a", r"\u0065"]);
    scan_with(br#"[{"a":1}]"#, |_| panic!("an array has no names")).unwrap();
}

#[test]
fn a_name_says_what_its_escapes_say() {
    assert!(says(b"_meta", "_meta") && !says(b"_met", "_meta"));
    assert!(says(br"\u005fm\u0065t\u0061", "_meta") && says(br"\u005Fmeta", "_meta"));
    assert!(!says(br"\ud800", "_meta") && !says(br"_meta\u0000", "_meta") && !says(br"\\u005fmeta", "_meta"));
}
