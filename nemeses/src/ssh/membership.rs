//! Taking nodes out of a system and bringing them in, through its [`Db`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use harness::Name;
use harness::capability::{CapabilityError, Membership};
use harness::db::{Db, DbMembership as OfDb};
use harness::node::undo::Undo;
use harness::remote::Node;

use super::journaled::{Journaled, Standing, find, started};
use super::processes::uncertain;

/// Who belongs to a system on nodes.
pub struct DbMembership {
    nodes: Vec<Journaled>,
    db: Arc<dyn Db>,
    /// Those that are to be brought in again.
    standing: Standing,
}

impl DbMembership {
    /// The system's members among these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> DbMembership {
        DbMembership {
            nodes: nodes.to_vec(),
            db,
            standing: Standing::default(),
        }
    }

    fn of_db(&self) -> Result<&dyn OfDb, String> {
        let missing = "this system cannot grow or shrink while it runs, or is not known to";
        self.db.membership().ok_or_else(|| missing.to_owned())
    }

    fn all(&self) -> Vec<Node> {
        self.nodes.iter().map(|at| at.node.clone()).collect()
    }

    /// A node, and all others.
    fn apart(&self, name: &Name) -> Result<(&Journaled, Vec<Node>), CapabilityError> {
        let mut others = self.all();
        others.retain(|node| node.name != *name);
        Ok((find(&self.nodes, name)?, others))
    }

    /// Writes down how a node is brought in again, before something is done for which it must be. Whether that is new.
    async fn note(&self, at: &Journaled, others: &[Node]) -> Result<bool, CapabilityError> {
        let node = &at.node;
        let of_db = self.of_db().map_err(CapabilityError::NotDone)?;
        let rejoin = of_db.rejoin_script(node, others);
        let (Some(rejoin), Some(pids)) = (rejoin, self.db.pids_script(node)) else {
            return Ok(false);
        };
        if self.standing.has(&node.name) {
            return Ok(false);
        }
        let undo = Undo {
            fault: "membership".to_owned(),
            undo: rejoin,
            verify: format!("[ -n \"$({pids})\" ]"),
            survives_reboot: true,
            process: None,
        };
        self.standing.note(at, &undo).await?;
        Ok(true)
    }
}

#[async_trait]
impl Membership for DbMembership {
    async fn probe(&self) -> Result<(), String> {
        self.of_db()?;
        started(&self.nodes).await
    }

    async fn views(&self) -> BTreeMap<Name, Vec<Name>> {
        let Ok(of_db) = self.of_db() else {
            return BTreeMap::new();
        };
        let all = self.all();
        let asked = join_all(all.iter().map(|node| of_db.members(node, &all))).await;
        let names = all.iter().map(|node| node.name.clone());
        names
            .zip(asked)
            .filter_map(|(name, view)| Some((name, view?)))
            .collect()
    }

    async fn remove(&self, name: &Name) -> Result<(), CapabilityError> {
        let (at, others) = self.apart(name)?;
        let of_db = self.of_db().map_err(CapabilityError::NotDone)?;
        let new = self.note(at, &others).await?;
        let removed = of_db.remove(&at.node, &others).await;
        if new && matches!(removed, Err(CapabilityError::NotDone(_))) {
            self.standing.settle(at).await?;
        }
        removed
    }

    async fn clear(&self, name: &Name) -> Result<(), CapabilityError> {
        let (at, others) = self.apart(name)?;
        self.note(at, &others).await?;
        // It stops first: if anything failed, something has been done.
        let gone = self.db.wipe(&at.node).await;
        gone.map_err(|error| doubtful(uncertain(error)))
    }

    async fn add(&self, name: &Name) -> Result<(), CapabilityError> {
        let (at, others) = self.apart(name)?;
        let of_db = self.of_db().map_err(CapabilityError::NotDone)?;
        // Data of an earlier membership would be taken for that of this one.
        self.db.wipe(&at.node).await.map_err(uncertain)?;
        of_db.add(&at.node, &others).await?;
        self.standing.settle(at).await
    }

    async fn settle(&self, name: &Name) -> Result<(), CapabilityError> {
        self.standing.settle(find(&self.nodes, name)?).await
    }
}

/// The same error of something that has been begun.
fn doubtful(error: CapabilityError) -> CapabilityError {
    match error {
        CapabilityError::NotDone(why) => CapabilityError::Indeterminate(why),
        other => other,
    }
}
