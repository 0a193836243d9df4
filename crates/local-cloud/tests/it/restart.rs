//! What was answered is there after a restart, whatever a crash left lying about.

use std::path::PathBuf;

use aws_sdk_s3::primitives::ByteStream;
use local_cloud::LocalCloud;

use crate::support::{BUCKET, Fixture, object_of};

#[tokio::test]
async fn an_event_that_was_not_answered_for_is_invoked_again_after_a_restart() {
    let cloud = Fixture::with(|options| options.sync = true).await;
    cloud.put("done", "x").await;
    cloud.put("held", "x").await;
    cloud.put("waiting", "x").await;
    let runtime = cloud.runtime();
    let done = runtime.next().await;
    runtime.succeed(&done.id).await;
    assert_eq!(object_of(&runtime.next().await.event)["key"], "held");
    let cloud = cloud.restart().await;
    let runtime = cloud.runtime();
    for key in ["held", "waiting"] {
        let given = runtime.next().await;
        assert_eq!(object_of(&given.event)["key"], key);
        runtime.succeed(&given.id).await;
    }
    cloud.cloud.settled().await.unwrap();
}

#[tokio::test]
async fn objects_uploads_and_conditions_outlive_a_restart() {
    let cloud = Fixture::with(|options| options.sync = true).await;
    cloud.put("a/b", "bytes").await;
    let upload = cloud.s3.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = cloud.s3.upload_part().bucket(BUCKET).key("k").upload_id(id).part_number(1);
    part.body(ByteStream::from_static(b"part")).send().await.unwrap();
    let cloud = cloud.restart().await;
    assert_eq!(cloud.get("a/b").await, b"bytes");
    let again = cloud.s3.put_object().bucket(BUCKET).key("a/b").if_none_match("*");
    assert!(again.body(ByteStream::from_static(b"x")).send().await.is_err());
    let parts = cloud.s3.list_parts().bucket(BUCKET).key("k").upload_id(id).send().await.unwrap();
    assert_eq!(parts.parts().len(), 1);
}

#[tokio::test]
async fn a_crash_between_commit_and_rename_is_finished_and_what_no_row_names_is_swept() {
    let cloud = Fixture::new().await;
    cloud.put("folder/key", "committed").await;
    let (visible, staging) = paths(&cloud);
    let Fixture { dir, options, cloud, .. } = cloud;
    cloud.shutdown().await;
    // As a crash leaves it: the row is committed, the rename has not happened; a body was half received.
    let blob = rusqlite::Connection::open(options.dir.join(".cloud/catalog.sqlite"))
        .unwrap()
        .query_row("SELECT blob FROM objects", [], |row| row.get::<_, String>(0))
        .unwrap();
    std::fs::rename(&visible, staging.join(blob)).unwrap();
    std::fs::remove_dir(visible.parent().unwrap()).unwrap();
    std::fs::write(staging.join("0123456789abcdef0123456789abcdef"), "half").unwrap();
    let cloud = LocalCloud::start(options.clone()).await.unwrap();
    let s3 = crate::support::client(&cloud, &options.secret_key);
    let cloud = Fixture { dir, options, cloud, s3 };
    assert_eq!(cloud.get("folder/key").await, b"committed");
    assert_eq!(std::fs::read(visible).unwrap(), b"committed");
    assert_eq!(cloud.staged(), 0);
}

fn paths(cloud: &Fixture) -> (PathBuf, PathBuf) {
    let dir = &cloud.options.dir;
    (dir.join("bucket/folder/key"), dir.join(".cloud/staging"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_beside_overwrites_gives_one_whole_version() {
    let cloud = Fixture::new().await;
    cloud.put("k", vec![0; 100_000]).await;
    let writer = async {
        for round in 1..40_u8 {
            cloud.put("k", vec![round; 100_000]).await;
        }
    };
    let reader = async {
        for _ in 0..80 {
            let bytes = cloud.get("k").await;
            assert_eq!(bytes.len(), 100_000);
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        }
    };
    tokio::join!(writer, reader);
}

#[tokio::test]
async fn a_second_cloud_on_the_same_folder_is_refused() {
    let cloud = Fixture::new().await;
    let error = LocalCloud::start(cloud.options.clone()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("another process may serve this folder"), "{source}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let cloud = Fixture::new().await;
    let mut options = local_cloud::CloudOptions::new(cloud.dir.path().join("other"));
    options.s3_addr = cloud.cloud.s3_url().trim_start_matches("http://").parse().unwrap();
    let error = LocalCloud::start(options).await.unwrap_err().to_string();
    assert!(error.starts_with("binding S3 to 127.0.0.1:"), "{error}");
}
