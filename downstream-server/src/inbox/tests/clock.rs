//! What an inbox promises while the clock is set back under it.

use super::*;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// The configured bounds of these tests.
const PAUSES: Pauses = Pauses { retry: Duration::from_secs(5 * 60), later: Duration::from_secs(60 * 60) };

async fn fail(inbox: &Inbox, claim: &Claim, next: Next, now_ms: i64) {
    inbox.fail(claim, "away".to_owned(), next, now_ms).await.unwrap();
}

pub(super) async fn what_waits_for_a_time_that_the_clock_has_left_is_due_at_once(home: Home) {
    let inbox = home.open().await;
    inbox.bound_pauses(PAUSES);
    let now = 10 * DAY_MS;
    put(&inbox, Notice::new("logs", "k")).await;
    let first = inbox.claim(1, now).await.unwrap().claims.remove(0);
    fail(&inbox, &first, Next::At(now + MINUTE_MS), now).await;
    assert_eq!(inbox.claim(1, now).await.unwrap().next_due_ms, Some(now + MINUTE_MS));

    let back = now - 2 * DAY_MS;
    let second = inbox.claim(1, back).await.unwrap().claims.remove(0);
    assert_eq!(second.attempt, 2, "it does not sleep for two days");
    // What the configuration allows from now is waited for.
    fail(&inbox, &second, Next::At(back + 5 * MINUTE_MS), back).await;
    let claimed = inbox.claim(1, back).await.unwrap();
    assert_eq!((claimed.claims.len(), claimed.next_due_ms), (0, Some(back + 5 * MINUTE_MS)));
    let third = inbox.claim(1, back + 5 * MINUTE_MS).await.unwrap().claims.remove(0);
    // A handler that said "later" may have asked for longer.
    fail(&inbox, &third, Next::Later(back + 60 * MINUTE_MS), back).await;
    assert_eq!(inbox.claim(1, back).await.unwrap().claims, []);
    assert_eq!(
        inbox.claim(1, back - MINUTE_MS).await.unwrap().claims.len(),
        1,
        "and not for longer than it may"
    );
}

pub(super) async fn a_lease_of_a_time_that_the_clock_has_left_does_not_last_until_then(home: Home) {
    let inbox = home.open().await;
    let (now, back) = (10 * DAY_MS, 8 * DAY_MS);
    put(&inbox, Notice::new("logs", "k")).await;
    assert_eq!(inbox.claim(1, now).await.unwrap().claims.len(), 1);
    // Another server of the same inbox, whose clock was set right meanwhile.
    let lease = Lease { owner: "another/1".to_owned(), length_ms: MINUTE_MS };
    let claims = inbox
        .write(move |at, changes| attempts::claim(at, changes, &lease, None, 1, back))
        .await
        .unwrap()
        .claims;
    assert_eq!(claims.len(), 1, "the attempt is made by whoever is there");
    // One whose clock is behind by less than ten leases leaves the attempt alone.
    let lease = Lease { owner: "a third/1".to_owned(), length_ms: MINUTE_MS };
    let claimed =
        inbox.write(move |at, changes| attempts::claim(at, changes, &lease, None, 1, back - 8 * MINUTE_MS));
    assert_eq!(claimed.await.unwrap().claims, []);
}

pub(super) async fn a_listing_that_ended_in_the_future_is_due_at_once(home: Home) {
    let inbox = home.open().await;
    let (now, hour) = (10 * DAY_MS, 60 * MINUTE_MS);
    let listing = inbox.begin_listing("logs", "", now - hour, now).await.unwrap().unwrap();
    inbox.end_listing(listing, None, now).await.unwrap();
    assert_eq!(inbox.begin_listing("logs", "", now - hour + MINUTE_MS, now + MINUTE_MS).await.unwrap(), None);
    let back = now - 2 * DAY_MS;
    // Where listings are made only when they are asked for, the clock asks for none.
    assert_eq!(inbox.begin_listing("logs", "", -1, back).await.unwrap(), None);
    assert!(inbox.begin_listing("logs", "", back - hour, back).await.unwrap().is_some());
}
