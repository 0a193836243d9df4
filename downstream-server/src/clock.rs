//! The wall clock as the inbox stores it.

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(wall_clock::now_ms()).unwrap_or(i64::MAX)
}

/// The ages that alarms are made of.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    /// Of the oldest object that is owed or being fetched.
    pub(crate) owed: Age,
    /// Of the oldest cut that is missing.
    pub(crate) missing: Age,
}

/// An age of what the inbox keeps the time of.
#[derive(Debug, Default)]
pub(crate) struct Age(wall_clock::Age);

impl Age {
    /// How old that is which has been there since then; nothing, if there is none.
    pub(crate) fn of(&self, since_ms: Option<i64>) -> std::time::Duration {
        self.0.of(since_ms.map(|since_ms| u64::try_from(since_ms).unwrap_or(0)))
    }
}
