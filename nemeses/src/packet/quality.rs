//! How bad a line is, from what the user says and what is assumed where nothing is said.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::links::{Chance, Delay, Distribution, Loss, Quality, Reorder};
use harness::options::Options;

use super::{
    CORRELATION, CORRUPT, DELAY, DISTRIBUTION, DUPLICATE, Flaw, GAP, GEMODEL, JITTER, LOSS, NTH,
    RATE, REORDER,
};

/// What is assumed where the user says nothing: Jepsen's.
const USUAL_DELAY: Duration = Duration::from_millis(50);
const USUAL_JITTER: Duration = Duration::from_millis(10);
const USUAL_DELAY_CORRELATION: f64 = 25.0;
const USUAL_SHARE: f64 = 20.0;
const USUAL_CORRELATION: f64 = 75.0;
const USUAL_RATE: u64 = 1_000_000;
/// The longest delay: longer ones are partitions.
const LONGEST: Duration = Duration::from_secs(60);

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
