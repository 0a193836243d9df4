use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::super::database::Sqlite;
use super::*;

/// An inbox of which only the counters are there, its record, and what both once were.
struct Bench {
    dir: TempDir,
    database: Database,
    commits: Option<Commits>,
    /// The record as it was after each write, oldest first.
    records: Vec<Vec<u8>>,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let connection = Connection::open(dir.path().join("inbox")).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
                 CREATE TABLE rows (number INTEGER);
                 INSERT INTO counters VALUES ('made_ms', 7)",
            )
            .unwrap();
        let database = Database::sqlite(Sqlite::new(connection));
        let mut bench = Self { dir, database, commits: None, records: Vec::new() };
        bench.open();
        bench
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("inbox-commits")
    }

    fn open(&mut self) {
        self.commits = None;
        self.commits = Some(Commits::open(&self.database, &self.path(), None, 1_000).unwrap());
        self.remember();
    }

    fn remember(&mut self) {
        self.records.push(std::fs::read(self.path()).unwrap());
    }

    fn commit(&mut self, reaches_the_record: bool) {
        let commits = self.commits.as_mut().unwrap();
        self.database.begin().unwrap();
        self.database.execute("INSERT INTO rows VALUES (1)", &[]).unwrap();
        let number = commits.count(&self.database, 1_000).unwrap().unwrap();
        self.database.commit().unwrap();
        if reaches_the_record {
            commits.written(number);
            self.remember();
        }
    }

    /// The number in the inbox.
    fn number(&self) -> u64 {
        let row = self.database.query_one("SELECT value FROM counters WHERE name = 'commits'", &[]);
        row.unwrap().unwrap().count(0).unwrap()
    }

    /// The number in the record.
    fn recorded(&self) -> u64 {
        match Found::read(&std::fs::read(self.path()).unwrap()) {
            Found::Number { number, .. } => number,
            other => panic!("{other:?}"),
        }
    }

    fn take_mark(&self) -> Option<Loss> {
        let found = loss(&self.database).unwrap();
        if let Some(found) = found {
            made_up_for(&self.database, found).unwrap();
            assert_eq!(loss(&self.database).unwrap(), None);
        }
        found
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit,
    /// Killed after the commit and before the record.
    KilledInBetween,
    Killed,
    /// The record goes back by so many writes.
    PowerCut(usize),
    /// The database loses so many commits.
    Loses(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Commit),
        2 => Just(Step::KilledInBetween),
        2 => Just(Step::Killed),
        1 => (0..5_usize).prop_map(Step::PowerCut),
        1 => (1..5_u64).prop_map(Step::Loses),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_loss_of_commits_is_found_at_the_next_start_and_there_is_never_one_without(steps in steps()) {
        let mut bench = Bench::new();
        for step in steps {
            let mut lost = 0;
            match step {
                Step::Commit => { bench.commit(true); continue; }
                Step::KilledInBetween => bench.commit(false),
                Step::Killed => {}
                Step::PowerCut(back) => {
                    let kept = bench.records.len() - back.min(bench.records.len() - 1);
                    bench.records.truncate(kept);
                    std::fs::write(bench.path(), bench.records.last().unwrap()).unwrap();
                }
                Step::Loses(commits) => {
                    lost = commits.min(bench.number());
                    bench.database.execute(
                        "UPDATE counters SET value = value - ?1 WHERE name = 'commits'", &[lost.into()],
                    ).unwrap();
                }
            }
            let (number, recorded) = (bench.number(), bench.recorded());
            prop_assert!(lost > 0 || recorded <= number, "the record is never ahead by itself");
            bench.open();
            let expected = recorded.checked_sub(number).filter(|lost| *lost > 0);
            prop_assert_eq!(bench.take_mark().map(|loss| loss.commits), expected);
            prop_assert!(bench.number() >= number.max(recorded), "no number is given twice");
            prop_assert_eq!(bench.recorded(), bench.number());
        }
    }
}

#[test]
fn a_database_that_goes_back_while_the_server_runs_is_found_at_the_next_commit() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.commit(true);
    }
    // As a replica would that took over and lacks the last two.
    bench.database.execute("UPDATE counters SET value = 3 WHERE name = 'commits'", &[]).unwrap();
    bench.commit(true);
    assert_eq!(bench.take_mark().map(|loss| loss.commits), Some(2));
    assert_eq!((bench.number(), bench.recorded()), (6, 6));
    bench.commit(true);
    assert_eq!(bench.take_mark(), None);
}

#[test]
fn a_transaction_that_wrote_nothing_is_no_commit() {
    let mut bench = Bench::new();
    bench.commit(true);
    bench.database.begin().unwrap();
    assert_eq!(bench.commits.as_mut().unwrap().count(&bench.database, 1).unwrap(), None);
    bench.database.commit().unwrap();
    assert_eq!(bench.number(), 1);
}

#[test]
fn one_torn_record_leaves_the_one_before_and_a_record_that_cannot_be_read_is_a_loss_of_unknown_size() {
    let mut bench = Bench::new();
    bench.commit(true);
    bench.commit(true);
    let whole = std::fs::read(bench.path()).unwrap();
    let mut torn = whole.clone();
    torn[PLACES[0] + 20] ^= 1;
    std::fs::write(bench.path(), &torn).unwrap();
    assert_eq!(bench.recorded(), 1);
    bench.open();
    assert_eq!(bench.take_mark(), None);
    torn[PLACES[1] + 3] ^= 1;
    std::fs::write(bench.path(), &torn).unwrap();
    bench.open();
    assert_eq!(bench.take_mark().map(|loss| loss.commits), Some(0));
    assert_eq!(bench.recorded(), bench.number());
}

#[test]
fn a_record_of_another_inbox_is_told_and_one_of_a_newer_server_is_refused() {
    let mut bench = Bench::new();
    bench.commit(true);
    bench.database.execute("UPDATE counters SET value = 8 WHERE name = 'made_ms'", &[]).unwrap();
    bench.open();
    assert_eq!(bench.take_mark().map(|loss| loss.commits), Some(1));
    bench.open();
    assert_eq!(bench.take_mark(), None);

    let mut newer = encoded(8, 99);
    newer[8] = 2;
    let crc32c = crc32c::crc32c(&newer[..28]);
    newer[28..].copy_from_slice(&crc32c.to_le_bytes());
    std::fs::write(bench.path(), newer).unwrap();
    let error = Commits::open(&bench.database, &bench.path(), None, 1).unwrap_err().to_string();
    assert!(error.contains("has version 2, and this server knows versions up to 1"), "{error}");
}

#[test]
fn what_the_first_version_recorded_is_read_for_good() {
    let recorded = "5347434f4d4d495401000000ffd0269e9801000039050000000000001f63a233";
    let found = Found::read(&hex::decode(recorded).unwrap());
    assert_eq!(found, Found::Number { made_ms: 1_755_000_000_767, number: 1337 });
    assert_eq!(hex::encode(encoded(1_755_000_000_767, 1337)), recorded);
}
