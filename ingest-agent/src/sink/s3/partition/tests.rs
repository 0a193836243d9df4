use proptest::prelude::*;

use super::*;
use crate::event::{decode_all, encode};

/// 2024-03-05 07:08:09.123 UTC, a Tuesday.
const TUESDAY_MS: i64 = 1_709_622_489_123;

fn template(text: &str, zone: &str, round: Option<Round>) -> PartitionTemplate {
    let time_zone = time_zone(zone).unwrap();
    PartitionTemplate::parse(text, PartitionOptions { time_zone, round, ..PartitionOptions::default() })
        .unwrap()
}

fn render(
    template: &mut PartitionTemplate,
    timestamp_ms: Option<i64>,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<String, String> {
    let mut payload = Vec::new();
    encode(&mut payload, timestamp_ms, headers.iter().copied(), body.as_bytes());
    let event = decode_all(&payload, 1).next().unwrap().unwrap();
    let mut out = "before|".to_owned();
    let rendered = template.render(&event, TUESDAY_MS, &mut out);
    let out = out.strip_prefix("before|").unwrap().to_owned();
    match rendered {
        Ok(()) => Ok(out),
        Err(unresolved) => {
            assert_eq!(out, "", "an unresolved template writes nothing");
            Err(unresolved.to_string())
        }
    }
}

fn at(text: &str, zone: &str, time_ms: i64) -> String {
    render(&mut template(text, zone, None), Some(time_ms), &[], "").unwrap()
}

fn ms(rfc3339: &str) -> i64 {
    rfc3339.parse::<Timestamp>().unwrap().as_millisecond()
}

#[test]
fn every_escape_of_flume_writes_its_part_of_the_time() {
    let cases = [
        ("%a", "Tue"),
        ("%A", "Tuesday"),
        ("%b", "Mar"),
        ("%B", "March"),
        ("%c", "Tue%20Mar%205%2007%3A08%3A09%202024"),
        ("%d", "05"),
        ("%e", "5"),
        ("%D", "03/05/24"),
        ("%H", "07"),
        ("%I", "07"),
        ("%j", "065"),
        ("%k", "7"),
        ("%l", "7"),
        ("%m", "03"),
        ("%n", "3"),
        ("%M", "08"),
        ("%p", "AM"),
        ("%s", "1709622489"),
        ("%S", "09"),
        ("%t", "1709622489123"),
        ("%y", "24"),
        ("%Y", "2024"),
        ("%z", "%2B0000"),
        ("dt=%Y-%m-%d/hour=%H", "dt=2024-03-05/hour=07"),
    ];
    for (text, expected) in cases {
        assert_eq!(at(text, "UTC", TUESDAY_MS), expected, "{text}");
    }
    assert_eq!(at("%I %l %p", "UTC", ms("2024-03-05T00:00:00Z")), "12 12 AM");
    assert_eq!(at("%I %l %p", "UTC", ms("2024-03-05T13:00:00Z")), "01 1 PM");
}

#[test]
fn the_zone_and_its_summer_time_decide_the_hour() {
    let cases = [
        // Zurich goes from 01:59 to 03:00 in spring, and has 02:00 to 02:59 twice in autumn.
        ("Europe/Zurich", "2024-03-31T00:59:59Z", "2024-03-31T01 %2B0100"),
        ("Europe/Zurich", "2024-03-31T01:00:00Z", "2024-03-31T03 %2B0200"),
        ("Europe/Zurich", "2024-10-27T00:30:00Z", "2024-10-27T02 %2B0200"),
        ("Europe/Zurich", "2024-10-27T01:30:00Z", "2024-10-27T02 %2B0100"),
        ("America/New_York", "2024-01-01T04:59:59Z", "2023-12-31T23 -0500"),
        ("Asia/Kathmandu", "2024-01-01T18:20:00Z", "2024-01-02T00 %2B0545"),
        ("Australia/Lord_Howe", "2024-04-06T14:59:59Z", "2024-04-07T01 %2B1100"),
        ("Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T23 -1000"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T00 %2B1400"),
        ("UTC", "1969-12-31T23:59:59Z", "1969-12-31T23 %2B0000"),
    ];
    for (zone, time, expected) in cases {
        assert_eq!(at("%Y-%m-%dT%H %z", zone, ms(time)), expected, "{time} in {zone}");
    }
}

#[test]
fn rounding_goes_down_on_the_wall_clock_of_the_zone() {
    let cases = [
        (15, RoundUnit::Minute, "UTC", "2024-03-05T07:44:59Z", "2024-03-05T07:30:00 1709623800"),
        (10, RoundUnit::Second, "UTC", "2024-03-05T07:44:59Z", "2024-03-05T07:44:50 1709624690"),
        (60, RoundUnit::Minute, "UTC", "2024-03-05T07:44:59Z", "2024-03-05T07:00:00 1709622000"),
        (6, RoundUnit::Hour, "UTC", "2024-03-05T07:44:59Z", "2024-03-05T06:00:00 1709618400"),
        (6, RoundUnit::Hour, "Asia/Kathmandu", "2024-03-05T07:44:59Z", "2024-03-05T12:00:00 1709619300"),
        (24, RoundUnit::Hour, "Europe/Zurich", "2024-03-31T20:00:00Z", "2024-03-31T00:00:00 1711839600"),
    ];
    for (value, unit, zone, time, expected) in cases {
        let mut template = template("%Y-%m-%dT%H:%M:%S %s", zone, Round::new(value, unit));
        let found = render(&mut template, Some(ms(time)), &[], "").unwrap();
        assert_eq!(found, expected, "{value} {unit:?} of {time} in {zone}");
    }
    let mut exact = template("%t", "UTC", Round::new(1, RoundUnit::Hour));
    assert_eq!(render(&mut exact, Some(TUESDAY_MS), &[], "").unwrap(), TUESDAY_MS.to_string());
    for (value, unit) in
        [(0, RoundUnit::Second), (61, RoundUnit::Minute), (25, RoundUnit::Hour), (300, RoundUnit::Second)]
    {
        assert_eq!(Round::new(value, unit), None);
    }
}

#[test]
fn an_events_own_time_counts_before_its_arrival() {
    let mut template = template("%t", "UTC", None);
    assert_eq!(render(&mut template, Some(5), &[], "").unwrap(), "5");
    assert_eq!(render(&mut template, None, &[], "").unwrap(), TUESDAY_MS.to_string());
}

#[test]
fn a_value_stays_within_its_segment_whatever_it_is() {
    let cases = [
        ("plain-Text_1.2~", "plain-Text_1.2~"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("a=b", "a%3Db"),
        ("a b+c", "a%20b%2Bc"),
        ("100%", "100%25"),
        ("%2e%2e", "%252e%252e"),
        ("zürich", "z%C3%BCrich"),
        ("\u{202e}x\0\r\n\\", "%E2%80%AEx%00%0D%0A%5C"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("?#&", "%3F%23%26"),
    ];
    for (value, expected) in cases {
        let mut header = template("in/%{v}/x", "UTC", None);
        let found = render(&mut header, None, &[("v", value)], "").unwrap();
        assert_eq!(found, format!("in/{expected}/x"));
        let mut field = template("in/%{json:v}/x", "UTC", None);
        let body = serde_json::json!({ "v": value }).to_string();
        assert_eq!(render(&mut field, None, &[], &body).unwrap(), found);
    }
    let mut joined = template("%{v}%{v}/.%{v}", "UTC", None);
    assert_eq!(render(&mut joined, None, &[("v", ".")], "").unwrap(), "%2E%2E/.%2E");
}

#[test]
fn a_missing_value_is_named_and_leaves_the_event_to_the_fallback() {
    let cases = [
        ("%{host}", &[][..], "", "the event has no header \"host\""),
        ("%{host}", &[("host", "")], "", "the event has no header \"host\""),
        ("%{host}", &[("Host", "a")], "", "the event has no header \"host\""),
        ("a/%{json:user.id}", &[], "{\"user\":{}}", "the event has no JSON field \"user.id\""),
        ("a/%{json:user.id}", &[], "not json", "the event has no JSON field \"user.id\""),
        ("a/%{json:user.id}", &[], "", "the event has no JSON field \"user.id\""),
    ];
    for (text, headers, body, expected) in cases {
        assert_eq!(render(&mut template(text, "UTC", None), None, headers, body), Err(expected.to_owned()));
    }
    for beyond in [i64::MAX, i64::MIN, 1_000_000_000_000_000_000] {
        let found = render(&mut template("%Y", "UTC", None), Some(beyond), &[], "");
        assert_eq!(found, Err("the event has no time within the calendar (years -9999 to 9999)".to_owned()));
    }
    assert_eq!(template("%Y", "UTC", None).fallback(), "_unresolved");
}

#[test]
fn a_time_beyond_the_calendar_leaves_nothing_behind_for_the_next_event() {
    let mut template = template("%Y", "UTC", None);
    assert_eq!(render(&mut template, Some(TUESDAY_MS), &[], "").unwrap(), "2024");
    render(&mut template, Some(i64::MAX), &[], "").unwrap_err();
    assert_eq!(render(&mut template, Some(TUESDAY_MS), &[], "").unwrap(), "2024");
    assert_eq!(render(&mut template, Some(0), &[], "").unwrap(), "1970");
}

#[test]
fn a_template_says_whether_it_is_constant_and_whether_it_reads_bodies() {
    for (text, constant, json) in [
        ("", true, false),
        ("logs/app", true, false),
        ("100%%", true, false),
        ("%Y", false, false),
        ("%t", false, false),
        ("%{h}", false, false),
        ("%{json:h}", false, true),
    ] {
        let template = template(text, "UTC", None);
        assert_eq!((template.is_constant(), template.needs_json()), (constant, json), "{text}");
    }
    assert_eq!(render(&mut template("/logs//app/", "UTC", None), None, &[], "").unwrap(), "logs/app");
}

#[test]
fn zones_come_from_the_data_compiled_in() {
    assert!(time_zone("Europe/Zurich").is_some());
    assert!(time_zone("Europe/Nowhere").is_none());
}

proptest! {
    #[test]
    fn no_value_adds_a_level_a_control_character_or_a_segment_of_dots(value in ".{0,40}", other in "[./%]{1,6}") {
        let mut template = template("lit/a=%{v}/%{w}%{v}", "UTC", None);
        if let Ok(rendered) = render(&mut template, None, &[("v", &value), ("w", &other)], "") {
            let segments: Vec<_> = rendered.split('/').collect();
            prop_assert_eq!(segments.len(), 3);
            prop_assert!(segments.iter().all(|segment| !matches!(*segment, "" | "." | "..")));
            prop_assert!(rendered.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn a_value_is_escaped_as_the_library_escapes_it(value in prop_oneof!["\\PC{0,20}", "[a-zA-Z0-9._~-]{0,20}", "[./%]{1,4}"]) {
        let mut found = String::new();
        push_value(&mut found, &value);
        let dots = value.bytes().all(|byte| byte == b'.');
        let escaped = || utf8_percent_encode(&value, ESCAPED).to_string();
        prop_assert_eq!(found, if dots { "%2E".repeat(value.len()) } else { escaped() });
    }

    #[test]
    fn different_values_never_share_a_partition(one in ".{1,12}", two in ".{1,12}") {
        let mut template = template("%{v}", "UTC", None);
        let [one_key, two_key] = [&one, &two].map(|value| render(&mut template, None, &[("v", value)], "").unwrap());
        prop_assert_eq!(one == two, one_key == two_key);
    }

    #[test]
    fn the_memory_of_the_last_second_changes_nothing(times in proptest::collection::vec(-2_000_i64..2_000, 1..20)) {
        let text = "%Y%m%d%H%M%S-%s-%t";
        let mut kept = template(text, "Europe/Zurich", None);
        for time in times {
            let fresh = at(text, "Europe/Zurich", time);
            prop_assert_eq!(render(&mut kept, Some(time), &[], "").unwrap(), fresh);
        }
    }
}
