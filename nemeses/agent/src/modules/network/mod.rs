//! What happens to packets on the links of a node: dropped, rejected, held back, or treated badly.
//!
//! Rules come in layers, one for each fault, so that faults do not disturb each other. All are in a table of our own in the node's
//! firewall, `inet gainsay`, of which each change is one transaction, and which is there only while a layer is; nobody else's
//! tables are read or touched. Rules drop and reject in the kernel. What has to be held back comes to this program through a
//! queue (`nfnetlink_queue`), a queue for each rule, and is let go when its time has come. The queues let
//! packets pass when nobody listens any more: no link stays slow when this program has ended, however it did.

mod copies;
mod flap;
mod netlink;
mod quality;
mod shaper;
mod table;
mod types;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::{Failure, Module, answer, understand};
use flap::Flapper;
use shaper::{Queue, Shaper};
use table::{Firewall, Layer, Queueing};

pub use types::{
    Answer, Chance, Counts, Delay, Distribution, Loss, NAME, Protocol, Quality, Reorder, Request,
    Rule, RuleSet, Traffic, Treatment, Way,
};

/// The mark of packets that are none of the rules' business: copies that this program sends itself.
const MARK: u32 = 0x6761_696e;

/// The module.
#[derive(Default)]
pub(crate) struct Network {
    firewall: Option<Shared>,
    /// How packets can be had here. Known once somebody asked.
    queueing: Option<Queueing>,
    shaper: Option<Shaper>,
    /// What layers have beside their rules.
    layers: BTreeMap<String, Besides>,
}

/// The firewall, for the module and for what changes rules by itself.
#[derive(Clone)]
struct Shared(Arc<Mutex<Firewall>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Firewall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a layer has beside its rules.
#[derive(Default)]
struct Besides {
    queues: Vec<Queue>,
    flapper: Option<Flapper>,
}

impl Module for Network {
    fn handle(&mut self, request: Value) -> Result<Value, Failure> {
        answer(match understand(request)? {
            Request::Probe { shaping } => self.probe(shaping)?,
            Request::Set(rules) => self.set(&rules)?,
            Request::Count { layer } => self.count(&layer)?,
            Request::Heal { layer } => self.heal(&layer)?,
        })
    }
}

/// Nobody will ask any more. What is held is let go, and no rule outlives it.
impl Drop for Network {
    fn drop(&mut self) {
        let names: Vec<String> = self.layers.keys().cloned().collect();
        for name in names {
            // What fails here, the undo journal does.
            let _ = self.heal(&name);
        }
    }
}

fn not_done(what: &str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::NotDone(format!("{what}: {error}"))
}

fn indeterminate(what: &str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Indeterminate(format!("{what}: {error}"))
}

impl Network {
    fn firewall(&mut self) -> Result<Shared, Failure> {
        if let Some(firewall) = &self.firewall {
            return Ok(firewall.clone());
        }
        let firewall = Firewall::new().map_err(not_done("no way to the firewall"))?;
        let firewall = Shared(Arc::new(Mutex::new(firewall)));
        Ok(self.firewall.insert(firewall).clone())
    }

    /// Whether rules can be made here, by making some that match nothing, and taking them back.
    fn probe(&mut self, shaping: bool) -> Result<Answer, Failure> {
        let tried = self.firewall()?.lock().try_out(None);
        tried.map_err(|error| {
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
        let firewall = self.firewall()?;
        let mut errors = Vec::new();
        for queueing in [Queueing::Native, Queueing::Target] {
            match firewall.lock().try_out(Some(queueing)) {
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

    fn set(&mut self, rules: &RuleSet) -> Result<Answer, Failure> {
        let queues = self.open(rules)?;
        let queueing = match queues.is_empty() {
            true => Queueing::Native,
            false => self.queueing()?,
        };
        let firewall = self.firewall()?;
        // What was there before must not change the rules any more; what it holds goes before it.
        self.rest(&rules.layer);
        let layer = Layer::new(rules, &queues, queueing);
        if let Err(error) = firewall.lock().set(layer) {
            self.close(&queues)?;
            return Err(not_done("the firewall refuses the rules")(error));
        }
        let (expected, told) = firewall
            .lock()
            .rules()
            .map_err(indeterminate("the rules that are installed are not told"))?;
        let flapper = rules.flap_ms.map(|period| {
            let (name, queues) = (rules.layer.clone(), queues.clone());
            let shaper = self.shaper.as_ref().map(Shaper::handle);
            Flapper::start(period, move |on| {
                if let Some(shaper) = &shaper {
                    shaper.hold(&queues, on);
                }
                firewall.lock().switch(&name, on).is_ok()
            })
        });
        let besides = Besides { queues, flapper };
        if let Some(before) = self.layers.insert(rules.layer.clone(), besides) {
            self.close(&before.queues)?;
        }
        if told != expected {
            return Err(Failure::Indeterminate(format!(
                "there should be {expected} rules, but the kernel has {told}"
            )));
        }
        Ok(Answer {
            counts: None,
            installed: Some(told),
        })
    }

    /// Lets a layer change nothing any more by itself, and hold nothing.
    fn rest(&mut self, name: &str) {
        if let Some(layer) = self.layers.get_mut(name) {
            layer.flapper.take();
            if let (Some(shaper), false) = (&self.shaper, layer.queues.is_empty()) {
                shaper.handle().hold(&layer.queues, false);
            }
        }
    }

    /// Lets go what is held in some queues, and does without them.
    fn close(&mut self, queues: &[Queue]) -> Result<(), Failure> {
        match (&self.shaper, queues.is_empty()) {
            (Some(shaper), false) => shaper
                .close(queues)
                .map_err(indeterminate("held packets are not let go")),
            _ => Ok(()),
        }
    }

    fn counts(&mut self, name: &str) -> Result<Option<Vec<Counts>>, Failure> {
        let queues = self.layers.get(name).map(|layer| &layer.queues[..]);
        let shaped = match (&self.shaper, queues) {
            (Some(shaper), Some(queues)) if !queues.is_empty() => shaper.counts(queues),
            _ => Vec::new(),
        };
        let counted = self.firewall()?.lock().counts(name);
        let counted = counted.map_err(indeterminate("the counters are not told"))?;
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
        self.rest(name);
        let counts = self.counts(name)?;
        let deleted = self.firewall()?.lock().delete(name);
        deleted.map_err(indeterminate("the rules are not deleted"))?;
        if let Some(layer) = self.layers.remove(name) {
            self.close(&layer.queues)?;
        }
        Ok(Answer {
            counts,
            installed: None,
        })
    }
}
