//! Whether an order of moments explains what was observed: the store replayed, and nothing else.

use super::level::{Model, Respects};
use super::observations::{INITIAL, Observations};
use super::{Level, Moment, NONE};

/// Whether every read sees what it saw, where the moments take place in this order, and the order respects what the level asks
/// for. Linear in the history.
pub fn explains(seen: &Observations, level: Level, order: &[Moment]) -> bool {
    let count = seen.len() as usize;
    let split = level.model != Model::Serializable;
    let mut begun = vec![NONE; count];
    let mut committed = vec![NONE; count];
    let mut current = vec![INITIAL; seen.keys() as usize];
    let mut lists = Lists::of(seen);
    let mut replay = |at: u32, moment: Moment| -> bool {
        let (Moment::Begin(one) | Moment::Commit(one)) = moment;
        let Some(state) = begun.get(one as usize).copied() else {
            return false;
        };
        if matches!(moment, Moment::Begin(_)) && !split {
            return false;
        }
        if matches!(moment, Moment::Begin(_)) || !split {
            if state != NONE {
                return false;
            }
            begun[one as usize] = at;
            let sees = |read: usize| {
                seen.candidates(read)
                    .contains(&current[seen.key(read) as usize])
            };
            if !seen.reads(one).all(sees) || !lists.show(one) {
                return false;
            }
        }
        if matches!(moment, Moment::Commit(_)) {
            let begin = begun[one as usize];
            if begin == NONE || committed[one as usize] != NONE {
                return false;
            }
            committed[one as usize] = at;
            for key in seen.writes(one) {
                let before = std::mem::replace(&mut current[*key as usize], one);
                let overlaps = before != INITIAL && committed[before as usize] > begin;
                if level.model == Model::SnapshotIsolation && overlaps {
                    return false;
                }
            }
            if !lists.append(one) {
                return false;
            }
        }
        true
    };
    let possible = (0..).zip(order).all(|(at, moment)| replay(at, *moment));
    let whole = committed.iter().all(|at| *at != NONE);
    possible && whole && respects(seen, level.respects, &begun, &committed)
}

/// What has been appended to keys whose writes have places.
struct Lists<'a> {
    seen: &'a Observations,
    /// By key, the places that there are, ascending.
    places: Vec<Vec<u32>>,
    /// By key, how many writes there have been, and the place of the last.
    done: Vec<(usize, u32)>,
}

impl<'a> Lists<'a> {
    fn of(seen: &'a Observations) -> Lists<'a> {
        let keys = if seen.has_places() { seen.keys() } else { 0 };
        let mut places = vec![Vec::new(); keys as usize];
        for one in (0..seen.len()).filter(|_| keys > 0) {
            for (key, place) in seen.placed(one) {
                places[*key as usize].push(*place);
            }
        }
        places.iter_mut().for_each(|places| places.sort_unstable());
        Lists {
            seen,
            places,
            done: vec![(0, 0); keys as usize],
        }
    }

    /// Whether a transaction that begins now is shown what it was shown: all up to a place, and no more.
    fn show(&self, one: u32) -> bool {
        self.seen.shown(one).iter().all(|(key, length)| {
            let places = &self.places[*key as usize];
            let all = places.partition_point(|place| place <= length);
            // Its own is not there yet.
            let own = usize::from(self.seen.place(one, *key) <= *length);
            self.done[*key as usize].0 == all - own
        })
    }

    /// Whether what a transaction appends comes in its place.
    fn append(&mut self, one: u32) -> bool {
        if self.done.is_empty() {
            return true;
        }
        self.seen.writes(one).iter().all(|key| {
            let place = self.seen.place(one, *key);
            let (count, last) = &mut self.done[*key as usize];
            let in_order = *last < place || *last == NONE && place == NONE;
            (*count, *last) = (*count + 1, place);
            in_order
        })
    }
}

/// Whether moments are in the order of sessions, and of real time.
fn respects(seen: &Observations, what: Respects, begun: &[u32], committed: &[u32]) -> bool {
    if what == Respects::Nothing {
        return true;
    }
    let mut last = std::collections::BTreeMap::new();
    for (one, session) in seen
        .session
        .iter()
        .enumerate()
        .filter(|(_, session)| **session != NONE)
    {
        let before = last.get(session).copied();
        if !seen.open[one] {
            last.insert(*session, committed[one]);
        }
        if before.is_some_and(|before| before >= begun[one]) {
            return false;
        }
    }
    if what == Respects::Sessions {
        return true;
    }
    // Nobody commits later than the latest commit of those that ended before a begin.
    let mut events: Vec<(u32, bool, usize)> = Vec::new();
    for one in 0..begun.len() {
        events.extend((seen.begin[one] != NONE).then_some((seen.begin[one], false, one)));
        events.extend((seen.end[one] != NONE).then_some((seen.end[one], true, one)));
    }
    events.sort_unstable();
    let mut latest = None;
    events.into_iter().all(|(_, ends, one)| {
        if ends {
            latest = latest.max(Some(committed[one]));
            return true;
        }
        latest.is_none_or(|latest| latest < begun[one])
    })
}
