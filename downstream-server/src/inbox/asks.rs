//! What is asked of the inbox beside taking notices and making attempts.

use contract::{CutId, Notice, ObjectMetadata};

use super::changes::Totals;
use super::{
    Gaps, Inbox, InboxError, Keep, Listing, Output, Replayed, Row, Selection, SinkContinuity, State, Suspect,
    Unknown,
};
use super::{continuity, forks, intake, listing, ranges, replay, retention, rows};

impl Inbox {
    /// When the oldest object that is still owed or being fetched was told of.
    pub async fn oldest_owed_ms(&self) -> Result<Option<i64>, InboxError> {
        self.read(rows::oldest_owed_ms).await
    }

    /// Counts the totals anew, with what other servers have done.
    pub async fn recount(&self) -> Result<Totals, InboxError> {
        let totals = self.read(rows::totals).await?;
        self.published.totals.send_replace(totals);
        Ok(totals)
    }

    /// How the object of a notice stands; `None` if the inbox does not know it.
    pub async fn state_of(&self, notice: Notice) -> Result<Option<State>, InboxError> {
        self.read(move |at| intake::state_of(at, &notice)).await
    }

    /// When the inbox was made, in milliseconds since 1970.
    pub async fn made_ms(&self) -> Result<i64, InboxError> {
        self.read(|at| {
            let row = at.query_one("SELECT value FROM counters WHERE name = 'made_ms'", &[])?;
            row.map_or(Ok(0), |row| row.integer(0))
        })
        .await
    }

    /// The name under which a handler's output is kept. Each of the servers that share an inbox has
    /// outputs of its own, since it has files of its own.
    pub fn output_name(&self, name: &str) -> String {
        self.scope.as_ref().map_or_else(|| name.to_owned(), |scope| format!("{scope} {name}"))
    }

    /// What is committed of a handler's output; `None` for one that was never added.
    pub async fn output(&self, name: &str) -> Result<Option<Output>, InboxError> {
        let name = name.to_owned();
        self.write(move |at, _| {
            let row = at.query_one("SELECT length, form FROM outputs WHERE name = ?1", &[(&name).into()])?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(Output { length: row.count(0)?, form: row.count(1)? }))
        })
        .await
    }

    /// Sets what is committed of a handler's outputs, all or none; `None` forgets one.
    pub async fn set_outputs(&self, outputs: Vec<(String, Option<Output>)>) -> Result<(), InboxError> {
        self.write(move |at, _| {
            for (name, output) in &outputs {
                at.execute("DELETE FROM outputs WHERE name = ?1", &[name.into()])?;
                if let Some(Output { length, form }) = *output {
                    at.execute(
                        "INSERT INTO outputs (name, length, form) VALUES (?1, ?2, ?3)",
                        &[name.into(), length.into(), form.into()],
                    )?;
                }
            }
            Ok(())
        })
        .await
    }

    /// A page of channels and sinks after `after`, in the order of their names. `whole` is whether
    /// cuts before the first that was seen are missing too.
    pub async fn continuity(
        &self,
        after: (String, String),
        limit: usize,
        whole: bool,
    ) -> Result<Vec<SinkContinuity>, InboxError> {
        self.read(move |at| continuity::page(at, &after, limit, whole)).await
    }

    /// What is missing, forked or does not add up, over all channels and sinks.
    pub async fn gaps(&self, whole: bool) -> Result<Gaps, InboxError> {
        self.read(move |at| continuity::gaps(at, whole)).await
    }

    /// Declares the missing cuts from `first` to number `last` as not to come: they count as done,
    /// without events. Says how many there were.
    pub async fn write_off(&self, first: CutId, last: u64, now_ms: i64) -> Result<u64, InboxError> {
        self.write(move |at, _| Ok(ranges::write_off(at, &first, last, now_ms)?)).await
    }

    /// Some of the places that name a done cut and were not looked at yet.
    pub async fn suspects(&self, limit: usize) -> Result<Vec<Suspect>, InboxError> {
        self.read(move |at| forks::suspects(at, limit)).await
    }

    /// Enters what the object at a suspect's place says about itself. Says whether it is a fork.
    pub async fn cleared(
        &self,
        suspect: Suspect,
        found: Option<ObjectMetadata>,
        now_ms: i64,
    ) -> Result<bool, InboxError> {
        self.write(move |at, _| Ok(forks::cleared(at, &suspect, found.as_ref(), now_ms)?)).await
    }

    /// How far each prefix has been listed.
    pub async fn listings(&self) -> Result<Vec<Listing>, InboxError> {
        self.read(listing::all).await
    }

    /// Asks for a listing of a prefix now.
    pub async fn ask_listing(&self, bucket: &str, prefix: &str, now_ms: i64) -> Result<(), InboxError> {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        self.write(move |at, _| listing::ask(at, &bucket, &prefix, now_ms)).await
    }

    /// Begins a listing, or goes on with one, if it was asked for, was cut short, or the last ended
    /// before `due_before_ms`; `None` if not, or if another server is at it.
    pub async fn begin_listing(
        &self,
        bucket: &str,
        prefix: &str,
        due_before_ms: i64,
        now_ms: i64,
    ) -> Result<Option<Listing>, InboxError> {
        let (bucket, prefix, lease) = (bucket.to_owned(), prefix.to_owned(), self.lease.clone());
        self.write(move |at, _| listing::begin(at, &lease, &bucket, &prefix, due_before_ms, now_ms)).await
    }

    /// Which of these objects the inbox does not know.
    pub async fn unknown(&self, listed: Vec<Unknown>) -> Result<Vec<Unknown>, InboxError> {
        self.read(move |at| listing::unknown(at, listed)).await
    }

    /// Takes in what a page of a listing showed, with the position after it. Says how many
    /// objects became owed.
    pub async fn list_page(
        &self,
        listing: Listing,
        unknown: Vec<Unknown>,
        now_ms: i64,
    ) -> Result<u64, InboxError> {
        let lease = self.lease.clone();
        self.write(move |at, changes| listing::page(at, changes, &lease, &listing, &unknown, now_ms)).await
    }

    /// Ends a listing: whole, or for now, because of an error.
    pub async fn end_listing(
        &self,
        listing: Listing,
        error: Option<String>,
        now_ms: i64,
    ) -> Result<(), InboxError> {
        let lease = self.lease.clone();
        self.write(move |at, _| listing::end(at, &lease, &listing, error.as_deref(), now_ms)).await
    }

    /// Drops rows of done objects that need not be kept, some at a time. Says whether there may
    /// be more.
    pub async fn drop_done(&self, keep: Keep) -> Result<bool, InboxError> {
        self.write(move |at, _| Ok(retention::drop_some(at, keep)?)).await
    }

    /// Makes one object owed again that is dead, gone or done. `None` if there is none with this
    /// number; otherwise its row.
    pub async fn replay(&self, id: i64, now_ms: i64) -> Result<Option<Row>, InboxError> {
        self.write(move |at, changes| replay::one(at, changes, id, now_ms)).await
    }

    /// Makes the selected objects owed again, some at a time; see [`Replayed::next`].
    pub async fn replay_matching(&self, selection: Selection, now_ms: i64) -> Result<Replayed, InboxError> {
        self.write(move |at, changes| replay::matching(at, changes, &selection, now_ms)).await
    }
}
