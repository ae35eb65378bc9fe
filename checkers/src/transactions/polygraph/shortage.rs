//! Contradictions that no order needs to be tried for: there is not enough of what was read.
//!
//! Where several transactions wrote the same value, a read of it may be of any of them, and trying all ways is exponential. Two
//! things can be counted instead:
//!
//! - *Too few versions.* Who reads a version of a key and then writes the key overwrites that very version (under serializability, as
//!   nothing is in between; under snapshot isolation, as writers of a key exclude each other). So no two such readers saw the same
//!   version. Five that turned 1 into 2 need five writes of 1. This is a matching of readers to versions, and where it fails some readers
//!   have fewer versions between them than they are (Hall 1935); augmenting paths (Kuhn 1955) find the matching or these readers.
//! - *No beginning.* Some transactions read only from each other, so each begins after another has committed. None can have begun first.
//!
//! For a single key on which all transactions read and then write, without sessions and real time, this is all that can go wrong: where
//! there are enough versions, and all are reached from the initial one, the transactions are an Eulerian trail through the values.

use rustc_hash::FxHashMap;

use super::level::Model;
use super::observations::INITIAL;
use super::problem::Problem;
use crate::budget::{Budget, Exhausted};

/// Reads that are impossible together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// Each is by a transaction that also wrote the key, and they have fewer candidates than they are.
    Versions(Vec<u32>),
    /// All candidates are readers of these.
    Beginning(Vec<u32>),
}

impl Shortage {
    pub(super) fn reads(&self) -> &[u32] {
        match self {
            Shortage::Versions(reads) | Shortage::Beginning(reads) => reads,
        }
    }
}

/// A shortage, where reads may have seen what is left to each.
pub(super) fn find<'a>(
    problem: &Problem<'_>,
    left: &dyn Fn(u32) -> &'a [u32],
    budget: &dyn Budget,
) -> Result<Option<Shortage>, Exhausted> {
    let reads = 0..problem.reader.len() as u32;
    let mut open = vec![false; problem.keys as usize];
    for read in reads.filter(|read| left(*read).len() > 1) {
        open[problem.seen.key(read as usize) as usize] = true;
    }
    if !open.contains(&true) {
        return Ok(None);
    }
    if problem.level.model != Model::Prefix {
        for key in (0..problem.keys).filter(|key| open[*key as usize]) {
            if let Some(reads) = too_few(problem, key, left, budget)? {
                return Ok(Some(Shortage::Versions(reads)));
            }
        }
    }
    Ok(without_beginning(problem, left, budget)?.map(Shortage::Beginning))
}

/// Readers that wrote the key too, and have fewer versions between them than they are.
fn too_few<'a>(
    problem: &Problem<'_>,
    key: u32,
    left: &dyn Fn(u32) -> &'a [u32],
    budget: &dyn Budget,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let mut updates: Vec<u32> = problem.reads.of_list(key).to_vec();
    updates.retain(|read| problem.writes_too(*read));
    updates.dedup_by_key(|read| problem.reader[*read as usize]);
    // Whose each version is, and which each reader has.
    let mut taken: FxHashMap<u32, u32> = FxHashMap::default();
    let mut has: FxHashMap<u32, u32> = FxHashMap::default();
    for read in &updates {
        budget.check()?;
        // By version: from which read it was reached.
        let mut reached: FxHashMap<u32, u32> = FxHashMap::default();
        let mut queue = vec![*read];
        let (mut at, mut free) = (0, None);
        while at < queue.len() && free.is_none() {
            for version in left(queue[at]) {
                if reached.contains_key(version) {
                    continue;
                }
                reached.insert(*version, queue[at]);
                match taken.get(version) {
                    Some(other) => queue.push(*other),
                    None => {
                        free = Some(*version);
                        break;
                    }
                }
            }
            at += 1;
        }
        let Some(mut version) = free else {
            queue.sort_unstable();
            return Ok(Some(queue));
        };
        // Each on the way gives up what it had for what it reached.
        while let Some(reader) = reached.get(&version).copied() {
            taken.insert(version, reader);
            match has.insert(reader, version) {
                Some(had) => version = had,
                None => break,
            }
        }
    }
    Ok(None)
}

/// Reads each of whose candidates is a reader of one of them.
fn without_beginning<'a>(
    problem: &Problem<'_>,
    left: &dyn Fn(u32) -> &'a [u32],
    budget: &dyn Budget,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let count = problem.seen.len() as usize;
    let mut is_founded = vec![false; problem.reader.len()];
    let mut missing: Vec<usize> = (0..problem.seen.len())
        .map(|one| problem.seen.reads(one).len())
        .collect();
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); count];
    let mut queue: Vec<u32> = (0..count as u32)
        .filter(|one| missing[*one as usize] == 0)
        .collect();
    for read in 0..problem.reader.len() as u32 {
        if read.is_multiple_of(1 << 10) {
            budget.check()?;
        }
        for candidate in left(read) {
            if *candidate == INITIAL {
                found(read, problem, &mut is_founded, &mut missing, &mut queue);
            } else {
                readers[*candidate as usize].push(read);
            }
        }
    }
    let mut at = 0;
    while at < queue.len() {
        for read in std::mem::take(&mut readers[queue[at] as usize]) {
            found(read, problem, &mut is_founded, &mut missing, &mut queue);
        }
        at += 1;
    }
    let unfounded = |one: u32| {
        let mut reads = problem.seen.reads(one).map(|read| read as u32);
        reads.find(|read| !is_founded[*read as usize])
    };
    let Some(first) = (0..count as u32).find_map(unfounded) else {
        return Ok(None);
    };
    // Of these, as many as follow from one of them.
    let mut reads = vec![first];
    let mut at = 0;
    while at < reads.len() {
        let before: Vec<u32> = left(reads[at])
            .iter()
            .filter_map(|one| unfounded(*one))
            .collect();
        let new = before.into_iter().filter(|read| !reads.contains(read));
        let new: Vec<u32> = new.collect();
        reads.extend(new);
        at += 1;
    }
    reads.sort_unstable();
    reads.dedup();
    Ok(Some(reads))
}

/// Takes in that a read may be of something that has a beginning.
fn found(
    read: u32,
    problem: &Problem<'_>,
    is_founded: &mut [bool],
    missing: &mut [usize],
    queue: &mut Vec<u32>,
) {
    if !std::mem::replace(&mut is_founded[read as usize], true) {
        let reader = problem.reader[read as usize];
        missing[reader as usize] -= 1;
        if missing[reader as usize] == 0 {
            queue.push(reader);
        }
    }
}
