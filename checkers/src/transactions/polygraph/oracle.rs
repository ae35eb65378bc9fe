//! Against an oracle that runs a store in all possible ways.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use super::problem::Problem;
use super::*;
use crate::budget::Unlimited;

#[path = "../../../tests/common/dice.rs"]
mod dice;

pub(super) use dice::Dice;

#[derive(Clone, Debug, Default)]
pub(crate) struct Txn {
    session: Option<u32>,
    begin: Option<u32>,
    end: Option<u32>,
    /// What comes after it in its session may have come before it.
    open: bool,
    /// Key and value. Values from 1; 0 is initial.
    writes: Vec<(usize, u8)>,
    reads: Vec<(usize, u8)>,
}

/// Transactions of a store that mostly shows the present or a snapshot, and sometimes anything.
pub(crate) fn sloppy(dice: &mut Dice, most: usize) -> Vec<Txn> {
    let count = 2 + dice.below(most - 1);
    let keys = 1 + dice.below(3);
    let sessions = 1 + dice.below(4);
    let (unique, blind) = (dice.percent(50), dice.below(100));
    let wild = [0, 5, 20, 60][dice.below(4)];
    let mut states = vec![vec![0u8; keys]];
    let mut txns: Vec<Txn> = Vec::new();
    let mut next = 0;
    for at in 0..count {
        let mut one = Txn {
            session: (!dice.percent(10)).then(|| dice.below(sessions) as u32),
            ..Txn::default()
        };
        one.open = dice.percent(7);
        let lag = if dice.percent(30) { dice.below(3) } else { 0 };
        let state = states[states.len().saturating_sub(1 + lag)].clone();
        let mut after = states.last().unwrap().clone();
        for key in 0..keys {
            let write = dice.percent(45);
            if write {
                next += 1;
                let value = if unique {
                    next
                } else {
                    1 + dice.below(2) as u8
                };
                one.writes.push((key, value));
                after[key] = value;
            }
            let read = if write {
                !dice.percent(blind)
            } else {
                dice.percent(55)
            };
            if read {
                let value = if dice.percent(wild) {
                    let most = if unique { next as usize + 1 } else { 3 };
                    dice.below(most) as u8
                } else {
                    state[key]
                };
                one.reads.push((key, value));
            }
        }
        states.push(after);
        let middle = (at as u32 + 1) * 100;
        let noise = if dice.percent(50) { 90 } else { 250 };
        one.begin = (!dice.percent(5))
            .then(|| (middle - dice.below(100).min(middle as usize - 1) as u32) * 128 + at as u32);
        one.end = (!dice.percent(10))
            .then(|| (middle + dice.below(noise) as u32) * 128 + 64 + at as u32 % 64);
        txns.push(one);
    }
    // Values that come too early, or are the reader's own, are as good as any other.
    if dice.percent(30) {
        for at in (1..txns.len()).rev() {
            txns.swap(at, dice.below(at + 1));
        }
    }
    txns
}

/// As the decision wants them. Reads that nobody else can have written are dropped.
pub(crate) fn observations(txns: &mut [Txn]) -> Observations {
    let all = txns.to_vec();
    let candidates = |reader: usize, key: usize, value: u8| {
        let writers =
            (0..all.len()).filter(|one| *one != reader && all[*one].writes.contains(&(key, value)));
        let mut of: Vec<u32> = writers.map(|one| one as u32).collect();
        of.extend((value == 0).then_some(INITIAL));
        of
    };
    let mut seen = Observations::new();
    for (at, one) in txns.iter_mut().enumerate() {
        one.reads
            .retain(|(key, value)| !candidates(at, *key, *value).is_empty());
        let reads: Vec<(u32, Vec<u32>)> = one
            .reads
            .iter()
            .map(|(key, value)| (*key as u32, candidates(at, *key, *value)))
            .collect();
        let reads: Vec<(u32, &[u32])> = reads.iter().map(|(key, of)| (*key, &of[..])).collect();
        let writes: Vec<u32> = one.writes.iter().map(|(key, _)| *key as u32).collect();
        seen.push(&Observed {
            session: one.session,
            begin: one.begin,
            end: one.end,
            writes: &writes,
            reads: &reads,
            open: one.open,
            ..Observed::default()
        });
    }
    seen
}

/// A store on its way: what has begun, what has committed, and what a run depends on from here.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    begun: u32,
    committed: u32,
    values: Vec<u8>,
    /// Transactions that have begun and can no longer commit, for another has committed a write of the same key.
    lost: u32,
}

/// Whether some run of a store at a level shows what the transactions saw.
pub(crate) fn possible(txns: &[Txn], level: Level) -> bool {
    let first = State {
        begun: 0,
        committed: 0,
        values: vec![0; 4],
        lost: 0,
    };
    let mut known = HashSet::new();
    let mut open = vec![first];
    while let Some(state) = open.pop() {
        if state.committed.count_ones() as usize == txns.len() {
            return true;
        }
        if state.lost != 0 || !known.insert(state.clone()) {
            continue;
        }
        for at in 0..txns.len() {
            let bit = 1 << at;
            if state.begun & bit == 0 {
                if may_begin(txns, at, &state, level) {
                    let mut next = state.clone();
                    next.begun |= bit;
                    if level.model == Model::Serializable {
                        commit(txns, at, &mut next, level);
                    }
                    open.push(next);
                }
            } else if state.committed & bit == 0 {
                let mut next = state.clone();
                commit(txns, at, &mut next, level);
                open.push(next);
            }
        }
    }
    false
}

fn may_begin(txns: &[Txn], at: usize, state: &State, level: Level) -> bool {
    let one = &txns[at];
    let sees = one
        .reads
        .iter()
        .all(|(key, value)| state.values[*key] == *value);
    let follows = |other: usize| {
        let same = one.session.is_some() && one.session == txns[other].session;
        let session = same && other < at && !txns[other].open;
        let time = match (txns[other].end, one.begin) {
            (Some(end), Some(begin)) => end < begin,
            _ => false,
        };
        match level.respects {
            Respects::Nothing => false,
            Respects::Sessions => session,
            Respects::RealTime => session || time,
        }
    };
    sees && (0..txns.len()).all(|other| state.committed & (1 << other) != 0 || !follows(other))
}

fn commit(txns: &[Txn], at: usize, state: &mut State, level: Level) {
    state.committed |= 1 << at;
    for (key, value) in &txns[at].writes {
        state.values[*key] = *value;
    }
    if level.model != Model::SnapshotIsolation {
        return;
    }
    for (other, one) in txns.iter().enumerate() {
        let active = state.begun & !state.committed & (1 << other) != 0;
        let same = one
            .writes
            .iter()
            .any(|(key, _)| txns[at].writes.iter().any(|(of, _)| of == key));
        if active && same {
            state.lost |= 1 << other;
        }
    }
}

pub(crate) fn levels() -> impl Iterator<Item = Level> {
    let models = [Model::Serializable, Model::SnapshotIsolation, Model::Prefix];
    models.into_iter().flat_map(|model| {
        [Respects::Nothing, Respects::Sessions, Respects::RealTime]
            .into_iter()
            .map(move |respects| Level { model, respects })
    })
}

pub(crate) fn cases(default: u64) -> u64 {
    let asked = std::env::var("GAINSAY_TXN_CASES").ok();
    asked.map_or(default, |count| count.parse().unwrap())
}

/// What each stage by itself comes to, with so much effort. `None`: that was not enough.
fn stages(seen: &Observations, level: Level, effort: u64) -> Vec<Option<bool>> {
    let problem = Problem::new(seen, level);
    let found = STAGES.iter().map(|(limits, _)| {
        match find(&problem, *limits, effort, &Progress::default(), &Unlimited).unwrap()? {
            Outcome::Order(order) => {
                assert!(explains(seen, level, &order));
                Some(true)
            }
            Outcome::Contradiction(core) => {
                let proof = prove(seen, level, core, &Unlimited).unwrap()?;
                assert!(proves(seen, &proof));
                Some(false)
            }
        }
    });
    found.collect()
}

#[test]
fn a_level_holds_exactly_when_some_run_explains_everything() {
    let mut tally = std::collections::BTreeMap::new();
    let (mut minimal, mut split) = (0, 0);
    for seed in 0..cases(3_000) {
        let mut dice = Dice::new(seed + 1);
        let mut txns = sloppy(&mut dice, 6);
        let seen = observations(&mut txns);
        for level in levels() {
            let wanted = possible(&txns, level);
            let found = match decide(&seen, level, &Unlimited) {
                Decision::Holds(order) => {
                    assert!(explains(&seen, level, &order));
                    true
                }
                Decision::Violated(proof) => {
                    assert!(proves(&seen, &proof));
                    minimal += u64::from(proof.minimal);
                    split += u64::from(matches!(proof.argument.end, Conclusion::Cases { .. }));
                    false
                }
                Decision::Unknown(why) => panic!("seed {seed}, {level:?}: {why}"),
            };
            assert_eq!(found, wanted, "seed {seed}, {level:?}: {txns:#?}");
            assert_eq!(
                stages(&seen, level, u64::MAX),
                [Some(wanted); 3],
                "seed {seed}, {level:?}: {txns:#?}"
            );
            *tally.entry(format!("{level:?} {wanted}")).or_insert(0u64) += 1;
        }
    }
    println!("{tally:#?} {minimal} minimal, {split} with cases");
    // Each level is there on both sides, often.
    assert_eq!(tally.len(), 18);
    assert!(
        tally.values().all(|count| *count > cases(3_000) / 50),
        "{tally:#?}"
    );
    assert!(split > 0);
}

/// Proofs are about as little as can be: with any one left out, the rest is possible.
#[test]
fn what_is_called_minimal_is() {
    for seed in 0..cases(300) {
        let mut dice = Dice::new(seed + 7_000_000);
        let mut txns = sloppy(&mut dice, 7);
        let seen = observations(&mut txns);
        for level in levels() {
            let Decision::Violated(proof) = decide(&seen, level, &Unlimited) else {
                continue;
            };
            if !proof.minimal {
                continue;
            }
            for out in &proof.transactions {
                let left: Vec<u32> = proof
                    .transactions
                    .iter()
                    .copied()
                    .filter(|one| one != out)
                    .collect();
                let (few, _) = shrink::restrict(&seen, &left);
                assert!(
                    matches!(decide(&few, level, &Unlimited), Decision::Holds(_)),
                    "seed {seed}"
                );
            }
        }
    }
}

/// Whether something is counted in an argument.
fn counts(argument: &Argument) -> bool {
    match &argument.end {
        Conclusion::TooFew { .. } | Conclusion::NoBeginning { .. } => true,
        Conclusion::Cases { cases, .. } => cases.iter().any(counts),
        Conclusion::Cycle { .. } | Conclusion::NoSource { .. } => false,
    }
}

/// An argument of which a part is taken away or turned round is none.
#[test]
fn the_verifier_believes_nothing() {
    let (mut refused, mut superfluous) = (0, 0);
    for seed in 0..cases(1_000) {
        let mut dice = Dice::new(seed + 5_000_000);
        let mut txns = sloppy(&mut dice, 6);
        let seen = observations(&mut txns);
        for level in levels() {
            let Decision::Violated(proof) = decide(&seen, level, &Unlimited) else {
                continue;
            };
            let mut less = proof.clone();
            less.transactions
                .remove(dice.below(proof.transactions.len()));
            assert!(
                !proves(&seen, &less),
                "seed {seed}: a transaction that is not named"
            );
            // Where something is counted, there may be too little of it even if less is excluded.
            if !proof.argument.steps.is_empty() && !counts(&proof.argument) {
                let mut less = proof.clone();
                let at = dice.below(proof.argument.steps.len());
                less.argument.steps.remove(at);
                // An argument may have a step more than it needs, but rarely.
                match proves(&seen, &less) {
                    true => superfluous += 1,
                    false => refused += 1,
                }
            }
            let mut turned = proof.clone();
            if let Conclusion::Cycle { links } = &mut turned.argument.end {
                let at = dice.below(links.len());
                links.remove(at);
                assert!(!proves(&seen, &turned), "seed {seed}: a link is missing");
                refused += 1;
            }
            // What holds is proved at no level.
            for other in levels() {
                let claim = Proof {
                    level: other,
                    ..(*proof).clone()
                };
                assert!(
                    !proves(&seen, &claim) || !possible(&txns, other),
                    "seed {seed}"
                );
            }
        }
    }
    assert!(
        refused > 100 && superfluous * 50 < refused,
        "{superfluous} beside {refused}"
    );
}

/// Where no oracle goes any more, the ways to a verdict still agree, and every verdict is proved. Some histories of a few
/// values that are written over and over are beyond all of them.
#[test]
fn stages_agree_on_larger_histories() {
    let (mut holds, mut violated, mut beyond) = (0, 0, 0);
    let count = cases(2_000) / 10;
    for seed in 0..count {
        let mut dice = Dice::new(seed + 3_000_000);
        let mut txns = sloppy(&mut dice, 40);
        let seen = observations(&mut txns);
        for level in levels() {
            let found = stages(&seen, level, 50_000);
            let mut known = found.iter().flatten();
            let first = known.next();
            assert!(
                known.all(|one| Some(one) == first),
                "seed {seed}, {level:?}"
            );
            match first {
                Some(true) => holds += 1,
                Some(false) => violated += 1,
                None => beyond += 1,
            }
        }
    }
    println!("{holds} hold, {violated} are violated, {beyond} are beyond");
    assert!(holds > count && violated > count && beyond < count / 10);
}

/// Transactions that write and read blindly, at one moment each, in an order that nobody tells.
fn blind(count: u32, keys: u32) -> Observations {
    let mut dice = Dice::new(u64::from(count));
    let mut current = vec![INITIAL; keys as usize];
    let mut seen = Observations::new();
    for one in 0..count {
        let mut key = || dice.below(keys as usize) as u32;
        let (write, read) = (key(), key());
        let source = [current[read as usize]];
        seen.push(&Observed {
            session: Some(one % 7),
            writes: &[write],
            reads: &[(read, &source)],
            ..Observed::default()
        });
        current[write as usize] = one;
    }
    seen
}

#[test]
fn a_budget_that_ends_is_unknown_and_leaves_nothing_charged() {
    use crate::budget::Steps;
    let seen = blind(2_000, 20);
    for level in levels() {
        assert!(matches!(
            decide(&seen, level, &Unlimited),
            Decision::Holds(_)
        ));
        let time = Steps::new(2, u64::MAX);
        assert!(
            matches!(decide(&seen, level, &time), Decision::Unknown(why) if why.contains("time"))
        );
        let memory = Steps::new(u64::MAX, 100_000);
        assert!(
            matches!(decide(&seen, level, &memory), Decision::Unknown(why) if why.contains("memory"))
        );
        assert!(memory.charge(100_000).is_ok(), "something is still charged");
    }
}

#[test]
fn the_same_again() {
    let seen = blind(1_000, 10);
    for level in levels() {
        assert_eq!(
            decide(&seen, level, &Unlimited),
            decide(&seen, level, &Unlimited)
        );
    }
}
