use object_format::{Codec, Layout, Rows};
use proptest::prelude::*;

use super::super::cut::tests::{any_attempt, any_cut, any_runs};
use super::super::cut::{BytesAt, Extent, Reason};
use super::super::form::{CutCodec, Form};
use super::*;

fn cut(number: u64, kind: CutKind, runs: Runs, before: Sums) -> Arc<Cut> {
    let count = runs.count();
    let totals = match kind {
        CutKind::Events => Sums { events: before.events + count, ..before },
        CutKind::Dead => Sums { dead_lettered: before.dead_lettered + count, ..before },
    };
    Arc::new(Cut {
        number,
        channel: ChannelId([7; 16]),
        bucket: "bucket".into(),
        key: format!("key-{number}"),
        form: match kind {
            CutKind::Events => Form::Events { layout: Layout::Text, rows: Some(Rows::Events) },
            CutKind::Dead => Form::Dead,
        },
        codec: CutCodec::At(Codec::None),
        content_type: "text/plain".into(),
        content_encoding: None,
        reasons: if kind == CutKind::Dead { vec![(runs.last(), Reason::TooLarge)] } else { vec![] },
        runs,
        sealed_ms: 1,
        totals,
    })
}

fn attempt(crc32c: u32) -> Attempt {
    Attempt { length: 10, crc32c, lost: Runs::default(), bytes: BytesAt::Channel }
}

fn runs(ranges: &[(u64, u64)]) -> Runs {
    ranges.iter().map(|&(start, end)| start..end).collect()
}

/// Applies records, and at each step shows that the journal would say the same: record by record and as a snapshot.
fn replay(state: &mut State, records: Vec<Record>) {
    for record in records {
        assert_eq!(Record::decode(&record.encode()), Ok(record.clone()));
        state.apply(record).unwrap();
        let Record::Snapshot(again) = Record::decode(&state.snapshot()).unwrap() else {
            panic!("no snapshot")
        };
        assert_eq!(&*again, state);
        // What is kept in step is what a look at everything says.
        let needed = state.to_ship().map(|number| state.pending[&number].cut.runs.first());
        assert_eq!(state.released(), needed.fold(state.held.watermark(), u64::min));
        assert_eq!(state.dead_count(), state.dead().count());
        let bytes: u64 = state.pending.values().map(Pending::heap_bytes).sum();
        assert_eq!(state.heap_bytes(), state.held.heap_bytes() + bytes);
    }
}

#[test]
fn positions_are_released_only_when_every_cut_below_is_done() {
    let mut state = State::new(100);
    let first = cut(1, CutKind::Events, runs(&[(100, 110), (120, 130)]), state.sealed);
    replay(&mut state, vec![Record::Sealed(first, attempt(1))]);
    assert_eq!((state.held.watermark(), state.released()), (110, 100), "I6: sealed is not done");
    let second = cut(2, CutKind::Dead, runs(&[(110, 120)]), state.sealed);
    replay(&mut state, vec![Record::Sealed(second, attempt(2))]);
    assert_eq!((state.held.watermark(), state.released()), (130, 100));
    replay(&mut state, vec![Record::Done(2, 0)]);
    assert_eq!(state.released(), 100, "I6: the older cut still needs its positions");
    replay(&mut state, vec![Record::Done(1, 0), Record::Damaged(130, 5)]);
    assert_eq!(state.released(), 135);
    let settled = Sums { events: 20, dead_lettered: 10, damaged: 5 };
    assert_eq!((state.settled, state.sealed), (settled, settled), "I9");
    assert_eq!(state.settled.all(), state.released() - state.origin, "I9");
}

#[test]
fn a_dead_cut_is_settled_until_it_is_replayed_and_counts_once_whatever_becomes_of_it() {
    let mut state = State::new(0);
    let kept = Attempt { bytes: BytesAt::Kept, ..attempt(1) };
    let sealed = cut(1, CutKind::Events, runs(&[(0, 10)]), state.sealed);
    replay(&mut state, vec![Record::Sealed(sealed, attempt(1)), Record::Dead(1, kept, "no".into())]);
    assert_eq!((state.released(), state.settled.dead_lettered), (10, 10));
    let mut dropped = state.clone();
    replay(&mut state, vec![Record::Replay(1)]);
    assert_eq!((state.released(), state.settled.all()), (0, 0));
    replay(&mut state, vec![Record::Done(1, 1)]);
    assert_eq!((state.settled, state.released()), (Sums { events: 10, ..Sums::default() }, 10));
    replay(&mut dropped, vec![Record::Drop(1)]);
    assert_eq!((dropped.settled.dead_lettered, dropped.pending.len()), (10, 0));
}

#[test]
fn a_dead_cut_needs_nothing_of_the_staging_log_and_still_knows_its_attempts() {
    let mut state = State::new(0);
    let staged = BytesAt::Staged(vec![Extent { file: 1, offset: 0, length: 10 }]);
    let staged = Attempt { bytes: staged, ..attempt(1) };
    let kept = Attempt { bytes: BytesAt::Kept, ..attempt(1) };
    let sealed = cut(1, CutKind::Events, runs(&[(0, 10)]), state.sealed);
    replay(&mut state, vec![Record::Sealed(sealed, staged), Record::Dead(1, kept.clone(), "no".into())]);
    let unstaged = Attempt { bytes: BytesAt::Staged(vec![]), ..attempt(1) };
    assert_eq!(state.pending[&1].attempts, [unstaged, kept]);
}

#[test]
fn a_record_of_another_version_is_called_newer_only_if_it_is() {
    let decode = |version| Record::decode(&[version, 6, 1]);
    assert_eq!(decode(VERSION), Ok(Record::Replay(1)));
    assert_eq!(decode(0), Err(Malformed("a record of unknown version 0")));
    assert_eq!(decode(VERSION + 1), Err(Malformed("a record of a newer version of this program")));
}

#[test]
fn events_that_damage_took_from_a_sealed_cut_count_as_damaged() {
    let mut state = State::new(0);
    let sealed = cut(1, CutKind::Events, runs(&[(0, 10)]), state.sealed);
    let lacking = Attempt { lost: runs(&[(3, 5)]), ..attempt(2) };
    replay(
        &mut state,
        vec![Record::Sealed(sealed, attempt(1)), Record::Attempt(1, lacking), Record::Done(1, 1)],
    );
    let settled = Sums { events: 8, damaged: 2, dead_lettered: 0 };
    assert_eq!((state.settled, state.sealed), (settled, settled), "I9");
}

#[test]
fn a_cut_that_moves_keeps_its_number_its_positions_and_its_attempts() {
    let mut state = State::new(0);
    let sealed = cut(1, CutKind::Events, runs(&[(0, 10)]), state.sealed);
    let upload = Record::Upload(1, "upload".to_owned());
    replay(&mut state, vec![Record::Sealed(Arc::clone(&sealed), attempt(1)), upload]);
    replay(&mut state, vec![Record::Moved(1, ChannelId([9; 16]), "elsewhere".to_owned())]);
    let moved = Cut { channel: ChannelId([9; 16]), key: "elsewhere".to_owned(), ..Cut::clone(&sealed) };
    assert_eq!(*state.pending[&1].cut, moved);
    assert_eq!((&state.pending[&1].attempts, &state.pending[&1].uploads), (&vec![attempt(1)], &vec![]));
}

#[test]
fn records_that_contradict_the_state_are_refused() {
    let mut state = State::new(0);
    assert!(state.apply(Record::Done(1, 0)).is_err());
    let wrong = cut(2, CutKind::Events, runs(&[(0, 1)]), state.sealed);
    assert!(state.apply(Record::Sealed(wrong, attempt(1))).is_err(), "numbers are dense");
    let right = cut(1, CutKind::Events, runs(&[(0, 1)]), state.sealed);
    state.apply(Record::Sealed(right, attempt(1))).unwrap();
    assert!(state.apply(Record::Done(1, 1)).is_err(), "I5: only a recorded attempt is done");
}

proptest! {
    #[test]
    fn every_record_reads_back_from_its_bytes(
        sealed in any_cut(), attempt in any_attempt(), number: u64, other: u64, text in ".{0,40}", held in any_runs(),
    ) {
        let mut state = State::new(other % 1000);
        held.iter().for_each(|run| state.held.insert(run));
        let pending = Pending {
            cut: Arc::new(sealed.clone()),
            attempts: vec![attempt.clone()],
            uploads: vec![text.clone()],
            dead: Some(text.clone()),
        };
        state.keep(pending);
        for record in [
            Record::Snapshot(Box::new(state)),
            Record::Sealed(Arc::new(sealed), attempt.clone()),
            Record::Attempt(number, attempt.clone()),
            Record::Upload(number, text.clone()),
            Record::Done(number, other),
            Record::Dead(number, attempt, text),
            Record::Replay(number),
            Record::Drop(number),
            Record::Damaged(number, other),
            Record::Moved(number, ChannelId([5; 16]), "key".to_owned()),
        ] {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = Record::decode(&bytes);
        let _ = Record::decode(&[&[VERSION], &bytes[..]].concat());
    }
}
