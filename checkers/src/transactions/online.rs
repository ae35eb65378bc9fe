//! List-append histories followed event by event, for a violation to be noticed when it happens.
//!
//! What is kept of a history for its verdict ([`Transactions`]) grows with it. Beside that, [`Online`] keeps for each key who
//! appended what and the dependencies of the last transactions ([`Watch`]). Each event adds what it shows: a longer list,
//! versions with their writers; a read, its dependencies; an append that no list shows yet, that it comes after the
//! list and after who read all of it.
//!
//! What is noticed is a *suspicion*. Then all that was taken in is judged as after a run, and only a verdict that was proved
//! so is one ([`Feeding`](super::feeding::Feeding)). What could be missed is found after the run: cycles through transactions that were
//! forgotten ([`KEPT`], [`STEPS`]), appends that were lost long ago ([`UNREAD_MAX`]), what no order of appends that nobody read can
//! explain, and cycles of a shape that came soon after others of their class that were none.
//!
//! An element that nobody appended is no suspicion: its append might still be recorded.

use super::anomaly::Anomaly;
use super::graph::{HOP, PROCESS, REALTIME, RW, WR, WW};
use super::history::{Outcome, Seen, Transactions};
use super::intake::Taken;
use super::models::Level;
use super::values::NONE;
use super::watch::Watch;
use crate::budget::{Budget, Exhausted};

/// How many of the last transactions have their dependencies kept, at least. Twice as many are kept at most.
const KEPT: usize = 1 << 17;

/// How many steps it may take to keep the dependencies in order: so many, and for each transaction so many. Where they often point
/// far back (a replica that stays behind), what is kept is little then, rather than each event dear.
const STEPS: u64 = 1 << 20;
const STEPS_EACH: u64 = 1 << 6;

/// How many appends of a key that later lists do not show are followed.
const UNREAD_MAX: usize = 64;

/// The position of a committed append that no list shows: behind all that there are.
const BEHIND: u32 = NONE - 1;

/// An append, by its element.
struct Append {
    code: u32,
    transaction: u32,
    /// Where the key's longest list shows it; or [`BEHIND`] it, or `NONE`.
    position: u32,
}

/// What is known of a key.
#[derive(Default)]
struct Key {
    /// Ascending by element.
    appends: Vec<Append>,
    /// Who wrote each version, or `NONE`.
    writers: Vec<u32>,
    /// By length of a list: who first read so much and then appended, or `NONE`.
    updates: Vec<u32>,
    /// Who appended what no list shows, with the element. Since the last longer list, it may have been shown.
    unread: Vec<(u32, u32)>,
    /// A relay that leads to all of these, plus one.
    to_unread: u32,
    /// A relay to which all lead who read the longest list, plus one.
    of_readers: u32,
    /// The last of these, plus one.
    reader: u32,
    /// An element was appended twice, so that nothing is known.
    is_ambiguous: bool,
}

impl Key {
    fn find(&self, code: u32) -> Result<usize, usize> {
        self.appends
            .binary_search_by_key(&code, |append| append.code)
    }

    /// The position of an append.
    fn place(&self, code: u32) -> u32 {
        self.find(code).map_or(NONE, |at| self.appends[at].position)
    }
}

/// Follows a history.
pub(super) struct Online {
    level: &'static Level,
    watch: Watch,
    keys: Vec<Key>,
    /// By transaction.
    vertex: Vec<u32>,
    /// By transaction: whether it took effect, as far as anyone knows.
    committed: Vec<bool>,
    /// By process: its last transaction that is `ok`.
    last: Vec<u32>,
    /// Transactions that are `ok` and ended since the last moment.
    ended: Vec<u32>,
    /// The relay of the last moment at which a transaction began after others had ended, plus one.
    moment: u32,
    /// The transactions from here on have their dependencies kept.
    kept: usize,
    /// How many are kept at least.
    kept_min: usize,
    /// Bytes of what keys have.
    key_bytes: usize,
    suspects: bool,
}

impl Online {
    pub(super) fn of(level: &'static Level) -> Online {
        Online::keeping(KEPT, level)
    }

    fn keeping(kept_min: usize, level: &'static Level) -> Online {
        Online {
            kept_min,
            level,
            watch: Watch::of(level),
            keys: Vec::new(),
            vertex: Vec::new(),
            committed: Vec::new(),
            last: Vec::new(),
            ended: Vec::new(),
            moment: 0,
            kept: 0,
            key_bytes: 0,
            suspects: false,
        }
    }

    /// Takes in what an event has changed. Whether there is a suspicion.
    pub(super) fn follow(
        &mut self,
        all: &Transactions,
        taken: Taken,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        self.suspects = false;
        self.keys.resize_with(all.keys.len(), Key::default);
        self.last.resize(all.processes.len(), NONE);
        let (Taken::Begun(transaction) | Taken::Ended(transaction)) = taken;
        if transaction as usize == self.vertex.len() {
            self.begin(all, transaction, budget)?;
        }
        if let Taken::Ended(transaction) = taken {
            self.end(all, transaction, budget)?;
        }
        let count = self.vertex.len();
        if count - self.kept >= 2 * self.kept_min {
            self.forget(count - self.kept_min);
        } else if self.watch.steps() > STEPS + STEPS_EACH * (count - self.kept) as u64 {
            self.forget(count - 1);
        }
        Ok(self.suspects)
    }

    /// Forgets the dependencies of transactions before one.
    fn forget(&mut self, before: usize) {
        self.kept = before;
        self.watch.forget(self.vertex[before]);
    }

    fn suspect(&mut self, anomaly: Anomaly) {
        self.suspects |= self.level.rules_out(anomaly);
    }

    /// An edge between vertices.
    fn edge(
        &mut self,
        from: u32,
        to: u32,
        relation: u8,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.suspects |= self.watch.edge(from, to, relation, budget)?;
        Ok(())
    }

    /// That a transaction comes before another.
    fn before(
        &mut self,
        from: u32,
        to: u32,
        relation: u8,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        match from {
            NONE => Ok(()),
            from => self.edge(
                self.vertex[from as usize],
                self.vertex[to as usize],
                relation,
                budget,
            ),
        }
    }

    fn begin(
        &mut self,
        all: &Transactions,
        transaction: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let vertex = self.watch.vertex();
        self.vertex.push(vertex);
        self.committed.push(false);
        let process = all.process[transaction as usize] as usize;
        self.before(self.last[process], transaction, PROCESS, budget)?;
        if self.watch.heeds(REALTIME) && all.invoke[transaction as usize] != NONE {
            if !self.ended.is_empty() {
                let before = std::mem::replace(&mut self.moment, self.watch.vertex() + 1);
                if before != 0 {
                    self.edge(before - 1, self.moment - 1, HOP, budget)?;
                }
                for ended in std::mem::take(&mut self.ended) {
                    self.edge(
                        self.vertex[ended as usize],
                        self.moment - 1,
                        REALTIME,
                        budget,
                    )?;
                }
            }
            if self.moment != 0 {
                self.edge(self.moment - 1, vertex, HOP, budget)?;
            }
        }
        self.index(all, transaction);
        Ok(())
    }

    /// Notes who appends what.
    fn index(&mut self, all: &Transactions, transaction: u32) {
        for (_, number, code) in all.writes(transaction) {
            let key = &mut self.keys[number as usize];
            match key.find(code) {
                Ok(at) => key.is_ambiguous |= key.appends[at].transaction != transaction,
                Err(at) => {
                    let append = Append {
                        code,
                        transaction,
                        position: NONE,
                    };
                    key.appends.insert(at, append);
                    self.key_bytes += size_of::<Append>() * 3 / 2;
                }
            }
        }
    }

    fn end(
        &mut self,
        all: &Transactions,
        transaction: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        // It may have ended otherwise than it began.
        self.index(all, transaction);
        match all.outcome[transaction as usize] {
            Outcome::Ok => self.ok(all, transaction, budget),
            Outcome::Fail => {
                let seen = |(_, key, code): (u32, u32, u32)| self.position(key, code).is_some();
                if all.writes(transaction).any(seen) {
                    self.suspect(Anomaly::G1a);
                }
                Ok(())
            }
            Outcome::Info => Ok(()),
        }
    }

    /// Where an append stands in its key's longest list, if that shows it.
    fn position(&self, key: u32, code: u32) -> Option<u32> {
        let place = self.keys[key as usize].place(code);
        (place < BEHIND).then_some(place)
    }

    fn is_committed(&self, all: &Transactions, writer: u32) -> bool {
        writer != NONE
            && self.committed[writer as usize]
            && all.outcome[writer as usize] != Outcome::Fail
    }

    fn ok(
        &mut self,
        all: &Transactions,
        transaction: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        for (_, key, _) in all.reads(transaction) {
            self.extend(all, key, budget)?;
        }
        // Of one that was read while it was open, the appends are known.
        let is_known = std::mem::replace(&mut self.committed[transaction as usize], true);
        if !is_known {
            self.follow_last(all, transaction, budget)?;
        }
        let mut first: Vec<(u32, Seen)> = Vec::new();
        for (read, key, seen) in all.reads(transaction) {
            if all.torn.contains(&read) {
                self.suspect(Anomaly::UnseenOwnWrite);
            }
            if first.iter().any(|one| one.0 == key && one.1 != seen) {
                self.suspect(Anomaly::Internal);
            }
            let is_first = first.iter().all(|one| one.0 != key);
            if is_first {
                first.push((key, seen));
            }
            if self.keys[key as usize].is_ambiguous {
                continue;
            }
            match seen {
                Seen::Prefix(length) => {
                    self.scan(all, transaction, read, key, length);
                    if is_first {
                        self.update(all, transaction, read, key, length);
                    }
                    self.read(all, transaction, key, length, budget)?;
                }
                Seen::Odd(_) => {
                    self.suspect(Anomaly::IncompatibleOrder);
                    self.suspect(Anomaly::CyclicVersions);
                }
                Seen::Unknown => {}
            }
        }
        // Only now, so that it does not come before itself.
        for (key, seen) in first {
            self.join_readers(transaction, key, seen, budget)?;
        }
        if !is_known {
            self.join_unread(all, transaction, budget)?;
        }
        if self.watch.heeds(REALTIME) {
            self.ended.push(transaction);
        }
        self.last[all.process[transaction as usize] as usize] = transaction;
        Ok(())
    }

    /// Takes in what a key's longest list shows more than before.
    fn extend(
        &mut self,
        all: &Transactions,
        number: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let order = &all.keys[number as usize].order;
        let known = self.keys[number as usize].writers.len();
        if known == order.len() || self.keys[number as usize].is_ambiguous {
            return Ok(());
        }
        let mut last = self.last_committed(all, number, known);
        let (mut is_longer, mut latest) = (false, 0);
        for (position, code) in (known as u32..).zip(&order[known..]) {
            let key = &mut self.keys[number as usize];
            self.key_bytes += 8 * 3 / 2;
            let Ok(at) = key.find(*code) else {
                key.writers.push(NONE);
                continue;
            };
            let writer = key.appends[at].transaction;
            key.writers.push(writer);
            let before = std::mem::replace(&mut key.appends[at].position, position);
            let of_readers = key.of_readers;
            if before < BEHIND {
                self.suspect(Anomaly::DuplicateElements);
            }
            if all.outcome[writer as usize] == Outcome::Fail {
                self.suspect(Anomaly::G1a);
                continue;
            }
            self.observe(all, writer, budget)?;
            if last != writer {
                self.before(last, writer, WW, budget)?;
            }
            // All others who read the list before this append come before it. Of one that was known they do already.
            if !is_longer && before == NONE && of_readers != 0 {
                self.edge(of_readers - 1, self.vertex[writer as usize], HOP, budget)?;
            }
            is_longer = true;
            last = writer;
            if all.invoke[writer as usize] != NONE {
                latest = latest.max(all.invoke[writer as usize]);
            }
        }
        if is_longer {
            self.begin_again(all, number, last, latest, budget)?;
        }
        Ok(())
    }

    /// A transaction that has not ended `ok` was read.
    fn observe(
        &mut self,
        all: &Transactions,
        writer: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        match std::mem::replace(&mut self.committed[writer as usize], true) {
            true => Ok(()),
            false => {
                self.follow_last(all, writer, budget)?;
                self.join_unread(all, writer, budget)
            }
        }
    }

    /// Appends that a longer list still does not show come after that. `latest` is when the last of those began that it shows.
    fn begin_again(
        &mut self,
        all: &Transactions,
        number: u32,
        last: u32,
        latest: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let key = &mut self.keys[number as usize];
        (key.to_unread, key.of_readers, key.reader) = (0, 0, 0);
        let mut unread = std::mem::take(&mut key.unread);
        unread.retain(|(_, code)| key.place(*code) == BEHIND);
        unread.drain(..unread.len().saturating_sub(UNREAD_MAX));
        key.unread = unread;
        for at in 0..key.unread.len() {
            let (writer, _) = self.keys[number as usize].unread[at];
            if all.is_ok(writer) && all.complete[writer as usize] < latest {
                self.suspect(Anomaly::LostAppend);
            }
            if writer != last {
                self.before(last, writer, WW, budget)?;
            }
            self.relay_to(number, writer, budget)?;
        }
        Ok(())
    }

    /// Whoever reads all of a key's list from now on comes before an append.
    fn relay_to(&mut self, number: u32, writer: u32, budget: &dyn Budget) -> Result<(), Exhausted> {
        if !self.watch.heeds(RW) {
            return Ok(());
        }
        let relay = self.watch.vertex();
        let older = std::mem::replace(&mut self.keys[number as usize].to_unread, relay + 1);
        if older != 0 {
            self.edge(relay, older - 1, HOP, budget)?;
        }
        self.edge(relay, self.vertex[writer as usize], HOP, budget)
    }

    /// The last committed writer of the first so many versions.
    fn last_committed(&self, all: &Transactions, key: u32, length: usize) -> u32 {
        let writers = self.keys[key as usize].writers[..length].iter().rev();
        let committed = |writer: &&u32| self.is_committed(all, **writer);
        writers
            .copied()
            .find(|writer| committed(&writer))
            .unwrap_or(NONE)
    }

    /// The appends of a transaction that no list shows: number, key and element.
    fn unread<'a>(
        &'a self,
        all: &'a Transactions,
        transaction: u32,
    ) -> impl Iterator<Item = (u32, u32)> + 'a {
        let appends = all.writes(transaction).map(|(_, key, code)| (key, code));
        appends.filter(|(key, code)| {
            self.position(*key, *code).is_none() && !self.keys[*key as usize].is_ambiguous
        })
    }

    /// Its appends come after the longest lists, and after who read all of these.
    fn follow_last(
        &mut self,
        all: &Transactions,
        transaction: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let vertex = self.vertex[transaction as usize];
        let unread: Vec<(u32, u32)> = self.unread(all, transaction).collect();
        for (key, _) in unread {
            let length = self.keys[key as usize].writers.len();
            let last = self.last_committed(all, key, length);
            if last != transaction {
                self.before(last, transaction, WW, budget)?;
            }
            let of_readers = self.keys[key as usize].of_readers;
            if of_readers != 0 {
                self.edge(of_readers - 1, vertex, HOP, budget)?;
            }
        }
        Ok(())
    }

    /// Its appends are there for who reads all of their keys' lists from now on.
    fn join_unread(
        &mut self,
        all: &Transactions,
        transaction: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let unread: Vec<(u32, u32)> = self.unread(all, transaction).collect();
        for (key, code) in unread {
            let of_key = &mut self.keys[key as usize];
            of_key.unread.push((transaction, code));
            if let Ok(at) = of_key.find(code) {
                of_key.appends[at].position = BEHIND;
            }
            self.key_bytes += 12;
            self.relay_to(key, transaction, budget)?;
        }
        Ok(())
    }

    /// It is among those who read all of a key's list, if it did.
    fn join_readers(
        &mut self,
        transaction: u32,
        number: u32,
        seen: Seen,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let key = &mut self.keys[number as usize];
        let is_whole = seen == Seen::Prefix(key.writers.len() as u32);
        let is_there = key.reader == transaction + 1;
        if !is_whole || is_there || key.is_ambiguous || !self.watch.heeds(RW) {
            return Ok(());
        }
        key.reader = transaction + 1;
        let relay = self.watch.vertex();
        let older = std::mem::replace(&mut key.of_readers, relay + 1);
        if older != 0 {
            self.edge(older - 1, relay, HOP, budget)?;
        }
        self.edge(self.vertex[transaction as usize], relay, RW, budget)
    }

    /// What a read depends on, and what depends on it.
    fn read(
        &mut self,
        all: &Transactions,
        reader: u32,
        number: u32,
        length: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let last = self.last_committed(all, number, length as usize);
        if last != reader {
            self.before(last, reader, WR, budget)?;
        }
        let after = &self.keys[number as usize].writers[length as usize..];
        let next = after
            .iter()
            .copied()
            .find(|writer| self.is_committed(all, *writer));
        if let Some(next) = next {
            return match next == reader {
                true => Ok(()),
                false => self.miss(all, reader, next, budget),
            };
        }
        let to_unread = self.keys[number as usize].to_unread;
        let vertex = self.vertex[reader as usize];
        let mut own = all.writes(reader).filter(|(_, of, _)| *of == number);
        let is_among = own.any(|(_, _, code)| self.keys[number as usize].place(code) == BEHIND);
        if to_unread != 0 && self.watch.keeps(to_unread - 1) && !is_among {
            return self.edge(vertex, to_unread - 1, RW, budget);
        }
        for at in 0..self.keys[number as usize].unread.len() {
            let (writer, _) = self.keys[number as usize].unread[at];
            if writer != reader {
                self.miss(all, reader, writer, budget)?;
            }
        }
        Ok(())
    }

    /// That a reader did not see an append.
    fn miss(
        &mut self,
        all: &Transactions,
        reader: u32,
        writer: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        // Of what is forgotten, real time still knows.
        let begun = all.invoke[reader as usize];
        let is_late = begun != NONE && all.is_ok(writer) && all.complete[writer as usize] < begun;
        if is_late && self.watch.heeds(REALTIME) && self.watch.heeds(RW) {
            self.suspects = true;
        }
        self.before(reader, writer, RW, budget)
    }

    /// What a read shows that is at odds with its own transaction or with the writer of what it read last.
    fn scan(&mut self, all: &Transactions, reader: u32, read: u32, key: u32, length: u32) {
        let is_torn = all.torn.contains(&read);
        for (append, _, code) in all.writes(reader).filter(|(_, of, _)| *of == key) {
            if self
                .position(key, code)
                .is_none_or(|position| position >= length)
            {
                continue;
            }
            if append > read {
                self.suspect(Anomaly::FutureRead);
            } else if !is_torn {
                self.suspect(Anomaly::DuplicateElements);
            }
        }
        let Some(at) = length.checked_sub(1) else {
            return;
        };
        let writer = self.keys[key as usize].writers[at as usize];
        if writer == NONE || writer == reader {
            return;
        }
        let mut appends = all.writes(writer).rev().filter(|(_, of, _)| *of == key);
        let last = appends.next().map(|(_, _, code)| code);
        if last != Some(all.keys[key as usize].order[at as usize]) {
            self.suspect(Anomaly::G1b);
        }
    }

    /// Whether somebody else read the same version of a key and appended to it.
    fn update(&mut self, all: &Transactions, transaction: u32, read: u32, key: u32, length: u32) {
        let mut before = all.mops(transaction).take_while(|(at, _)| *at < read);
        let is_first = before.all(|(_, mop)| mop.key() != key);
        if !is_first || !all.writes(transaction).any(|(_, of, _)| of == key) {
            return;
        }
        let updates = &mut self.keys[key as usize].updates;
        if updates.len() <= length as usize {
            updates.resize(length as usize + 1, NONE);
        }
        let first = std::mem::replace(&mut updates[length as usize], transaction);
        if first != NONE && first != transaction {
            self.suspect(Anomaly::LostUpdate);
        }
    }

    /// How many bytes all that is kept takes, about.
    pub(super) fn bytes(&self) -> usize {
        let columns = self.vertex.capacity() * 5 + self.last.len() * 4;
        columns + self.keys.len() * size_of::<Key>() + self.key_bytes + self.watch.bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use store::{Event, EventType, Process};

    use super::super::evidence::Objects;
    use super::super::intake::Intake;
    use super::super::models::find;
    use super::*;
    use crate::budget::Unlimited;

    struct Followed {
        intake: Intake,
        online: Online,
        events: u64,
    }

    impl Followed {
        fn new(kept: usize, level: &str) -> Followed {
            Followed {
                intake: Intake::of(Objects::Lists),
                online: Online::keeping(kept, find(level).unwrap()),
                events: 0,
            }
        }

        fn event(&mut self, process: u64, kind: EventType, value: Value) -> bool {
            let event = Event {
                index: self.events,
                time: 0,
                process: Process::Client(process),
                kind,
                f: "txn".into(),
                key: None,
                value,
                error: None,
                node: None,
            };
            self.events += 1;
            let taken = self.intake.take(&event, process).unwrap();
            let all = &self.intake.transactions;
            self.online.follow(all, taken, &Unlimited).unwrap()
        }

        fn transaction(&mut self, process: u64, asked: Value, told: Value) -> bool {
            let begun = self.event(process, EventType::Invoke, asked);
            begun | self.event(process, EventType::Ok, told)
        }

        /// Transactions one after another that append to a key and read it; keys retire after ten.
        fn serial(&mut self, count: u64) {
            for at in 0..count {
                let key = at / 10;
                let list: Vec<u64> = (key * 10..at).collect();
                let asked = json!([["r", key, null], ["append", key, at], ["append", "odd", at]]);
                let told = json!([["r", key, list], ["append", key, at], ["append", "odd", at]]);
                assert!(!self.transaction(at % 3, asked, told), "{at}");
            }
        }
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_history() {
        for level in ["strict-serializable", "snapshot-isolation"] {
            let mut most = [0; 2];
            for (most, count) in most.iter_mut().zip([300, 3000]) {
                let mut followed = Followed::new(50, level);
                followed.serial(count);
                *most = followed.online.watch.bytes();
            }
            assert!(most[1] < 2 * most[0], "{most:?}");
        }
    }

    #[test]
    fn a_reader_that_stays_behind_is_not_dear() {
        let mut followed = Followed::new(KEPT, "serializable");
        for at in 0..4000 {
            let append = json!([["append", "x", at]]);
            assert!(!followed.transaction(0, append.clone(), append));
            let read = json!([["r", "x", []], ["append", "y", at]]);
            assert!(!followed.transaction(1, json!([["r", "x", null], ["append", "y", at]]), read));
        }
        assert!(followed.online.kept > 1000);
        assert!(followed.online.watch.steps() < 2 * STEPS);
    }

    #[test]
    fn real_time_still_knows_what_was_forgotten() {
        for (level, expected) in [("strict-serializable", true), ("serializable", false)] {
            let mut followed = Followed::new(50, level);
            followed.serial(500);
            let first = followed.online.vertex[20];
            assert!(!followed.online.watch.keeps(first));
            // A list of which the second half was appended long ago.
            let (asked, told) = (json!([["r", 2, null]]), json!([["r", 2, [20, 21, 22]]]));
            assert_eq!(followed.transaction(1, asked, told), expected, "{level}");
        }
    }
}
