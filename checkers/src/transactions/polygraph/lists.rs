//! Lists: what their reads show of the order of appends.
//!
//! The appends of a list that some read shows have places in its order, and those that none shows come after them, in an order that
//! nobody knows. A reader of so many places comes after who appended there, and before all others:
//!
//! | moments | when |
//! | --- | --- |
//! | `Cw` < `Br` | `r` was shown the place of `w` |
//! | `Br` < `Cw` | it was not |
//! | `Cv` < `Bw` (prefix: `Cv` < `Cw`) | `v` has a place before that of `w`, or `w` has none |
//!
//! Of those, only neighbours become edges, and readers of everything that has a place lead to who has none through the key's relay.
//! The order of those that have none is free, but that under snapshot isolation they exclude each other.

use super::NONE;
use super::derive::Names;
use super::problem::{BeforeAll, Problem};
use super::proof::Reason;

/// The writers of a key whose places are known, by place.
fn placed(problem: &Problem<'_>, key: u32) -> Vec<(u32, u32)> {
    let writers = problem.writers.of_list(key).iter();
    let places = writers.map(|one| (problem.seen.place(*one, key), *one));
    let mut placed: Vec<(u32, u32)> = places.filter(|(place, _)| *place != NONE).collect();
    placed.sort_unstable();
    placed
}

/// Everything that reads of lists show, in edges of which there are as many as reads and writes. The relay of a key is the point
/// `first_relay + key`.
pub(super) fn each_edge(problem: &Problem<'_>, first_relay: u32, add: &mut impl FnMut(u32, u32)) {
    let seen = problem.seen;
    let mut shown: Vec<(u32, u32, u32)> = Vec::new();
    for one in 0..seen.len() {
        let lists = seen.shown(one).iter();
        shown.extend(lists.map(|(key, length)| (*key, *length, one)));
    }
    shown.sort_unstable();
    let mut readers = shown.as_slice();
    for key in 0..problem.keys {
        let (mine, rest) = readers.split_at(readers.partition_point(|(of, ..)| *of <= key));
        readers = rest;
        let placed = placed(problem, key);
        if placed.is_empty() && mine.is_empty() {
            continue;
        }
        let writers = problem.writers.of_list(key).iter().copied();
        let last: Vec<u32> = writers
            .filter(|one| seen.place(*one, key) == NONE)
            .collect();
        for pair in placed.windows(2) {
            add(problem.commit(pair[0].1), problem.enter(pair[1].1));
        }
        if let Some((_, before)) = placed.last() {
            last.iter()
                .for_each(|one| add(problem.commit(*before), problem.enter(*one)));
        }
        let mut before_last = BeforeAll::of(&last, first_relay + key);
        for (_, length, reader) in mine {
            let reader = *reader;
            let known = placed.partition_point(|(place, _)| place <= length);
            let mut before = placed[..known].iter().rev();
            if let Some((_, writer)) = before.find(|(_, one)| *one != reader) {
                add(problem.commit(*writer), problem.begin(reader));
            }
            let mut after = placed[known..].iter();
            if let Some((_, writer)) = after.find(|(_, one)| *one != reader) {
                add(problem.begin(reader), problem.commit(*writer));
            } else {
                let is_among = !problem.split() && last.contains(&reader);
                before_last.reader(problem, reader, is_among, add);
            }
        }
        before_last.end(problem, add);
    }
}

/// The same of few transactions, one by one, with the reason of each.
pub(super) fn each_link(problem: &Problem<'_>, names: &Names<'_>) -> Vec<(u32, u32, Reason)> {
    let seen = problem.seen;
    let mut links = Vec::new();
    for reader in 0..seen.len() {
        let outside = names.seen.shown(names.transactions[reader as usize]);
        for ((inside, length), (key, _)) in seen.shown(reader).iter().zip(outside) {
            for writer in problem.writers.of_list(*inside).iter().copied() {
                let (begin, commit) = (problem.begin(reader), problem.commit(writer));
                match seen.place(writer, *inside) <= *length {
                    _ if writer == reader => {}
                    true => links.push((commit, begin, Reason::Shows { key: *key })),
                    false => links.push((begin, commit, Reason::Lacks { key: *key })),
                }
            }
        }
    }
    for first in 0..seen.len() {
        let outside = names.seen.placed(names.transactions[first as usize]);
        for ((inside, place), (key, _)) in seen.placed(first).iter().zip(outside) {
            for second in problem.writers.of_list(*inside).iter().copied() {
                if second != first && *place < seen.place(second, *inside) {
                    let (from, to) = (problem.commit(first), problem.enter(second));
                    links.push((from, to, Reason::Ordered { key: *key }));
                }
            }
        }
    }
    links
}
