//! Both databases agree on every text.

use proptest::prelude::*;

use super::*;

/// Any text, those among them that a database may stumble over.
fn text(most: usize) -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just('\0'),
        Just('\u{1}'),
        Just('%'),
        Just('_'),
        Just('\\'),
        Just('\''),
        Just('\u{fdd0}'),
        Just('\u{fdd1}'),
        Just('\u{fdd2}'),
        Just('\u{fffe}'),
        Just('\u{10ffff}'),
        Just('É'),
        Just('A'),
    ];
    let character = prop_oneof![2 => odd, 1 => any::<char>()];
    prop::collection::vec(character, 1..most).prop_map(String::from_iter)
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(12), 6)
}

/// Everything that a notice says comes back as it was said, is known again, and is found by what it begins with
/// and by what it contains.
async fn check(inbox: &Inbox, number: usize, texts: &[String]) {
    let [key, version, etag, id, error, search] = texts else { panic!("six texts") };
    // What a test before this one left is in another bucket.
    let bucket = format!("{number}");
    let notice = Notice {
        version_id: Some(version.clone()),
        etag: Some(etag.trim_matches('"').to_owned()),
        sequencer: Some(search.clone()),
        ..Notice::new(bucket.clone(), key.clone())
    };
    assert_eq!(inbox.put(notice.clone(), id.clone(), 1).await.unwrap(), Taken::New);
    assert_eq!(inbox.take(notice.clone(), id.clone(), Origin::Queue, 1).await.unwrap(), Taken::Repeated);
    let claim = inbox.claim(1, 1_000_000).await.unwrap().claims.pop().unwrap();
    assert_eq!((&claim.places[0].key, claim.places[0].version_id.as_ref()), (key, Some(version)));
    inbox.fail(&claim, error.clone(), Next::Dead, 2).await.unwrap();
    let query = || Query { bucket: Some(bucket.clone()), limit: 9, ..Query::default() };
    let row = inbox.list(query()).await.unwrap().remove(0);
    assert_eq!((&row.key, &row.notice_id, row.last_error.as_ref()), (key, id, Some(error)));
    assert_eq!((&row.version_id, &row.etag), (&notice.version_id, &notice.etag));
    for (end, _) in key.char_indices().chain([(key.len(), ' ')]) {
        let (prefix, rest) = key.split_at(end);
        for prefix in [prefix.to_owned(), format!("{prefix}\0")] {
            let begins = key.starts_with(&prefix);
            let found = inbox.list(Query { prefix: Some(prefix.clone()), ..query() }).await.unwrap().len();
            assert_eq!(found == 1, begins, "{key:?} by its beginning {prefix:?}");
        }
        if !rest.is_empty() {
            let found = inbox.list(Query { search: Some(rest.to_owned()), ..query() }).await.unwrap().len();
            assert_eq!(found, 1, "{key:?} by its part {rest:?}");
        }
    }
    let contains = key.to_ascii_lowercase().contains(&search.to_ascii_lowercase());
    let found = inbox.list(Query { search: Some(search.clone()), ..query() }).await.unwrap().len();
    assert_eq!(found == 1, contains, "{key:?} by {search:?}");
    let selection = Selection {
        states: vec![State::Dead],
        key_prefix: Some(key.clone()),
        bucket: Some(bucket),
        ..Selection::default()
    };
    assert_eq!(inbox.replay_matching(selection, 3).await.unwrap().objects, 1);
    let again = inbox.claim(1, 1_000_000).await.unwrap().claims.pop().unwrap();
    inbox.fail(&again, String::new(), Next::Gone, 4).await.unwrap();
}

fn run(home: &Home, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inbox = runtime.block_on(home.open());
    let number = std::cell::Cell::new(0);
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let checked = runner.run(&texts(), |texts| {
        number.set(number.get() + 1);
        runtime.block_on(check(&inbox, number.get(), &texts));
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn every_text_of_a_notice_is_kept_and_found_again_nul_too() {
    run(&Home::sqlite(), 64);
}

#[cfg(feature = "foreign-postgres")]
#[test]
fn in_postgres_every_text_of_a_notice_is_kept_and_found_again_nul_too() {
    run(&Home::postgres(), 64);
}

pub(super) async fn a_version_that_is_longer_than_any_is_refused_and_the_longest_is_taken(home: Home) {
    let inbox = home.open().await;
    // What compresses badly: a database's index may have to hold all of it, with the longest key.
    let long = |length: usize| -> String {
        (0_u32..)
            .map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 16) as u8 % 90))
            .take(length)
            .collect()
    };
    let cut = cut(9, 9);
    put(&inbox, notice_of("logs", &cut)).await;
    let named = |length| Notice {
        version_id: Some(long(length)),
        ..Notice::new("b".repeat(63), format!("{}/{cut}.txt", long(900)))
    };
    assert_eq!(put(&inbox, named(1024)).await, Taken::Repeated);
    let refused = inbox.put(named(1025), "n".to_owned(), 1).await;
    assert!(matches!(refused, Err(InboxError::Refused(_))), "{refused:?}");
    assert_eq!(claim(&inbox).await.unwrap().places.len(), 2);
}
