//! What happens to packets on the links of a node: dropped, rejected, held back, or treated badly.
//!
//! Rules come in layers, one for each fault, so that faults do not disturb each other. A layer is a table of its own in the node's
//! firewall, `inet gainsay_LAYER`, which is made whole in one transaction, replaced whole and deleted whole; nobody else's
//! tables are read or touched. Rules drop and reject in the kernel. What has to be held back comes to this program through a
//! queue (`nfnetlink_queue`), a queue for each rule, and is let go when its time has come. The queues let
//! packets pass when nobody listens any more: a link is whole again when this program has ended, however it did.

mod copies;
mod flap;
mod netlink;
mod quality;
mod shaper;
mod table;
mod types;

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

use super::{Failure, Module, answer, understand};
use flap::Flapper;
use shaper::{Queue, Shaper};
use table::{Queueing, Table};

pub use types::{
    Answer, Chance, Counts, Delay, Distribution, Loss, NAME, Protocol, Quality, Reorder, Request,
    Rule, RuleSet, Traffic, Treatment, Way,
};

/// The mark of packets that are none of the rules' business: copies that this program sends itself.
const MARK: u32 = 0x6761_696e;

/// The module.
#[derive(Default)]
pub(crate) struct Network {
    kernel: Option<netlink::Socket>,
    /// How packets can be had here. Known once somebody asked.
    queueing: Option<Queueing>,
    shaper: Option<Shaper>,
    layers: BTreeMap<String, Layer>,
}

/// Rules in force.
struct Layer {
    table: Table,
    queues: Vec<Queue>,
    flapper: Option<Flapper>,
}

impl Module for Network {
    fn handle(&mut self, request: Value) -> Result<Value, Failure> {
        answer(match understand(request)? {
            Request::Probe { shaping } => self.probe(shaping)?,
            Request::Set(rules) => self.set(rules)?,
            Request::Count { layer } => self.count(&layer)?,
            Request::Heal { layer } => self.heal(&layer)?,
        })
    }
}

fn not_done(what: &str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::NotDone(format!("{what}: {error}"))
}

fn indeterminate(what: &str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Indeterminate(format!("{what}: {error}"))
}

impl Network {
    fn kernel(&mut self) -> Result<&mut netlink::Socket, Failure> {
        match &mut self.kernel {
            Some(kernel) => Ok(kernel),
            none => {
                let socket = netlink::Socket::new().map_err(not_done("no way to the firewall"))?;
                Ok(none.insert(socket))
            }
        }
    }

    /// Whether rules can be made here, by making some that match nothing, and taking them back.
    fn probe(&mut self, shaping: bool) -> Result<Answer, Failure> {
        let kernel = self.kernel()?;
        table::try_out(kernel, None).map_err(|error| {
            Failure::NotDone(format!(
                "the firewall cannot be told anything: {error}\n  hint: the login user must be root or have sudo, and the \
                 kernel must have nf_tables"
            ))
        })?;
        if shaping {
            self.queueing()?;
            self.shaper()?;
        }
        Ok(Answer::default())
    }

    fn queueing(&mut self) -> Result<Queueing, Failure> {
        if let Some(queueing) = self.queueing {
            return Ok(queueing);
        }
        let kernel = self.kernel()?;
        let mut errors = Vec::new();
        for queueing in [Queueing::Native, Queueing::Target] {
            match table::try_out(kernel, Some(queueing)) {
                Ok(()) => {
                    self.queueing = Some(queueing);
                    return Ok(queueing);
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        Err(Failure::NotDone(format!(
            "packets cannot be held back: the kernel has neither nft_queue ({}) nor xt_NFQUEUE ({})",
            errors[0], errors[1]
        )))
    }

    fn shaper(&mut self) -> Result<&Shaper, Failure> {
        match &mut self.shaper {
            Some(shaper) if shaper.lives() => {}
            other => {
                let shaper = Shaper::start().map_err(not_done("packets cannot be held back"))?;
                *other = Some(shaper);
            }
        }
        self.shaper
            .as_ref()
            .ok_or_else(|| Failure::NotDone("packets cannot be held back".to_owned()))
    }

    /// Opens a queue for each rule that needs one.
    fn open(&mut self, rules: &RuleSet) -> Result<Vec<Queue>, Failure> {
        if !rules.rules.iter().any(|rule| rule.treatment.queues()) {
            return Ok(Vec::new());
        }
        let shaper = self.shaper()?;
        shaper.open(rules).map_err(not_done("no queue for packets"))
    }

    fn set(&mut self, rules: RuleSet) -> Result<Answer, Failure> {
        let queues = self.open(&rules)?;
        let queueing = match queues.is_empty() {
            true => Queueing::Native,
            false => self.queueing()?,
        };
        let table = Table::new(&rules, &queues, queueing);
        // It must not put the old rules into the new table.
        if let Some(before) = self.layers.get_mut(&rules.layer) {
            before.flapper.take();
        }
        let kernel = self.kernel()?;
        if let Err(error) = table.install(kernel) {
            self.close(queues)?;
            return Err(not_done("the firewall refuses the rules")(error));
        }
        let told = table
            .installed(kernel)
            .map_err(indeterminate("the rules that are installed are not told"))?;
        let expected = table.rules();
        let flapper = rules.flap_ms.map(|period| {
            let numbers = queues.clone();
            let shaper = self.shaper.as_ref().map(Shaper::handle);
            Flapper::start(&table, period, move |on| {
                if let Some(shaper) = &shaper {
                    shaper.hold(&numbers, on);
                }
            })
        });
        let layer = Layer {
            table,
            queues,
            flapper,
        };
        if let Some(before) = self.layers.insert(rules.layer.clone(), layer) {
            self.close(before.queues)?;
        }
        if told != expected {
            return Err(Failure::Indeterminate(format!(
                "told to install {expected} rules, but the kernel has {told}"
            )));
        }
        Ok(Answer {
            counts: None,
            installed: Some(told),
        })
    }

    /// Lets go what is held in some queues, and does without them.
    fn close(&mut self, queues: Vec<Queue>) -> Result<(), Failure> {
        match (&self.shaper, queues.is_empty()) {
            (Some(shaper), false) => shaper
                .close(&queues)
                .map_err(indeterminate("held packets are not let go")),
            _ => Ok(()),
        }
    }

    fn counts(&mut self, name: &str) -> Result<Option<Vec<Counts>>, Failure> {
        let Some(layer) = self.layers.get(name) else {
            return Ok(None);
        };
        let shaped = match (&self.shaper, layer.queues.is_empty()) {
            (Some(shaper), false) => shaper.counts(&layer.queues),
            _ => Vec::new(),
        };
        let table = layer.table.clone();
        let counted = table
            .counts(self.kernel()?)
            .map_err(indeterminate("the counters are not told"))?;
        Ok(counted.map(|mut counts| {
            for (rule, shaped) in shaped {
                counts[rule] = Counts {
                    matched: counts[rule].matched,
                    ..shaped
                };
            }
            counts
        }))
    }

    fn count(&mut self, name: &str) -> Result<Answer, Failure> {
        let counts = self.counts(name)?;
        Ok(Answer {
            counts,
            installed: None,
        })
    }

    fn heal(&mut self, name: &str) -> Result<Answer, Failure> {
        if let Some(layer) = self.layers.get_mut(name) {
            layer.flapper.take();
            if let Some(shaper) = &self.shaper {
                shaper.handle().hold(&layer.queues, false);
            }
        }
        let counts = self.counts(name)?;
        let table = table::name(name);
        let kernel = self.kernel()?;
        table::delete(kernel, &table).map_err(indeterminate("the rules are not deleted"))?;
        if let Some(layer) = self.layers.remove(name) {
            self.close(layer.queues)?;
        }
        Ok(Answer {
            counts,
            installed: None,
        })
    }
}
