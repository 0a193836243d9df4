//! What an outsider does to the file while the server runs stops the handler, and never costs a line.

use std::path::Path;

use super::*;

/// What an outsider may do to the file while the server runs.
#[derive(Debug, Clone, Copy)]
enum Hand {
    Deletes,
    Renames,
    /// By a copy of the same length and content.
    Replaces,
    /// As logrotate's `copytruncate` does.
    Truncates,
    Appends,
}

impl Hand {
    const ALL: [Self; 5] = [Self::Deletes, Self::Renames, Self::Replaces, Self::Truncates, Self::Appends];

    fn comes(self, path: &Path) {
        let aside = path.with_extension("aside");
        match self {
            Self::Deletes => fs::remove_file(path).unwrap(),
            Self::Renames => fs::rename(path, aside).unwrap(),
            Self::Replaces => {
                fs::rename(path, &aside).unwrap();
                fs::copy(aside, path).unwrap();
            }
            Self::Truncates => {
                fs::copy(path, aside).unwrap();
                fs::write(path, "").unwrap();
            }
            Self::Appends => fs::write(path, fs::read_to_string(path).unwrap() + "theirs\n").unwrap(),
        }
    }

    /// Puts the file back with this content. Says whether it is the same file again.
    fn mends(self, path: &Path, content: &str) -> bool {
        let aside = path.with_extension("aside");
        if matches!(self, Self::Renames | Self::Replaces) {
            fs::rename(aside, path).unwrap();
        }
        // Written in place, so that an open file is written to as well.
        fs::write(path, content).unwrap();
        !matches!(self, Self::Deletes)
    }

    fn said(self, reason: &str) {
        let words = match self {
            Self::Deletes | Self::Renames => "was deleted or renamed by somebody else",
            Self::Replaces => "was replaced by somebody else",
            Self::Truncates => "was truncated by somebody else: it holds 0 bytes instead of",
            Self::Appends => "was written to by somebody else",
        };
        assert!(reason.contains(words) && reason.contains("handler.rotate_bytes"), "{self:?}: {reason}");
    }
}

async fn refused(bench: &Bench, claim: &Claim) -> String {
    let mut content = bench.open(claim).await;
    match bench.handle(claim, &mut content).await {
        Err(HandlerError::Later { source, .. }) => source.to_string(),
        Err(other) => panic!("it uses up attempts: {other}"),
        Ok(_) => panic!("a line was written to a file that is not ours"),
    }
}

async fn goes_on(hand: Hand, bench: Bench, claim: &Claim) {
    let path = bench.dir.path().join("out.ndjson");
    hand.said(&refused(&bench, claim).await);
    let bench = if hand.mends(&path, "a1\na2\n") {
        let mut content = bench.open(claim).await;
        let effect = bench.handle(claim, &mut content).await.unwrap();
        assert_eq!(bench.finish(claim, &content, effect).await.unwrap(), Finished::Done);
        bench
    } else {
        hand.said(&refused(&bench, claim).await.replace("replaced by", "deleted or renamed by"));
        let bench = bench.reopen().await;
        bench.drain().await;
        bench
    };
    assert_eq!(bench.written(), "a1\na2\nb1\n", "{hand:?}: each line once, and no zeros");
}

#[tokio::test]
async fn what_an_outsider_did_to_the_file_stops_the_next_object_until_the_file_is_put_back() {
    for hand in Hand::ALL {
        let bench = Bench::new().await;
        bench.arrive("a", "a1\na2\n").await;
        bench.drain().await;
        hand.comes(&bench.dir.path().join("out.ndjson"));
        bench.arrive("b", "b1\n").await;
        let claim = bench.claim().await.unwrap();
        goes_on(hand, bench, &claim).await;
    }
}

#[tokio::test]
async fn what_an_outsider_did_after_an_objects_lines_were_synced_keeps_them_from_being_committed() {
    for hand in Hand::ALL {
        let bench = Bench::new().await;
        bench.arrive("a", "a1\na2\n").await;
        bench.drain().await;
        bench.arrive("b", "b1\n").await;
        let claim = bench.claim().await.unwrap();
        let mut content = bench.open(&claim).await;
        let effect = bench.handle(&claim, &mut content).await.unwrap();
        hand.comes(&bench.dir.path().join("out.ndjson"));
        let Err(InboxError::Storage(reason)) = bench.finish(&claim, &content, effect).await else {
            panic!("{hand:?}: lines that nobody finds were committed");
        };
        hand.said(&reason.to_string());
        let name = bench.inbox.output_name("ndjson out.ndjson");
        assert_eq!(bench.inbox.output(&name).await.unwrap().map(|output| output.length), Some(6), "{hand:?}");
        goes_on(hand, bench, &claim).await;
    }
}

#[tokio::test]
async fn a_file_that_an_outsider_touched_is_never_left_as_a_whole_one() {
    for hand in Hand::ALL {
        let bench = Bench::rotating(Rotation { bytes: Some(1), age: None }).await;
        bench.arrive("a", "a1\na2\n").await;
        bench.drain().await;
        hand.comes(&bench.dir.path().join("out.ndjson"));
        bench.arrive("b", "b1\n").await;
        let claim = bench.claim().await.unwrap();
        hand.said(&refused(&bench, &claim).await);
        assert!(!bench.dir.path().join("out-000001.ndjson").exists(), "{hand:?}");
    }
}
