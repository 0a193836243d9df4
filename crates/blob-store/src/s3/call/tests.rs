use std::future::pending;
use std::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_request_without_progress_ends_after_the_longest_stillness() {
    let late = watch(pending::<()>(), &Progress::default(), SHORT, LONG).await;
    assert_eq!(late, Err("nothing moved for 20ms".into()));
}

#[tokio::test]
async fn a_request_with_progress_outlives_any_stillness_and_ends_with_its_whole_time() {
    let progress = Progress::default();
    let moving = Box::pin(async {
        loop {
            progress.take(1);
            tokio::task::yield_now().await;
        }
    });
    let began = Instant::now();
    let late = watch::<()>(moving, &progress, SHORT, 10 * SHORT).await;
    assert_eq!(late, Err("no answer within 200ms".into()));
    assert!(began.elapsed() >= 10 * SHORT);
}
