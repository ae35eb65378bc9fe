//! Taking nodes out of a system and bringing them in, through its [`Db`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use harness::Name;
use harness::capability::{CapabilityError, Membership};
use harness::db::{Db, DbMembership as OfDb};
use harness::remote::Node;

use super::journaled::Journaled;
use super::processes::uncertain;

/// Who belongs to a system on nodes.
pub struct DbMembership {
    nodes: Vec<Node>,
    db: Arc<dyn Db>,
}

impl DbMembership {
    /// The system's members among these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> DbMembership {
        DbMembership {
            nodes: nodes.iter().map(|at| at.node.clone()).collect(),
            db,
        }
    }

    fn of_db(&self) -> Result<&dyn OfDb, String> {
        let missing = "this system cannot grow or shrink while it runs, or is not known to";
        self.db.membership().ok_or_else(|| missing.to_owned())
    }

    /// A node, and all others.
    fn apart(&self, name: &Name) -> Result<(&Node, Vec<Node>), CapabilityError> {
        let others = self.nodes.iter().filter(|node| node.name != *name);
        let node = self.nodes.iter().find(|node| node.name == *name);
        let node = node.ok_or_else(|| CapabilityError::NotDone(format!("no node {name}")))?;
        Ok((node, others.cloned().collect()))
    }
}

#[async_trait]
impl Membership for DbMembership {
    async fn probe(&self) -> Result<(), String> {
        self.of_db().map(drop)
    }

    async fn views(&self) -> BTreeMap<Name, Vec<Name>> {
        let Ok(of_db) = self.of_db() else {
            return BTreeMap::new();
        };
        let asked = join_all(
            self.nodes
                .iter()
                .map(|node| of_db.members(node, &self.nodes)),
        )
        .await;
        let names = self.nodes.iter().map(|node| node.name.clone());
        names
            .zip(asked)
            .filter_map(|(name, view)| Some((name, view?)))
            .collect()
    }

    async fn remove(&self, name: &Name) -> Result<(), CapabilityError> {
        let (node, others) = self.apart(name)?;
        let of_db = self.of_db().map_err(CapabilityError::NotDone)?;
        of_db.remove(node, &others).await
    }

    async fn clear(&self, name: &Name) -> Result<(), CapabilityError> {
        let (node, _) = self.apart(name)?;
        // It stops first: if anything failed, something has been done.
        let gone = self.db.wipe(node).await;
        gone.map_err(|error| doubtful(uncertain(error)))
    }

    async fn add(&self, name: &Name) -> Result<(), CapabilityError> {
        let (node, others) = self.apart(name)?;
        let of_db = self.of_db().map_err(CapabilityError::NotDone)?;
        // Data of an earlier membership would be taken for that of this one.
        self.db.wipe(node).await.map_err(uncertain)?;
        of_db.add(node, &others).await
    }
}

/// The same error of something that has been begun.
fn doubtful(error: CapabilityError) -> CapabilityError {
    match error {
        CapabilityError::NotDone(why) => CapabilityError::Indeterminate(why),
        other => other,
    }
}
