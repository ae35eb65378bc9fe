//! What can be wrong with a line, and how bad it is.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::links::{Chance, Delay, Distribution, Loss, Quality, Reorder};
use harness::options::{OptionKind, OptionSpec, Options};

const DELAY: &str = "delay";
const JITTER: &str = "jitter";
const DISTRIBUTION: &str = "distribution";
const CORRELATION: &str = "correlation";
const LOSS: &str = "loss";
const NTH: &str = "nth";
const GEMODEL: &str = "gemodel";
const CORRUPT: &str = "corrupt";
const DUPLICATE: &str = "duplicate";
const REORDER: &str = "reorder";
const GAP: &str = "gap";
const RATE: &str = "rate";

/// What is assumed where the user says nothing: Jepsen's.
const USUAL_DELAY: Duration = Duration::from_millis(50);
const USUAL_JITTER: Duration = Duration::from_millis(10);
const USUAL_DELAY_CORRELATION: f64 = 25.0;
const USUAL_SHARE: f64 = 20.0;
const USUAL_CORRELATION: f64 = 75.0;
const USUAL_RATE: u64 = 1_000_000;
/// The longest delay: longer ones are partitions.
const LONGEST: Duration = Duration::from_secs(60);

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flaw {
    Delay,
    Loss,
    Corrupt,
    Duplicate,
    Reorder,
    Rate,
}

impl Flaw {
    pub(super) const ALL: [Flaw; 6] = [
        Flaw::Delay,
        Flaw::Loss,
        Flaw::Corrupt,
        Flaw::Duplicate,
        Flaw::Reorder,
        Flaw::Rate,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Flaw::Delay => DELAY,
            Flaw::Loss => LOSS,
            Flaw::Corrupt => CORRUPT,
            Flaw::Duplicate => DUPLICATE,
            Flaw::Reorder => REORDER,
            Flaw::Rate => RATE,
        }
    }

    pub(super) fn summary(self) -> &'static str {
        match self {
            Flaw::Delay => "Packets come late, by an amount that strays.",
            Flaw::Loss => "Packets are lost: each by chance, in bursts, or every so-many-th.",
            Flaw::Corrupt => {
                "Packets have a bit flipped, so that the receiver's checksum is wrong."
            }
            Flaw::Duplicate => "Packets come twice.",
            Flaw::Reorder => "Packets overtake others, which are delayed.",
            Flaw::Rate => "Only so many bits pass in a second.",
        }
    }

    /// The options that ask for it.
    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Flaw::Delay => &[DELAY, JITTER, DISTRIBUTION],
            Flaw::Loss => &[LOSS, NTH, GEMODEL],
            Flaw::Corrupt => &[CORRUPT],
            Flaw::Duplicate => &[DUPLICATE],
            Flaw::Reorder => &[REORDER, GAP],
            Flaw::Rate => &[RATE],
        }
    }
}

/// Flaws with their weights, for activities for which the user chose none; none is a mix.
pub(super) const FLAWS: [(Option<Flaw>, u32); 7] = [
    (Some(Flaw::Delay), 4),
    (Some(Flaw::Loss), 3),
    (None, 2),
    (Some(Flaw::Reorder), 1),
    (Some(Flaw::Duplicate), 1),
    (Some(Flaw::Corrupt), 1),
    (Some(Flaw::Rate), 1),
];

/// The options that say how bad.
pub(super) fn options() -> Vec<OptionSpec> {
    let words = |words: &[&str]| OptionKind::OneOf(words.iter().map(|it| (*it).into()).collect());
    let percent = || OptionKind::Number {
        min: 0.0,
        max: 100.0,
    };
    let option = |name, kind, help| OptionSpec::new(name, kind, None, help);
    let count = || OptionKind::Integer {
        min: 1,
        max: 1_000_000,
    };
    vec![
        option(
            DELAY,
            OptionKind::Duration,
            "How late packets come on average; 50ms by default.",
        ),
        option(
            JITTER,
            OptionKind::Duration,
            "How far the delay strays; 10ms by default, or a fifth of the delay.",
        ),
        option(
            DISTRIBUTION,
            words(&["uniform", "normal", "pareto"]),
            "How the delay strays; `normal` by default.",
        ),
        option(
            CORRELATION,
            percent(),
            "How much each packet's fate resembles the one's before, in percent; by default 25 for delays, 75 for \
             everything else.",
        ),
        option(
            LOSS,
            percent(),
            "The share of packets lost, in percent; 20 by default.",
        ),
        option(
            NTH,
            count(),
            "Every so-many-th packet is lost, instead of a share.",
        ),
        option(
            GEMODEL,
            OptionKind::Text,
            "Losses in bursts (Gilbert and Elliott), as netem's: `P/R/1-H/1-K` in percent: to turn bad, to turn good, lost \
             while bad (100 if left out), lost while good (0 if left out).",
        ),
        option(
            CORRUPT,
            percent(),
            "The share of packets damaged, in percent; 20 by default.",
        ),
        option(
            DUPLICATE,
            percent(),
            "The share of packets that come twice, in percent; 20 by default.",
        ),
        option(
            REORDER,
            percent(),
            "The share of packets that are not delayed as the others are, in percent; 20 by default.",
        ),
        option(
            GAP,
            count(),
            "Only every so-many-th packet may overtake; 1 by default.",
        ),
        option(
            RATE,
            OptionKind::Text,
            "How much passes: `500kbit`, `1mbit`, `1gbit`; 1mbit by default.",
        ),
    ]
}

/// How bad a line is in each respect, if it is bad in that.
pub(super) struct Qualities {
    delay: Delay,
    loss: Loss,
    corrupt: Chance,
    duplicate: Chance,
    reorder: Reorder,
    rate: u64,
}

impl Qualities {
    pub(super) fn of(options: &Options) -> Result<Qualities, String> {
        let mean = options.duration_if(DELAY).unwrap_or(USUAL_DELAY);
        let usual = if mean == USUAL_DELAY {
            USUAL_JITTER
        } else {
            mean / 5
        };
        let jitter = options.duration_if(JITTER).unwrap_or(usual);
        if mean > LONGEST || jitter > LONGEST {
            return Err(format!(
                "options `{DELAY}` and `{JITTER}`: {LONGEST:?} at most"
            ));
        }
        let correlation = |usual| options.number_if(CORRELATION).unwrap_or(usual) / 100.0;
        let chance = |name| Chance {
            share: options.number_if(name).unwrap_or(USUAL_SHARE) / 100.0,
            correlation: correlation(USUAL_CORRELATION),
        };
        let delay = Delay {
            mean_us: mean.as_micros() as u64,
            jitter_us: jitter.as_micros() as u64,
            distribution: match options.text_if(DISTRIBUTION) {
                Some("uniform") => Distribution::Uniform,
                Some("pareto") => Distribution::Pareto,
                _ => Distribution::Normal,
            },
            correlation: correlation(USUAL_DELAY_CORRELATION),
        };
        let ways = [LOSS, NTH, GEMODEL];
        if ways
            .iter()
            .filter(|name| options.get(name).is_some())
            .count()
            > 1
        {
            return Err(format!("one of {} at most", ways.join(", ")));
        }
        let loss = match (options.integer_if(NTH), options.text_if(GEMODEL)) {
            (Some(nth), _) => Loss::Nth(nth as u32),
            (_, Some(text)) => gemodel(text)?,
            (None, None) => Loss::Bernoulli(chance(LOSS)),
        };
        Ok(Qualities {
            delay,
            loss,
            corrupt: chance(CORRUPT),
            duplicate: chance(DUPLICATE),
            reorder: Reorder {
                chance: chance(REORDER),
                gap: options.integer_if(GAP).unwrap_or(1) as u32,
            },
            rate: options.text_if(RATE).map_or(Ok(USUAL_RATE), rate)?,
        })
    }

    pub(super) fn with(&self, flaws: &BTreeSet<Flaw>) -> Quality {
        let has = |flaw| flaws.contains(&flaw);
        Quality {
            // There is nobody to overtake where nobody is late.
            delay: (has(Flaw::Delay) || has(Flaw::Reorder)).then_some(self.delay),
            loss: has(Flaw::Loss).then_some(self.loss),
            corrupt: has(Flaw::Corrupt).then_some(self.corrupt),
            duplicate: has(Flaw::Duplicate).then_some(self.duplicate),
            reorder: has(Flaw::Reorder).then_some(self.reorder),
            rate: has(Flaw::Rate).then_some(self.rate),
        }
    }
}

/// Reads `P/R/1-H/1-K`, in percent.
fn gemodel(text: &str) -> Result<Loss, String> {
    let wrong = || {
        format!(
            "option `{GEMODEL}`: two to four numbers from 0 to 100 with `/` between them expected, found `{text}`"
        )
    };
    let share = |text: &str| text.trim().parse::<f64>().ok().map(|it| it / 100.0);
    let shares: Option<Vec<f64>> = text.split('/').map(share).collect();
    let shares = shares.ok_or_else(wrong)?;
    if !shares.iter().all(|share| (0.0..=1.0).contains(share)) {
        return Err(wrong());
    }
    let (p, r, rest) = match &shares[..] {
        [p, r, rest @ ..] if rest.len() <= 2 => (*p, *r, rest),
        _ => return Err(wrong()),
    };
    Ok(Loss::GilbertElliott {
        p,
        r,
        bad: rest.first().copied().unwrap_or(1.0),
        good: rest.get(1).copied().unwrap_or(0.0),
    })
}

/// Reads bits in a second: `1mbit`.
fn rate(text: &str) -> Result<u64, String> {
    let units = [
        ("kbit", 1_000),
        ("mbit", 1_000_000),
        ("gbit", 1_000_000_000),
        ("bit", 1),
    ];
    let found = units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(*factor).filter(|rate| *rate > 0)
    });
    found.ok_or_else(|| {
        format!("option `{RATE}`: a rate such as `500kbit` or `1mbit` expected, found `{text}`")
    })
}
