//! What is known of the order of versions.
//!
//! Nobody shows it, so it is inferred, and each source can be had or not:
//!
//! - The initial version is the first.
//! - *Writes follow reads:* who reads a version and then writes the key comes after it. This holds from read committed on,
//!   where nobody reads what comes later.
//! - *Sequential keys*, if asked for: each key alone is sequentially consistent, so a process sees its versions in order.
//! - *Linearizable keys*, if asked for: each key alone is linearizable, so real time orders its versions.
//! - *Given versions*, if asked for: the database says it ([`Given`]). That goes before what writes say that follow reads.
//!
//! Sequential and linearizable keys are assumptions about the system. Where they contradict what was seen of a key, that is an anomaly
//! (`cyclic-versions`), and nothing more is inferred from them for that key.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::components::{components, groups};
use super::super::graph::{Graph, Sink, WW};
use super::super::history::Transactions;
use super::super::values::NONE;
use super::Assumptions;
use super::given::{Given, Said};
use super::versions::{INITIAL, Past, Versions};
use crate::budget::{Budget, Exhausted};

/// How many transactions or keys pass between two looks at the budget.
const LOOK: u32 = 1 << 14;

/// Why a transaction's version of a key follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It read the other before it wrote its own.
    Followed,
    /// Two transactions had the one and then the other, in the order of their process.
    Sequential(u32, u32),
    /// Two transactions had the one and then the other, in real time.
    Linearizable(u32, u32),
    /// The database said it.
    Given,
}

/// That a version is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) version: u32,
    /// Who wrote that; `NONE` if it is not known, or not committed.
    pub(super) transaction: u32,
    pub(super) why: Why,
}

/// What is known of the order of versions.
pub(super) struct Order {
    /// By version, where what follows it begins in `next`; one more at the end.
    offset: Vec<u32>,
    /// Ascending by transaction.
    next: Vec<Next>,
    /// By key, where the transactions that follow the initial version begin in `first`; one more at the end.
    first_offset: Vec<u32>,
    /// Ascending. Who follows one of these is left out.
    first: Vec<u32>,
    /// Versions that several transactions read and then wrote, and these.
    pub(super) lost: Vec<(u32, Vec<u32>)>,
    /// Versions of a key that follow each other in a circle.
    pub(super) cyclic: Vec<Vec<u32>>,
    /// What is known of their keys.
    pub(super) around: Vec<(u32, Next)>,
    /// What the database says, if that is asked for.
    pub(super) given: Given,
    /// Whether all versions of all keys are in one order.
    pub(super) total: bool,
}

/// What a transaction did to a key: the version that it saw or made there first, and the last.
struct Touch {
    key: u32,
    transaction: u32,
    first: u32,
    last: u32,
}

/// A pair of versions of which the second follows the first.
type Pair = (u32, Next);

impl Order {
    pub(super) fn infer(
        all: &Transactions,
        versions: &Versions,
        assume: Assumptions,
        budget: &dyn Budget,
    ) -> Result<Order, Exhausted> {
        let mut pairs: Vec<Pair> = Vec::new();
        writes_follow_reads(all, versions, &mut pairs, budget)?;
        let lost = lost(versions, &pairs);
        if !assume.wfr_keys {
            pairs.clear();
        }
        let given = match assume.given_versions {
            true => Given::infer(all, versions, budget)?,
            false => Given::default(),
        };
        // Of these the database has said which comes first.
        let is_given = |version: u32| given.of(version).is_some();
        let from_given = |version: u32| versions.is_initial(version) || is_given(version);
        pairs.retain(|(from, next)| !from_given(*from) || !is_given(next.version));
        for key in 0..all.keys.len() as u32 {
            let chain = given.chain(key).windows(2);
            pairs.extend(chain.map(|pair| said(versions, pair[0], pair[1])));
        }
        let (mut cyclic, mut around) = (Vec::new(), Vec::new());
        if assume.sequential_keys || assume.linearizable_keys {
            let touches = touches(all, versions, budget)?;
            if assume.sequential_keys {
                sequential(all, versions, &touches, &mut pairs);
            }
            if assume.linearizable_keys {
                linearizable(all, versions, &touches, &mut pairs, budget)?;
            }
            cyclic = circles(versions, &pairs, budget)?;
            let broken: FxHashSet<u32> = cyclic
                .iter()
                .map(|circle| versions.key(circle[0]))
                .collect();
            let in_broken = pairs
                .iter()
                .filter(|(from, _)| broken.contains(&versions.key(*from)));
            around = in_broken.copied().collect();
            let followed = |next: &Next| next.why == Why::Followed;
            pairs.retain(|(from, next)| followed(next) || !broken.contains(&versions.key(*from)));
        }
        budget.charge(pairs.len() * 40 + versions.len() * 4)?;
        let (first_offset, first) = first(all, versions, &given);
        let mut this = Order {
            offset: Vec::new(),
            next: Vec::new(),
            first_offset,
            first,
            lost,
            cyclic,
            around,
            given,
            total: false,
        };
        this.total = this.is_total(all, versions, assume, &pairs);
        this.keep(versions, pairs);
        budget.check()?;
        Ok(this)
    }

    /// Sorts pairs by their first version, and then by transaction.
    fn keep(&mut self, versions: &Versions, mut pairs: Vec<Pair>) {
        let initial = |version: u32| versions.is_initial(version);
        pairs.retain(|(from, next)| !initial(*from) && next.transaction != NONE);
        pairs.sort_by_key(|(from, next)| (*from, next.transaction));
        pairs.dedup_by_key(|(from, next)| (*from, next.transaction));
        self.offset = vec![0; versions.len() + 1];
        for (from, _) in &pairs {
            self.offset[*from as usize + 1] += 1;
        }
        for at in 0..versions.len() {
            self.offset[at + 1] += self.offset[at];
        }
        self.next = pairs.into_iter().map(|(_, next)| next).collect();
    }

    /// What follows a version that is not the initial one.
    pub(super) fn next(&self, version: u32) -> &[Next] {
        let at = version as usize;
        &self.next[self.offset[at] as usize..self.offset[at + 1] as usize]
    }

    /// The transactions whose versions follow a key's initial one, and none of which is known to follow another.
    pub(super) fn first(&self, key: u32) -> &[u32] {
        let at = key as usize;
        &self.first[self.first_offset[at] as usize..self.first_offset[at + 1] as usize]
    }

    /// Whether each key's committed versions are a chain, each writer having read the one before, or each being given as the next.
    fn is_total(
        &self,
        all: &Transactions,
        versions: &Versions,
        assume: Assumptions,
        pairs: &[Pair],
    ) -> bool {
        if !assume.wfr_keys && !assume.given_versions
            || !self.given.contradictions.is_empty()
            || !self.cyclic.is_empty()
        {
            return false;
        }
        let alone = (0..all.keys.len() as u32).all(|key| self.first(key).len() <= 1);
        let mut has_next = vec![false; versions.len()];
        let chains = pairs
            .iter()
            .filter(|(_, next)| matches!(next.why, Why::Followed | Why::Given))
            .all(|(from, _)| !std::mem::replace(&mut has_next[*from as usize], true));
        let certain = || {
            (0..all.len() as u32)
                .filter(|transaction| versions.committed[*transaction as usize])
                .flat_map(|transaction| versions.finals(transaction))
                .all(|one| versions.is_certain(one.version))
        };
        versions.ambiguous.is_none() && alone && chains && certain()
    }
}

fn writes_follow_reads(
    all: &Transactions,
    versions: &Versions,
    pairs: &mut Vec<Pair>,
    budget: &dyn Budget,
) -> Result<(), Exhausted> {
    let mut past = Past::new(all.keys.len());
    for transaction in 0..all.len() as u32 {
        if transaction.is_multiple_of(LOOK) {
            budget.check()?;
        }
        if !all.is_ok(transaction) {
            continue;
        }
        for (at, mop) in all.mops(transaction) {
            let Some(before) = past.pass(all, transaction, at) else {
                continue;
            };
            let read = all.mops[before as usize].element().is_none();
            let from = versions.version(before);
            if mop.element().is_none() || !read || from == NONE {
                continue;
            }
            let Some(version) = versions.last_of(transaction, mop.key()) else {
                continue;
            };
            // One that writes and reads again is here once.
            let again = pairs
                .last()
                .is_some_and(|(other, next)| *other == from && next.transaction == transaction);
            let certain = versions.is_certain(from) && versions.is_certain(version);
            if from != version && certain && !again {
                let why = Why::Followed;
                pairs.push((
                    from,
                    Next {
                        version,
                        transaction,
                        why,
                    },
                ));
            }
        }
    }
    Ok(())
}

/// Versions that several transactions read and then wrote.
fn lost(versions: &Versions, pairs: &[Pair]) -> Vec<(u32, Vec<u32>)> {
    let mut count = vec![0u8; if pairs.is_empty() { 0 } else { versions.len() }];
    for (from, _) in pairs {
        let count = &mut count[*from as usize];
        *count = count.saturating_add(1);
    }
    let mut several: Vec<(u32, u32)> = pairs
        .iter()
        .filter(|(from, _)| count[*from as usize] > 1)
        .map(|(from, next)| (*from, next.transaction))
        .collect();
    several.sort_unstable();
    several
        .chunk_by(|one, other| one.0 == other.0)
        .map(|of| {
            (
                of[0].0,
                of.iter().map(|(_, transaction)| *transaction).collect(),
            )
        })
        .collect()
}

/// That a version follows another as the database says.
fn said(versions: &Versions, from: Said, to: Said) -> Pair {
    let next = Next {
        version: to.version,
        transaction: versions.writer(to.version).unwrap_or(NONE),
        why: Why::Given,
    };
    (from.version, next)
}

/// By key, the committed transactions that write it without following any that does.
fn first(all: &Transactions, versions: &Versions, given: &Given) -> (Vec<u32>, Vec<u32>) {
    let each = |visit: &mut dyn FnMut(u32, u32)| {
        let mut follows: Vec<u32> = Vec::new();
        for transaction in 0..all.len() as u32 {
            if !versions.committed[transaction as usize] {
                continue;
            }
            follows.clear();
            let observed = versions.observed(all, transaction);
            let of_others = observed.filter(|(_, _, source)| *source != INITIAL);
            follows.extend(of_others.map(|(_, key, _)| key));
            follows.sort_unstable();
            for one in versions.finals(transaction) {
                let is_first = match given.of(one.version) {
                    Some(said) => given.is_first(said, one.key),
                    None => follows.binary_search(&one.key).is_err(),
                };
                if is_first && versions.is_certain(one.version) {
                    visit(one.key, transaction);
                }
            }
        }
    };
    let mut offset = vec![0u32; all.keys.len() + 1];
    each(&mut |key, _| offset[key as usize + 1] += 1);
    for key in 0..all.keys.len() {
        offset[key + 1] += offset[key];
    }
    let mut next = offset.clone();
    let mut first = vec![0; offset[all.keys.len()] as usize];
    each(&mut |key, transaction| {
        let place = &mut next[key as usize];
        first[*place as usize] = transaction;
        *place += 1;
    });
    (offset, first)
}

/// What each transaction that is `ok` did to each key, key by key, ascending by transaction.
fn touches(
    all: &Transactions,
    versions: &Versions,
    budget: &dyn Budget,
) -> Result<Vec<Touch>, Exhausted> {
    budget.charge(all.mops.len() * size_of::<Touch>())?;
    let mut touches: Vec<Touch> = Vec::new();
    let mut mine: Vec<Touch> = Vec::new();
    for transaction in 0..all.len() as u32 {
        if transaction.is_multiple_of(LOOK) {
            budget.check()?;
        }
        if !all.is_ok(transaction) {
            continue;
        }
        mine.clear();
        for (at, mop) in all.mops(transaction) {
            let key = mop.key();
            if mine.iter().any(|touch| touch.key == key) {
                continue;
            }
            let own = versions.last_of(transaction, key);
            let first = match mop.element() {
                Some(_) => own.unwrap_or(NONE),
                None => versions.version(at),
            };
            let last = own.unwrap_or(first);
            if first != NONE && versions.is_certain(first) && versions.is_certain(last) {
                mine.push(Touch {
                    key,
                    transaction,
                    first,
                    last,
                });
            }
        }
        touches.append(&mut mine);
    }
    touches.sort_by_key(|touch| (touch.key, touch.transaction));
    Ok(touches)
}

fn pair(versions: &Versions, from: u32, to: &Touch, why: Why) -> Option<Pair> {
    let next = Next {
        version: to.first,
        transaction: versions.writer(to.first).unwrap_or(NONE),
        why,
    };
    (from != to.first).then_some((from, next))
}

fn sequential(all: &Transactions, versions: &Versions, touches: &[Touch], pairs: &mut Vec<Pair>) {
    for of_key in touches.chunk_by(|one, other| one.key == other.key) {
        let mut last: FxHashMap<u32, &Touch> = FxHashMap::default();
        for touch in of_key {
            let process = all.process[touch.transaction as usize];
            if let Some(before) = last.insert(process, touch) {
                let why = Why::Sequential(before.transaction, touch.transaction);
                pairs.extend(pair(versions, before.last, touch, why));
            }
        }
    }
}

/// Of all pairs of transactions of which one ended before the other began, those that do not follow from others.
fn linearizable(
    all: &Transactions,
    versions: &Versions,
    touches: &[Touch],
    pairs: &mut Vec<Pair>,
    budget: &dyn Budget,
) -> Result<(), Exhausted> {
    let begin = |touch: &Touch| all.invoke[touch.transaction as usize];
    let end = |touch: &Touch| all.complete[touch.transaction as usize];
    for of_key in touches.chunk_by(|one, other| one.key == other.key) {
        let mut by_end: Vec<&Touch> = of_key.iter().collect();
        by_end.sort_unstable_by_key(|touch| end(touch));
        let mut ended = by_end.into_iter().peekable();
        // Those that ended before none of these began.
        let mut latest: Vec<&Touch> = Vec::new();
        for touch in of_key.iter().filter(|touch| begin(touch) != NONE) {
            while let Some(one) = ended.next_if(|one| end(one) < begin(touch)) {
                if begin(one) != NONE {
                    latest.retain(|before| end(before) > begin(one));
                }
                latest.push(one);
            }
            for before in &latest {
                let why = Why::Linearizable(before.transaction, touch.transaction);
                pairs.extend(pair(versions, before.last, touch, why));
            }
        }
        budget.check()?;
    }
    Ok(())
}

/// Circles of versions, one for each set of versions that follow each other: a shortest one through its first.
fn circles(
    versions: &Versions,
    pairs: &[Pair],
    budget: &dyn Budget,
) -> Result<Vec<Vec<u32>>, Exhausted> {
    let count = versions.len() as u32;
    let each = |visit: Sink| {
        for (from, next) in pairs {
            visit(*from, next.version, WW);
        }
        let mut initial = NONE;
        for version in 0..count {
            if versions.is_initial(version) {
                initial = version;
            } else {
                visit(initial, version, WW);
            }
        }
    };
    let graph = Graph::build(count, count, &each, budget)?;
    let component = components(&graph, WW, budget)?;
    let circle = |members: Vec<u32>| circle(&graph, &component, members[0]);
    Ok(groups(&component).into_iter().map(circle).collect())
}

/// A shortest circle through a version, inside its component.
fn circle(graph: &Graph, component: &[u32], start: u32) -> Vec<u32> {
    let mut parent: FxHashMap<u32, u32> = FxHashMap::default();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(version) = queue.pop_front() {
        for (to, _) in graph.from(version) {
            if to == start {
                let mut circle = vec![version];
                while let Some(before) = parent.get(&circle[circle.len() - 1]) {
                    circle.push(*before);
                }
                circle.reverse();
                return circle;
            }
            if component[to as usize] == component[start as usize] && !parent.contains_key(&to) {
                parent.insert(to, version);
                queue.push_back(to);
            }
        }
    }
    vec![start]
}
