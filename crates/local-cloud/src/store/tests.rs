//! Changes that meet in one group: what one `write` does here, several waiting ones do under load.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{Condition, Hashes, Meta, Put, Staged, Store, StoreError, catalog, delete, put};

async fn store() -> (TempDir, Arc<Store>) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), false, Duration::ZERO).unwrap();
    store.write(|rows, _| catalog::create_bucket(rows, "bucket", 0)).await.unwrap();
    (dir, store)
}

fn staged(store: &Store, bytes: &[u8]) -> Staged {
    let mut file = store.stage(Hashes::default()).unwrap();
    file.write(bytes).unwrap();
    file.finish().unwrap()
}

fn put_of(key: &str, condition: Condition) -> Put {
    let (bucket, key) = ("bucket".to_owned(), key.to_owned());
    Put { bucket, key, etag: "etag".to_owned(), meta: Meta { version: 1, ..Meta::default() }, condition }
}

fn read(store: &Store, key: &str) -> Result<Vec<u8>, StoreError> {
    let (_, mut file) = store.open_object("bucket", key)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

fn in_staging(store: &Store) -> usize {
    std::fs::read_dir(store.layout().staging()).unwrap().count()
}

#[tokio::test]
async fn a_put_and_its_delete_in_one_group_leave_no_file() {
    let (dir, store) = store().await;
    let bytes = staged(&store, b"x");
    let change = store.write(move |rows, after| {
        put(rows, after, put_of("a/b", Condition::Always), bytes)?;
        delete(rows, after, "bucket", "a/b")
    });
    change.await.unwrap();
    assert!(matches!(read(&store, "a/b"), Err(StoreError::NoSuchKey)));
    assert_eq!(in_staging(&store), 0);
    assert!(!dir.path().join("bucket/a").exists());
}

#[tokio::test]
async fn of_two_puts_in_one_group_the_later_one_stays() {
    let (_dir, store) = store().await;
    let (first, second) = (staged(&store, b"first"), staged(&store, b"second"));
    let change = store.write(move |rows, after| {
        put(rows, after, put_of("k", Condition::Always), first)?;
        put(rows, after, put_of("k", Condition::Always), second)
    });
    change.await.unwrap();
    assert_eq!(read(&store, "k").unwrap(), b"second");
    assert_eq!(in_staging(&store), 0);
}

#[tokio::test]
async fn a_key_and_one_below_it_in_one_group_both_get_a_file() {
    for (first, second) in [("a", "a/b"), ("a/b", "a")] {
        let (_dir, store) = store().await;
        let (one, two) = (staged(&store, b"1"), staged(&store, b"2"));
        let change = store.write(move |rows, after| {
            put(rows, after, put_of(first, Condition::Always), one)?;
            put(rows, after, put_of(second, Condition::Always), two)
        });
        change.await.unwrap();
        assert_eq!(read(&store, first).unwrap(), b"1");
        assert_eq!(read(&store, second).unwrap(), b"2");
        assert_eq!(in_staging(&store), 0, "{first} then {second}");
    }
}

#[tokio::test]
async fn a_change_that_is_refused_half_way_leaves_nothing_of_itself() {
    let (_dir, store) = store().await;
    let (kept, undone, refused) = (staged(&store, b"1"), staged(&store, b"2"), staged(&store, b"3"));
    store.write(move |rows, after| put(rows, after, put_of("k", Condition::Absent), kept)).await.unwrap();
    let change = store.write(move |rows, after| {
        put(rows, after, put_of("other", Condition::Absent), undone)?;
        put(rows, after, put_of("k", Condition::Absent), refused)
    });
    assert!(matches!(change.await, Err(StoreError::PreconditionFailed)));
    assert_eq!(read(&store, "k").unwrap(), b"1");
    assert!(matches!(read(&store, "other"), Err(StoreError::NoSuchKey)));
    assert_eq!(in_staging(&store), 0);
}

#[tokio::test]
async fn a_commit_that_failed_leaves_the_bytes_that_its_rows_may_name_to_the_next_start() {
    let (dir, store) = store().await;
    let bytes = staged(&store, b"x");
    let change = store.write(move |rows, after| {
        put(rows, after, put_of("k", Condition::Always), bytes)?;
        // Looked at by the commit, and refused there.
        rows.execute_batch(
            "CREATE TABLE one (id INTEGER PRIMARY KEY);
             CREATE TABLE two (one REFERENCES one (id) DEFERRABLE INITIALLY DEFERRED);
             INSERT INTO two VALUES (1);",
        )?;
        Ok(())
    });
    assert!(matches!(change.await, Err(StoreError::Io { .. })));
    assert_eq!(in_staging(&store), 1, "whoever failed to commit cannot know that it came to nothing");
    store.write(|rows, _| catalog::create_bucket(rows, "other", 0)).await.unwrap();
    store.close().await;
    drop(store);
    let store = Store::open(dir.path(), false, Duration::ZERO).unwrap();
    assert_eq!(in_staging(&store), 0, "no row names it");
}

#[tokio::test]
async fn an_opened_file_is_the_one_that_its_row_describes_while_others_overwrite_it() {
    let (_dir, store) = store().await;
    let overwrite = |size: usize| {
        let bytes = staged(&store, &vec![b'x'; size]);
        store.write(move |rows, after| put(rows, after, put_of("k", Condition::Always), bytes).map(drop))
    };
    overwrite(1).await.unwrap();
    let reader = store.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let reads = std::thread::spawn(move || {
        while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
            let (object, file) = reader.open_object("bucket", "k").unwrap();
            assert_eq!(file.metadata().unwrap().len(), object.size);
        }
    });
    for size in 2..2000 {
        overwrite(size).await.unwrap();
    }
    drop(stop);
    reads.join().unwrap();
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_frees_its_folder() {
    let (dir, store) = store().await;
    assert!(Store::open(dir.path(), false, Duration::ZERO).is_err());
    store.close().await;
    let late = store.write(|rows, _| catalog::create_bucket(rows, "late", 0)).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(Store::open(dir.path(), false, Duration::ZERO).is_ok());
}
