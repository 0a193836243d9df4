//! A secret is changed while the notifier runs.

use notifier_lambda::{Config, InvocationError, Notifier};

use crate::server::Server;
use crate::{SECRET, answer, config, fixture, notifier, plenty};

const OLD: &str = "whsec_b2xkIHNlY3JldCB0aGF0IGlzIGdvaW5n";

fn file_with(secret: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret).unwrap();
    file
}

/// Settings whose secret lies in this file.
fn with_file(url: &str, file: &tempfile::NamedTempFile) -> Config {
    let path = file.path().to_str().unwrap();
    config(url, &[("SLUICEGATE_NOTIFY_SECRET", ""), ("SLUICEGATE_NOTIFY_SECRET_FILE", path)])
}

#[tokio::test]
async fn a_secret_is_changed_without_a_notice_lost_or_a_restart() {
    let server = Server::start([]).await;
    let file = file_with(OLD);
    server.set_secrets(&[OLD]);
    let notifier = Notifier::open(&with_file(&server.url(), &file)).await.unwrap();
    answer(&notifier, fixture!("put")).await;

    // The server learns the new one beside the old; the notifier's place is changed; the old one goes.
    server.set_secrets(&[OLD, SECRET]);
    answer(&notifier, fixture!("put")).await;
    std::fs::write(file.path(), SECRET).unwrap();
    answer(&notifier, fixture!("put")).await;
    server.set_secrets(&[SECRET]);
    answer(&notifier, fixture!("several_records")).await;
    assert_eq!(server.notices().len(), 6);
}

#[tokio::test]
async fn i7_a_secret_that_the_server_does_not_know_fails_the_invocation_at_once() {
    let server = Server::start([]).await;
    let file = file_with(OLD);
    let notifier = Notifier::open(&with_file(&server.url(), &file)).await.unwrap();
    let error = notifier.handle(fixture!("put"), plenty()).await.unwrap_err();
    let InvocationError::NotRelayed { reasons, .. } = error else { panic!("{error:?}") };
    assert!(reasons[0].contains("refused it, and would again: it answered 401"), "{reasons:?}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_stops_the_start() {
    let file = file_with(OLD);
    let config = with_file("http://127.0.0.1:1/", &file);
    std::fs::write(file.path(), "short").unwrap();
    let error = Notifier::open(&config).await.unwrap_err();
    assert_eq!(error.to_string(), "reading the secret that signs notices");
}

#[tokio::test]
async fn a_secret_in_the_environment_needs_nothing_else() {
    let server = Server::start([]).await;
    answer(&notifier(&server.url(), &[]).await, fixture!("put")).await;
    assert_eq!(server.notices().len(), 1);
}
