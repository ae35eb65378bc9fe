//! Taking members out of a replica set and bringing them in, by changing its configuration at the primary.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use harness::Name;
use harness::capability::CapabilityError;
use harness::db::{Db, DbMembership};
use harness::remote::Node;

use crate::admin::{command, configuration_of, primary, reconfigure};
use crate::db::{MongoDb, hello, server};
use crate::errors;

/// How long a primary that is to be taken out does not stand, in seconds.
const AWAY: i64 = 10;
/// How long the others may take to elect another one.
const ELECTED: Duration = Duration::from_secs(4);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a member of a configuration is the one on a node.
fn is_on(member: &Bson, node: &Node) -> bool {
    let member = member.as_document();
    member.is_some_and(|member| {
        member
            .get_str("host")
            .is_ok_and(|host| host == server(node))
    })
}

/// A number for a new member: one that no other has.
fn next_id(members: &[Bson]) -> i64 {
    let members = members.iter().filter_map(Bson::as_document);
    let ids = members.filter_map(|member: &Document| errors::number(member, "_id"));
    ids.max().map_or(0, |last| last + 1)
}

/// Has a primary step down: no configuration leaves out the one that it is given to.
async fn depose(node: &Node, others: &[Node]) -> Result<(), CapabilityError> {
    command(
        node,
        doc! { "replSetStepDown": AWAY, "secondaryCatchUpPeriodSecs": 2_i64 },
    )
    .await?;
    let begun = Instant::now();
    while primary(others).await.is_err() && begun.elapsed() < ELECTED {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

#[async_trait]
impl DbMembership for MongoDb {
    async fn members(&self, at: &Node, nodes: &[Node]) -> Option<Vec<Name>> {
        // One that was taken out answers with the configuration that it is not in.
        hello(at).await?;
        let configuration = configuration_of(at).await.ok()?;
        let members = configuration.get_array("members").ok()?;
        let belongs = |node: &&Node| members.iter().any(|member| is_on(member, node));
        let named = nodes.iter().filter(belongs);
        Some(named.map(|node| node.name.clone()).collect())
    }

    async fn remove(&self, node: &Node, others: &[Node]) -> Result<(), CapabilityError> {
        if hello(node).await.is_some_and(|hello| hello.is_primary) && primary(others).await.is_err()
        {
            depose(node, others).await?;
        }
        let change = |members: &mut Vec<Bson>| members.retain(|member| !is_on(member, node));
        reconfigure(others, change).await.map(drop)
    }

    async fn add(&self, node: &Node, others: &[Node]) -> Result<(), CapabilityError> {
        reconfigure(others, |members| {
            let id = next_id(members);
            members.push(Bson::Document(
                doc! { "_id": id, "host": server(node), "priority": 1.0, "votes": 1_i32 },
            ));
        })
        .await?;
        let all: Vec<Node> = others.iter().chain([node]).cloned().collect();
        let started = self.start_empty(node, &all).await;
        started.map_err(|error| CapabilityError::Indeterminate(format!("{}: {error}", node.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_members_have_numbers_of_their_own() {
        let member = |id: i32| Bson::Document(doc! { "_id": id, "host": "a:1" });
        assert_eq!(next_id(&[member(0), member(7), member(2)]), 8);
        assert_eq!(next_id(&[]), 0);
    }
}
