//! What a bad line does to each packet, drawn from a seed.
//!
//! The words and their meanings are those of `tc-netem(8)`, with three differences. A delay that strays does not change the order of
//! packets, as it does not on a wire; who wants that asks for reordering. Neighbouring packets resemble each other by the
//! correlation of an underlying normal process, so that shares and distributions are what was asked for whatever the
//! correlation is, which netem's are not. And the pareto distribution has the shape 3 that netem's table is made with, without its cut at
//! both ends.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::{Chance, Delay, Distribution, Loss, Quality};

/// What becomes of a packet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fate {
    pub(super) lost: bool,
    /// When it is delivered, in nanoseconds of the same clock as `now`.
    pub(super) due: u64,
    /// It overtakes packets that came before it.
    pub(super) overtakes: bool,
    /// Which of its bits is flipped: a number to be taken modulo their count.
    pub(super) flip: Option<u64>,
    pub(super) duplicate: bool,
}

/// A line: its quality, and what it remembers.
pub(super) struct Line {
    quality: Quality,
    random: Xoshiro256PlusPlus,
    delays: Stream,
    losses: Stream,
    corruptions: Stream,
    duplicates: Stream,
    reorders: Stream,
    /// Whether a line that is good and bad by turns is bad now.
    bad: bool,
    /// Packets since the last that was lost for its number, or overtook.
    since_lost: u32,
    since_overtaking: u32,
    /// When the wire is free again, for a limited rate.
    free: u64,
    /// When the last packet in order is delivered, and how long packets wait for the wire.
    last_due: u64,
    /// When those in order that have not been delivered yet will be: somebody to overtake.
    pending: VecDeque<u64>,
}

/// A random process whose values resemble each other.
#[derive(Default)]
struct Stream {
    last: Option<f64>,
}

impl Stream {
    /// The next of a normal process of mean 0 and variance 1.
    fn normal(&mut self, random: &mut Xoshiro256PlusPlus, correlation: f64) -> f64 {
        let fresh = normal(random);
        let next = match self.last {
            None => fresh,
            Some(last) => {
                correlation * last + (1.0 - correlation * correlation).max(0.0).sqrt() * fresh
            }
        };
        self.last = Some(next);
        next
    }

    fn happens(&mut self, random: &mut Xoshiro256PlusPlus, chance: Chance) -> bool {
        if chance.correlation == 0.0 {
            return uniform(random) < chance.share;
        }
        let normal = self.normal(random, chance.correlation);
        chance.share >= 1.0 || cumulative(normal) < chance.share
    }
}

impl Line {
    pub(super) fn new(quality: &Quality, seed: u64) -> Line {
        Line {
            quality: quality.clone(),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            delays: Stream::default(),
            losses: Stream::default(),
            corruptions: Stream::default(),
            duplicates: Stream::default(),
            reorders: Stream::default(),
            bad: false,
            since_lost: 0,
            since_overtaking: 0,
            free: 0,
            last_due: 0,
            pending: VecDeque::new(),
        }
    }

    /// What becomes of the next packet, of so many bytes, that comes now.
    pub(super) fn next(&mut self, now: u64, bytes: usize) -> Fate {
        if self.loses() {
            return Fate {
                lost: true,
                ..Fate::default()
            };
        }
        let random = &mut self.random;
        let quality = &self.quality;
        let happens = |stream: &mut Stream, random: &mut _, chance: Option<Chance>| {
            chance.is_some_and(|chance| stream.happens(random, chance))
        };
        let duplicate = happens(&mut self.duplicates, random, quality.duplicate);
        let corrupt = happens(&mut self.corruptions, random, quality.corrupt);
        let flip = corrupt.then(|| random.next_u64());
        let overtakes = self.overtakes();
        let sent = self.sent(now, bytes);
        while self.pending.front().is_some_and(|due| *due <= now) {
            self.pending.pop_front();
        }
        let due = match overtakes {
            true => sent,
            false => {
                let due = (sent + self.delay()).max(self.last_due);
                self.last_due = due;
                if self.quality.reorder.is_some() {
                    self.pending.push_back(due);
                }
                due
            }
        };
        Fate {
            lost: false,
            due,
            overtakes: overtakes && self.pending.back().is_some_and(|last| *last > due),
            flip,
            duplicate,
        }
    }

    fn loses(&mut self) -> bool {
        let random = &mut self.random;
        match self.quality.loss {
            None => false,
            Some(Loss::Bernoulli(chance)) => self.losses.happens(random, chance),
            Some(Loss::GilbertElliott { p, r, bad, good }) => {
                let turns = uniform(random) < if self.bad { r } else { p };
                self.bad ^= turns;
                uniform(random) < if self.bad { bad } else { good }
            }
            Some(Loss::Nth(nth)) => {
                self.since_lost += 1;
                let lost = self.since_lost >= nth;
                if lost {
                    self.since_lost = 0;
                }
                lost
            }
        }
    }

    fn overtakes(&mut self) -> bool {
        let Some(reorder) = self.quality.reorder else {
            return false;
        };
        self.since_overtaking += 1;
        let overtakes = self.since_overtaking >= reorder.gap
            && self.reorders.happens(&mut self.random, reorder.chance);
        if overtakes {
            self.since_overtaking = 0;
        }
        overtakes
    }

    /// When the last bit of a packet has passed a wire of limited rate.
    fn sent(&mut self, now: u64, bytes: usize) -> u64 {
        let Some(rate) = self.quality.rate else {
            return now;
        };
        let takes = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate.max(1));
        let takes = u64::try_from(takes).unwrap_or(u64::MAX);
        self.free = self.free.max(now).saturating_add(takes);
        self.free
    }

    /// How late the next packet is, in nanoseconds.
    fn delay(&mut self) -> u64 {
        let Some(delay) = self.quality.delay else {
            return 0;
        };
        let Delay {
            mean_us, jitter_us, ..
        } = delay;
        let strays = match jitter_us {
            0 => 0.0,
            _ => {
                let normal = self.delays.normal(&mut self.random, delay.correlation);
                match delay.distribution {
                    Distribution::Normal => normal,
                    Distribution::Uniform => 2.0 * cumulative(normal) - 1.0,
                    Distribution::Pareto => pareto(cumulative(normal)),
                }
            }
        };
        ((mean_us as f64 + strays * jitter_us as f64) * 1000.0).max(0.0) as u64
    }
}

/// From 0 to 1.
fn uniform(random: &mut Xoshiro256PlusPlus) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Of mean 0 and variance 1 (Box and Muller 1958).
fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
    let (radius, angle) = (1.0 - uniform(random), uniform(random));
    (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
}

/// The share of a normal distribution below a number, to seven digits (Abramowitz and Stegun, 26.2.17).
fn cumulative(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let terms = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let sum = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    let above = (-x * x / 2.0).exp() / TAU.sqrt() * sum;
    if x < 0.0 { above } else { 1.0 - above }
}

/// The Pareto distribution of shape 3 around its mean, scaled as the table of `iproute2` is, from a number between 0 and 1.
fn pareto(share: f64) -> f64 {
    let above = (1.0 - share).max(1e-9);
    (above.powf(-1.0 / 3.0) - 1.5) * 4.0 / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 200_000;

    /// So many packets, ten microseconds apart.
    fn fates(quality: &Quality, count: usize) -> Vec<(u64, Fate)> {
        let mut line = Line::new(quality, 7);
        let times = (0..count as u64).map(|number| number * 10_000);
        times.map(|now| (now, line.next(now, 100))).collect()
    }

    fn share(fates: &[(u64, Fate)], of: impl Fn(&Fate) -> bool) -> f64 {
        fates.iter().filter(|(_, fate)| of(fate)).count() as f64 / fates.len() as f64
    }

    fn near(found: f64, expected: f64, within: f64) {
        assert!(
            (found - expected).abs() < within,
            "{found} is not {expected}"
        );
    }

    /// Correlation of neighbours.
    fn correlation(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let product = |a: &f64, b: &f64| (a - mean) * (b - mean);
        let variance: f64 = values.iter().map(|a| product(a, a)).sum();
        let pairs: f64 = values
            .windows(2)
            .map(|pair| product(&pair[0], &pair[1]))
            .sum();
        pairs / variance
    }

    #[test]
    fn a_good_line_does_nothing() {
        for (now, fate) in fates(&Quality::default(), 1000) {
            assert_eq!(
                fate,
                Fate {
                    due: now,
                    ..Fate::default()
                }
            );
        }
    }

    #[test]
    fn shares_are_what_was_asked_for_whatever_the_correlation() {
        for correlation in [0.0, 0.75] {
            let chance = Some(Chance {
                share: 0.2,
                correlation,
            });
            let quality = Quality {
                loss: chance.map(Loss::Bernoulli),
                corrupt: chance,
                duplicate: chance,
                ..Quality::default()
            };
            let all = fates(&quality, MANY);
            near(share(&all, |it| it.lost), 0.2, 0.01);
            let left: Vec<_> = all.into_iter().filter(|(_, it)| !it.lost).collect();
            near(share(&left, |it| it.flip.is_some()), 0.2, 0.01);
            near(share(&left, |it| it.duplicate), 0.2, 0.01);
        }
    }

    #[test]
    fn losses_come_together_if_they_are_correlated() {
        let run = |correlation| {
            let loss = Loss::Bernoulli(Chance {
                share: 0.2,
                correlation,
            });
            let quality = Quality {
                loss: Some(loss),
                ..Quality::default()
            };
            let all = fates(&quality, MANY);
            let values = all.iter().map(|(_, it)| f64::from(u8::from(it.lost)));
            tests::correlation(&values.collect::<Vec<_>>())
        };
        near(run(0.0), 0.0, 0.02);
        assert!(run(0.75) > 0.3);
    }

    #[test]
    fn bursts_are_as_long_and_as_frequent_as_gilbert_and_elliott_say() {
        let (p, r, bad, good) = (0.02, 0.25, 0.9, 0.01);
        let loss = Some(Loss::GilbertElliott { p, r, bad, good });
        let quality = Quality {
            loss,
            ..Quality::default()
        };
        let is_bad = p / (p + r);
        let expected = is_bad * bad + (1.0 - is_bad) * good;
        let lost = share(&fates(&quality, MANY), |it| it.lost);
        near(lost, expected, 0.01);
    }

    #[test]
    fn every_nth_is_lost() {
        let loss = Some(Loss::Nth(4));
        let quality = Quality {
            loss,
            ..Quality::default()
        };
        let lost: Vec<bool> = fates(&quality, 8).iter().map(|(_, it)| it.lost).collect();
        assert_eq!(lost, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn delays_stray_as_their_distribution_says() {
        let run = |distribution, correlation| {
            let delay = Delay {
                mean_us: 50_000,
                jitter_us: 5_000,
                distribution,
                correlation,
            };
            let mut line = Line::new(
                &Quality {
                    delay: Some(delay),
                    ..Quality::default()
                },
                7,
            );
            // So far apart that none waits for the one before it.
            let late = |number: u64| {
                let now = number * 1_000_000_000;
                (line.next(now, 100).due - now) as f64 / 1e6
            };
            (0..MANY as u64).map(late).collect::<Vec<f64>>()
        };
        for rho in [0.0, 0.5] {
            for (distribution, deviation) in [
                (Distribution::Normal, 5.0),
                (Distribution::Uniform, 5.0 / 3.0f64.sqrt()),
                (Distribution::Pareto, 5.0 * 0.75f64.sqrt() * 4.0 / 3.0),
            ] {
                let delays = run(distribution, rho);
                let mean = delays.iter().sum::<f64>() / delays.len() as f64;
                near(mean, 50.0, 0.15);
                let variance = delays.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
                // The tail of the Pareto distribution makes its variance slow to converge.
                near((variance / MANY as f64).sqrt(), deviation, 1.0);
                if distribution == Distribution::Normal {
                    near(correlation(&delays), rho, 0.02);
                }
            }
        }
        let uniform = run(Distribution::Uniform, 0.0);
        assert!(uniform.iter().all(|it| (44.99..=55.01).contains(it)));
    }

    #[test]
    fn order_is_kept_unless_it_is_not_to_be() {
        let delay = Delay {
            mean_us: 1000,
            jitter_us: 1000,
            distribution: Distribution::Uniform,
            correlation: 0.0,
        };
        let mut quality = Quality {
            delay: Some(delay),
            ..Quality::default()
        };
        let in_order =
            |all: &[(u64, Fate)]| all.windows(2).all(|pair| pair[0].1.due <= pair[1].1.due);
        assert!(in_order(&fates(&quality, 1000)));
        let chance = Chance {
            share: 0.25,
            correlation: 0.0,
        };
        quality.reorder = Some(super::super::Reorder { chance, gap: 1 });
        let all = fates(&quality, MANY);
        assert!(!in_order(&all));
        near(share(&all, |it| it.overtakes), 0.25, 0.01);
    }

    #[test]
    fn a_rate_is_kept() {
        let quality = Quality {
            rate: Some(8_000_000),
            ..Quality::default()
        };
        // A hundred bytes take a hundred microseconds, and come every ten.
        let all = fates(&quality, 1000);
        assert_eq!(all[999].1.due, 1000 * 100_000);
    }

    #[test]
    fn one_seed_is_one_fate() {
        let quality = Quality {
            loss: Some(Loss::Bernoulli(Chance {
                share: 0.5,
                correlation: 0.2,
            })),
            ..Quality::default()
        };
        assert_eq!(fates(&quality, 1000), fates(&quality, 1000));
    }

    #[test]
    fn the_normal_distribution_is_right() {
        for (x, share) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.96, 0.024_997_9)] {
            near(cumulative(x), share, 1e-6);
        }
    }
}
