//! What each answer of the store means for a sealed cut: the whole table, as one function without I/O.
//!
//! The requests of a cut form a small machine. After each answer [`next`] says what to do; nothing else decides. Two
//! rules carry it: a cut is done only by a confirmation or by an object that equals one of its attempts (I5), and
//! what may have been stored is looked at before anything is concluded from its absence.

use blob_store::ErrorKind;

/// What the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// One put of the whole object.
    Put,
    /// To begin a multipart upload.
    Create,
    /// To take a part.
    Part,
    /// To make the parts an object.
    Complete,
    /// What is there under the key, and what to do if nothing is.
    Look(Then),
}

/// What it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes.
    Ok,
    /// To a look: an object that equals an attempt of the cut.
    Equal,
    /// To a look: another object.
    Different,
    /// To a look: the object of this cut by its metadata, but not as long, or not of those bytes.
    Mangled,
    /// No, or nothing.
    Failed(ErrorKind),
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The cut is in the store.
    Done,
    /// The next request of the upload.
    Go,
    /// The same request again after a pause; an operator may have to act if `alarm`.
    Again {
        /// Whether waiting alone is not expected to help.
        alarm: bool,
    },
    /// Look what is there under the key.
    Look(Then),
    /// What to do once a look has found nothing.
    Absent(Then),
    /// The bytes sent are not those of the attempt: check them, and make another attempt if they are lost.
    Remake,
    /// The key holds something else: stop, lose nothing.
    Fork,
}

/// What to do if the key holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Send the cut from the beginning: the put again, or a new upload.
    Restart,
    /// Complete the same upload again.
    Complete,
    /// Set the cut aside: the store will never take it.
    SetAside,
}

/// What to do after `answer` to `asked`.
pub(crate) fn next(asked: Asked, answer: Answer) -> Step {
    use ErrorKind as Kind;

    let kind = match (asked, answer) {
        (Asked::Look(_), Answer::Equal) | (Asked::Put | Asked::Complete, Answer::Ok) => return Step::Done,
        (Asked::Look(_), Answer::Different | Answer::Ok) => return Step::Fork,
        (Asked::Create | Asked::Part, Answer::Ok) => return Step::Go,
        // Nobody else's, and not ours either: the store or its answer is wrong, which only somebody can put right.
        (Asked::Look(_), Answer::Mangled) => return Step::Again { alarm: true },
        (_, Answer::Equal | Answer::Different | Answer::Mangled) => return Step::Look(Then::Restart),
        (_, Answer::Failed(kind)) => kind,
    };
    match (asked, kind) {
        (Asked::Look(then), Kind::NoSuchKey) => Step::Absent(then),
        // A look that is refused says nothing about what is there, however often it is asked.
        (Asked::Look(_), _) => Step::Again { alarm: !is_passing(kind) },

        // Who answered is not the store, which alone can say whether it has the object. Or something is there; or the
        // upload or its parts are gone, perhaps because it was completed.
        (Asked::Put, Kind::NotS3)
        | (Asked::Put | Asked::Complete, Kind::PreconditionFailed)
        | (
            Asked::Complete,
            Kind::NoSuchUpload | Kind::NoSuchKey | Kind::ConditionalConflict | Kind::Timeout,
        ) => Step::Look(Then::Restart),
        (Asked::Complete, kind) if kind.may_be_stored() => Step::Look(Then::Complete),
        (Asked::Part, Kind::NoSuchUpload | Kind::NoSuchKey) => Step::Absent(Then::Restart),

        (_, Kind::Body | Kind::ChecksumMismatch) => Step::Remake,
        // An earlier try may have been stored, so nothing is set aside unseen.
        (_, Kind::NeverValid | Kind::Rejected) => Step::Look(Then::SetAside),
        (_, kind) => Step::Again { alarm: !is_passing(kind) },
    }
}

/// Whether time alone is expected to help.
fn is_passing(kind: ErrorKind) -> bool {
    (kind.may_be_stored() && !kind.needs_an_operator()) || kind == ErrorKind::ConditionalConflict
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Step = Step::Again { alarm: false };
    const ALARM: Step = Step::Again { alarm: true };

    #[test]
    fn every_row_of_the_table_of_answers() {
        use ErrorKind as Kind;
        let restart = Step::Look(Then::Restart);
        let set_aside = Step::Look(Then::SetAside);
        // What is asked, and what follows for put, create, part, complete.
        let rows = [
            (Kind::PreconditionFailed, [restart, ALARM, ALARM, restart]),
            (Kind::ConditionalConflict, [AGAIN, AGAIN, AGAIN, restart]),
            (Kind::NoSuchKey, [ALARM, ALARM, Step::Absent(Then::Restart), restart]),
            (Kind::NoSuchUpload, [ALARM, ALARM, Step::Absent(Then::Restart), restart]),
            (Kind::NoSuchBucket, [ALARM; 4]),
            (Kind::AccessDenied, [ALARM; 4]),
            (Kind::CredentialsExpired, [ALARM; 4]),
            (Kind::Credentials, [ALARM; 4]),
            (Kind::Throttled, [AGAIN, AGAIN, AGAIN, Step::Look(Then::Complete)]),
            (Kind::Server, [AGAIN, AGAIN, AGAIN, Step::Look(Then::Complete)]),
            (Kind::Timeout, [AGAIN, AGAIN, AGAIN, restart]),
            (Kind::Connection, [AGAIN, AGAIN, AGAIN, Step::Look(Then::Complete)]),
            (Kind::ErrorIn200, [AGAIN, AGAIN, AGAIN, Step::Look(Then::Complete)]),
            (Kind::NotS3, [restart, ALARM, ALARM, Step::Look(Then::Complete)]),
            (Kind::ChecksumMismatch, [Step::Remake; 4]),
            (Kind::Body, [Step::Remake; 4]),
            (Kind::Unsupported, [ALARM; 4]),
            (Kind::Rejected, [set_aside; 4]),
            (Kind::NeverValid, [set_aside; 4]),
        ];
        for (kind, steps) in rows {
            let asked = [Asked::Put, Asked::Create, Asked::Part, Asked::Complete];
            for (asked, step) in asked.into_iter().zip(steps) {
                assert_eq!(next(asked, Answer::Failed(kind)), step, "{asked:?} {kind:?}");
            }
            for then in [Then::Restart, Then::Complete, Then::SetAside] {
                let step = match kind {
                    Kind::NoSuchKey => Step::Absent(then),
                    Kind::NotS3 => ALARM,
                    kind if kind.may_be_stored() || kind == Kind::ConditionalConflict => AGAIN,
                    _ => ALARM,
                };
                assert_eq!(next(Asked::Look(then), Answer::Failed(kind)), step, "{then:?} {kind:?}");
            }
        }
        assert_eq!(next(Asked::Put, Answer::Ok), Step::Done);
        assert_eq!(next(Asked::Complete, Answer::Ok), Step::Done);
        assert_eq!(next(Asked::Create, Answer::Ok), Step::Go);
        assert_eq!(next(Asked::Part, Answer::Ok), Step::Go);
        assert_eq!(next(Asked::Look(Then::Restart), Answer::Equal), Step::Done);
        assert_eq!(next(Asked::Look(Then::SetAside), Answer::Different), Step::Fork);
        assert_eq!(next(Asked::Look(Then::SetAside), Answer::Mangled), ALARM);
    }

    #[test]
    fn a_403_on_a_look_is_an_alarm_and_never_absence() {
        for then in [Then::Restart, Then::Complete, Then::SetAside] {
            assert_eq!(next(Asked::Look(then), Answer::Failed(ErrorKind::AccessDenied)), ALARM);
        }
    }

    #[test]
    fn no_failure_makes_a_cut_done_or_dead_unseen() {
        for asked in [Asked::Put, Asked::Create, Asked::Part, Asked::Complete] {
            for kind in [
                ErrorKind::NeverValid,
                ErrorKind::Rejected,
                ErrorKind::NotS3,
                ErrorKind::PreconditionFailed,
                ErrorKind::Server,
            ] {
                let step = next(asked, Answer::Failed(kind));
                assert!(
                    !matches!(step, Step::Done | Step::Fork | Step::Absent(Then::SetAside)),
                    "I5: {step:?}"
                );
            }
        }
    }
}
