//! What every means of making lines bad must do, whichever it is: rules, what `ping` sees then, and what is counted.

use harness::Name;
use harness::links::{
    Backend, Chance, Delay, Distribution, LinkCount, LinkCounts, LinkRule, LinkRules, Loss, Party,
    Quality, Traffic, Treatment,
};

/// So many milliseconds that even a loaded machine takes less.
const SOON: f64 = 250.0;

/// Rules of one fault on three nodes, in place of those of the case before.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rules: LinkRules,
    pub(crate) pings: Vec<Ping>,
    /// What must have been counted on each link, when the rules go.
    pub(crate) counted: fn(&LinkCounts) -> bool,
}

/// Packets there and back.
pub(crate) struct Ping {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) count: usize,
    /// How many come back: not less, not more.
    pub(crate) back: (usize, usize),
    /// How long the fastest takes, in milliseconds: not less, not more.
    pub(crate) least_ms: (f64, f64),
}

impl Ping {
    /// The script that does it.
    pub(crate) fn script(&self, to: &str) -> String {
        // -U: until it is here, not until it was at the interface, where what is held has its time stamp from.
        format!("ping -U -c {} -i 0.02 -W 3 {to}; true", self.count)
    }

    /// Judges what it said.
    pub(crate) fn judge(&self, case: &str, text: &str) {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let transmitted = text.split_once(" packets transmitted, ");
        let back = transmitted.and_then(|(_, rest)| number(rest.split(' ').next()?));
        let least = text.split_once("rtt min/avg/max/mdev = ");
        let least = least.and_then(|(_, rest)| number(rest.split('/').next()?));
        let (back, least) = (back.unwrap_or(f64::NAN), least.unwrap_or(f64::NAN));
        let within = self.back.0 as f64 <= back && back <= self.back.1 as f64;
        let in_time = self.least_ms.0 <= least && least <= self.least_ms.1;
        assert!(
            within && in_time,
            "{case}: n{} to n{}: {back} {least}\n{text}",
            self.from,
            self.to
        );
    }
}

/// All of them come back, soon.
fn fine(from: usize, to: usize) -> Ping {
    late(from, to, 0.0, SOON)
}

fn late(from: usize, to: usize, least: f64, most: f64) -> Ping {
    Ping {
        from,
        to,
        count: 5,
        back: (5, 5),
        least_ms: (least, most),
    }
}

fn link(from: usize, to: usize, quality: &Quality) -> LinkRule {
    let party = |i: usize| Party::from(Name::from(format!("n{i}")));
    LinkRule {
        from: party(from),
        to: party(to),
        traffic: Traffic::default(),
        treatment: Treatment::Quality(quality.clone()),
    }
}

fn delay(mean_ms: u64, jitter_ms: u64) -> Quality {
    let delay = Delay {
        mean_us: mean_ms * 1000,
        jitter_us: jitter_ms * 1000,
        distribution: Distribution::Uniform,
        correlation: 0.0,
    };
    Quality {
        delay: Some(delay),
        ..Quality::default()
    }
}

/// All cases, for a means.
pub(crate) fn cases(backend: Backend) -> Vec<Case> {
    let rules = |rules: Vec<LinkRule>| LinkRules {
        rules,
        backend,
        seed: 7,
        ..LinkRules::default()
    };
    let loss = Loss::Bernoulli(Chance {
        share: 0.3,
        correlation: 0.0,
    });
    let lossy = Quality {
        loss: Some(loss),
        ..Quality::default()
    };
    let slow = Quality {
        rate: Some(20_000),
        ..Quality::default()
    };
    vec![
        Case {
            name: "a delay one way of one link",
            rules: rules(vec![link(1, 2, &delay(300, 0))]),
            pings: vec![
                late(1, 2, 299.0, 1500.0),
                late(2, 1, 299.0, 1500.0),
                fine(1, 3),
                fine(3, 2),
            ],
            counted: |counts| counts.delayed >= 10 && counts.lost == 0 && counts.matched >= 10,
        },
        Case {
            name: "delays both ways of another, that stray",
            rules: rules(vec![
                link(1, 3, &delay(300, 50)),
                link(3, 1, &delay(200, 50)),
            ]),
            pings: vec![late(1, 3, 399.0, 1500.0), fine(1, 2), fine(2, 3)],
            counted: |counts| counts.delayed >= 5 && counts.lost == 0,
        },
        Case {
            name: "a share that is lost",
            rules: rules(vec![link(2, 1, &lossy)]),
            pings: vec![
                // Eight standard deviations around 210.
                Ping {
                    from: 1,
                    to: 2,
                    count: 300,
                    back: (146, 274),
                    least_ms: (0.0, SOON),
                },
                fine(1, 3),
            ],
            counted: |counts| counts.lost >= 26 && counts.matched >= 300 && counts.delayed == 0,
        },
        Case {
            name: "a rate",
            // A packet of 84 bytes takes 34 ms, and one with its frame a little more; five come within 80 ms.
            rules: rules(vec![link(1, 2, &slow)]),
            pings: vec![late(1, 2, 30.0, 1500.0), fine(1, 3)],
            counted: |counts| counts.delayed >= 5 && counts.lost == 0,
        },
    ]
}

/// Judges what was counted when the rules of a case went.
pub(crate) fn judge_counts(case: &Case, counts: &[LinkCount]) {
    assert_eq!(
        counts.len(),
        case.rules.rules.len(),
        "{}: {counts:?}",
        case.name
    );
    for rule in &case.rules.rules {
        let mut all = counts.iter();
        let count = all.find(|count| (&count.from, &count.to) == (&rule.from, &rule.to));
        let counted = count.is_some_and(|count| (case.counted)(&count.counts));
        assert!(counted, "{}: {counts:?}", case.name);
    }
}
