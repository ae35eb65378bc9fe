//! Links between nodes, and between clients and their nodes: latency, order, cuts.

use harness::capability::Grudge;
use harness::seed::{Rng, Seed};
use harness::time::Nanos;
use rand::RngExt;
use store::Name;

use crate::message::NodeId;

/// The links.
///
/// Messages on a link arrive in the order in which they were sent, as on a TCP connection. Those
/// that arrive where a cut stands are dropped, whenever they were sent, and are not sent again:
/// what is lost is lost until the protocol repeats it.
#[derive(Debug)]
pub(crate) struct Links {
    nodes: usize,
    rng: Rng,
    /// Median latency of each link, by `from * nodes + to`; that of a client's link stands where a
    /// node's link to itself would.
    median: Vec<f64>,
    /// When the last message on a link arrives.
    busy_until: Vec<Nanos>,
    /// By `from * nodes + to`: whether messages are dropped.
    cut: Vec<bool>,
    dropped: Vec<u64>,
}

impl Links {
    pub(crate) fn new(nodes: usize, median: Nanos, seed: Seed) -> Links {
        let mut rng = seed.rng();
        let links = nodes * nodes;
        let median = (0..links)
            .map(|_| median as f64 * rng.random_range(0.7..1.4))
            .collect();
        Links {
            nodes,
            rng,
            median,
            busy_until: vec![0; links],
            cut: vec![false; links],
            dropped: vec![0; nodes],
        }
    }

    /// When a message that is sent now arrives.
    pub(crate) fn arrival(&mut self, now: Nanos, from: NodeId, to: NodeId) -> Nanos {
        let link = from * self.nodes + to;
        let at = now + self.draw(link);
        // Never before the one sent before it.
        self.busy_until[link] = self.busy_until[link].max(at);
        self.busy_until[link]
    }

    /// How long a message takes between a node and one of its clients. Each client has connections
    /// of its own, so these wait for nobody.
    pub(crate) fn client_latency(&mut self, node: NodeId) -> Nanos {
        self.draw(node * self.nodes + node)
    }

    /// A latency from a log-logistic distribution of shape 4, which has the long tail that networks
    /// have. Unlike the log-normal it needs only operations that are the same on every machine, and
    /// so histories are, too.
    fn draw(&mut self, link: usize) -> Nanos {
        let u = self.rng.random_range(0.000_01..0.999_99_f64);
        (self.median[link] * (u / (1.0 - u)).sqrt().sqrt()) as Nanos
    }

    /// Whether a message that arrives now is dropped; if so, counts it.
    pub(crate) fn drops(&mut self, from: NodeId, to: NodeId) -> bool {
        let cut = self.cut[from * self.nodes + to];
        self.dropped[to] += u64::from(cut);
        cut
    }

    /// Replaces all cuts. Counts go on.
    pub(crate) fn cut(&mut self, names: &[Name], grudge: &Grudge) {
        for from in 0..self.nodes {
            for to in 0..self.nodes {
                self.cut[from * self.nodes + to] = grudge.drops(&names[from], &names[to]);
            }
        }
    }

    /// Removes all cuts. Returns how many messages each node dropped since the last time.
    pub(crate) fn heal(&mut self) -> Vec<u64> {
        self.cut.fill(false);
        std::mem::replace(&mut self.dropped, vec![0; self.nodes])
    }

    /// How many messages each node dropped since cuts were last removed.
    pub(crate) fn dropped(&self) -> &[u64] {
        &self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_their_median_and_a_long_tail_and_keep_order() {
        let mut links = Links::new(2, 1_000_000, Seed::new(1));
        let mut drawn: Vec<Nanos> = (0..10_001).map(|_| links.client_latency(0)).collect();
        drawn.sort_unstable();
        let (median, p99) = (drawn[5_000], drawn[9_900]);
        assert!((700_000..1_400_000).contains(&median), "{median}");
        assert!((5 * median / 2..4 * median).contains(&p99), "{p99}");

        let arrivals: Vec<Nanos> = (0..1_000).map(|i| links.arrival(i * 1_000, 0, 1)).collect();
        assert!(arrivals.is_sorted());
        assert!(
            arrivals
                .iter()
                .enumerate()
                .all(|(i, at)| *at > i as u64 * 1_000)
        );
    }

    #[test]
    fn cuts_have_a_direction_and_are_counted_where_they_drop() {
        let names: Vec<Name> = vec!["a".into(), "b".into()];
        let mut links = Links::new(2, 1_000, Seed::new(1));
        let grudge = Grudge([("b".into(), ["a".into()].into())].into());
        links.cut(&names, &grudge);
        assert!(links.drops(0, 1));
        assert!(!links.drops(1, 0));
        assert_eq!(links.dropped(), [0, 1]);
        assert_eq!(links.heal(), [0, 1]);
        assert!(!links.drops(0, 1));
        assert_eq!(links.heal(), [0, 0]);
    }
}
