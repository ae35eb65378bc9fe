//! What several tests need.

use checkers::budget::Unlimited;
use checkers::linearizability::{DeadEnd, Linearizable, Options, verify};
use checkers::{CheckResult, Checker, Evidence, Feed, Valid, check};
use serde_json::Value;
use store::Event;

pub(crate) use crate::events::event;
use crate::events::history_of;
use crate::order::prove_order;

/// A history from lines of `process type f value [error-class]`, one event a line.
pub(crate) fn history(text: &str) -> Vec<Event> {
    history_of(text, |index, process, kind, words| {
        let f = words.next().unwrap();
        let value = serde_json::from_str(words.next().unwrap()).unwrap();
        let mut event = event(index, process, kind, f, value);
        event.error = words.next().map(Value::from);
        event
    })
}

/// The verdict, with the evidence of an invalid one proved again from the events.
pub(crate) fn judge(events: &[Event], options: &Options) -> CheckResult {
    let result = check(&mut Linearizable::new(options.clone()), events, &Unlimited);
    if result.valid == Valid::False {
        verify(dead_end(&result), events, options).unwrap();
    }
    result
}

/// The same, and an order comes with a valid one, which is proved from the events.
pub(crate) fn judge_with_order(events: &[Event], options: &Options) -> CheckResult {
    let options = Options {
        witness: true,
        ..options.clone()
    };
    let result = judge(events, &options);
    if result.valid == Valid::True {
        let orders: Vec<Vec<u64>> =
            serde_json::from_value(result.details["orders"].clone()).unwrap();
        let order = orders.first().map_or(&[][..], Vec::as_slice);
        assert!(orders.len() < 2, "of one register");
        prove_order(events, order, &options).unwrap();
    }
    result
}

/// The same, fed event by event.
pub(crate) fn judge_online(events: &[Event], options: &Options) -> CheckResult {
    let mut checker = Linearizable::new(options.clone());
    for event in events {
        if checker.feed(std::slice::from_ref(event), &Unlimited) != Feed::Continue {
            break;
        }
    }
    checker.finish(&Unlimited)
}

/// The evidence of an invalid verdict.
pub(crate) fn dead_end(result: &CheckResult) -> &DeadEnd {
    match result.evidence.as_slice() {
        [Evidence::DeadEnd(dead_end)] => dead_end,
        other => panic!("expected one dead end, not {other:?}: {}", result.reason),
    }
}

/// How many times a random test is repeated: `GAINSAY_CASES`, or what is quick.
pub(crate) fn cases(quick: u64) -> u64 {
    std::env::var("GAINSAY_CASES").map_or(quick, |count| count.parse().unwrap())
}

/// A small random number generator (SplitMix64), so that every case has a number of its own.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True with a probability in percent.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
