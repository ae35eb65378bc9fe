//! What became of one element.

use store::Event;

/// An event: where it is in the history, and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) index: u64,
    /// Nanoseconds since the run began.
    pub(super) time: u64,
}

impl Moment {
    pub(super) fn of(event: &Event) -> Moment {
        Moment {
            index: event.index,
            time: event.time,
        }
    }
}

/// An operation that ended, from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begun: Moment,
    pub(super) ended: Moment,
}

/// What became of one element.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// When it was added first.
    pub(super) added: Option<Moment>,
    /// Adds that did not fail: they happened, or may have.
    adds: u32,
    /// The add of it that failed last.
    pub(super) failed: Option<Span>,
    /// The first add that ended `ok`.
    pub(super) acknowledged: Option<Span>,
    /// From when on it is known that it was there.
    pub(super) known: Option<Moment>,
    /// The first read that shows it.
    pub(super) first_shown: Option<Span>,
    /// Of the reads that show it, the one that ended last.
    pub(super) last_shown: Option<Span>,
    /// Of the reads that should show it and do not, the one that began last.
    pub(super) last_missed: Option<Span>,
    /// How many reads should show it and do not.
    pub(super) missed: u64,
    /// The first read that shows it more than once.
    pub(super) duplicated: Option<Span>,
    /// The first read that shows it although nobody had begun to add it.
    pub(super) unexpected: Option<Span>,
    /// Whether a read began after it was known.
    pub(super) judged: bool,
}

impl Timeline {
    /// An add of it begins.
    pub(super) fn begin(&mut self, now: Moment) {
        self.added.get_or_insert(now);
        self.adds += 1;
    }

    /// An add of it ended `ok`.
    pub(super) fn acknowledge(&mut self, begun: Moment, now: Moment) {
        self.acknowledged.get_or_insert(Span { begun, ended: now });
        self.known.get_or_insert(now);
    }

    /// An add of it failed.
    pub(super) fn fail(&mut self, begun: Moment, now: Moment) {
        self.adds = self.adds.saturating_sub(1);
        self.failed = Some(Span { begun, ended: now });
    }

    fn was_known(&self, read: Span) -> bool {
        self.known
            .is_some_and(|known| known.index < read.begun.index)
    }

    /// A read ended that shows it. Spans come in the order in which they ended.
    pub(super) fn shown(&mut self, read: Span) {
        if self.added.is_none() {
            self.unexpected.get_or_insert(read);
        }
        self.judged |= self.was_known(read);
        self.first_shown.get_or_insert(read);
        self.known.get_or_insert(read.ended);
        self.last_shown = Some(read);
    }

    /// A read ended that shows it more than once.
    pub(super) fn repeated(&mut self, read: Span) {
        self.duplicated.get_or_insert(read);
    }

    /// A read ended that does not show it.
    pub(super) fn not_shown(&mut self, read: Span) {
        if !self.was_known(read) {
            return;
        }
        self.judged = true;
        self.missed += 1;
        let later = |last: Span| last.begun.index < read.begun.index;
        if self.last_missed.is_none_or(later) {
            self.last_missed = Some(read);
        }
    }

    /// The read from whose beginning on it was gone.
    pub(super) fn lost(&self) -> Option<Span> {
        let missed = self.last_missed?;
        let shown_since = |shown: Span| shown.ended.index > missed.begun.index;
        (!self.last_shown.is_some_and(shown_since)).then_some(missed)
    }

    /// Whether it was read although each add of it failed.
    pub(super) fn is_aborted(&self) -> bool {
        self.added.is_some() && self.adds == 0 && self.first_shown.is_some()
    }

    /// Whether something is wrong with it whatever comes.
    pub(super) fn is_impossible(&self) -> bool {
        self.duplicated.is_some() || self.unexpected.is_some()
    }

    /// For how long reads did not show it, in nanoseconds, until the last of them began.
    pub(super) fn stale_for(&self) -> u64 {
        match (self.known, self.last_missed) {
            (Some(known), Some(missed)) => missed.begun.time.saturating_sub(known.time),
            _ => 0,
        }
    }
}
