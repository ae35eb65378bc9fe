//! Taking members out of a replica set and bringing them in, by changing its configuration at the primary.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use harness::Name;
use harness::capability::CapabilityError;
use harness::db::{Db, DbMembership};
use harness::remote::{Node, quote};

use crate::admin::{command, configuration_of, primary, reconfigure};
use crate::db::{MongoDb, data, hello, process, server};
use crate::errors;

/// How long a primary that is to be taken out does not stand, in seconds.
const AWAY: i64 = 10;
/// How long the others may take to elect another one.
const ELECTED: Duration = Duration::from_secs(4);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// How a node is brought in without the controller, in functions of a shell.
const REJOIN: &str = include_str!("rejoin.sh");

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

    fn rejoin_script(&self, node: &Node, others: &[Node]) -> Option<String> {
        let servers: Vec<String> = others.iter().map(server).collect();
        let given = [
            ("me", server(node)),
            ("others", servers.join("\n")),
            ("data", data()),
            ("start", self.member(node).start_script()),
            ("runs", process().pids_script()),
        ];
        let given = given.map(|(name, value)| format!("{name}={}\n", quote(&value)));
        let script = given.concat() + REJOIN + "bring_in\n";
        Some(format!("bash -c {}", quote(&script)))
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
    #![allow(clippy::unwrap_used)]
    use std::fmt::Write;
    use std::process::Command;

    use super::*;

    /// What a function of the script makes of a configuration, as one without the controller would.
    fn grown(configuration: &Document, me: &str) -> Document {
        let encoded = configuration.to_vec().unwrap();
        let mut bytes = String::new();
        for byte in &encoded {
            write!(bytes, " {byte:02x}").unwrap();
        }
        let script = format!("{REJOIN}\ndocument \"$(grown \"$(elements \"$config\")\")\"");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .env("me", me)
            .env("config", &bytes);
        let output = command.output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let bytes = text
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        Document::from_reader(&mut &bytes.collect::<Vec<u8>>()[..]).unwrap()
    }

    #[test]
    fn without_the_controller_a_configuration_is_grown_as_with_it() {
        // More than nine members; numbers that have `5f` and a space in them; both kinds of versions; something after the members.
        let hosts = |count: i32| -> Vec<Bson> {
            let members = (0..count).map(|it| doc! { "_id": it * 23, "host": format!("10.77.0.{it}:27017"), "tags": { "a": "b" } });
            members.map(Bson::Document).collect()
        };
        for (count, version) in [
            (3, Bson::Int32(255)),
            (1, Bson::Int64(70_000)),
            (11, Bson::Int32(1_010_404)),
        ] {
            let next = match version {
                Bson::Int32(it) => Bson::Int32(it + 1),
                Bson::Int64(it) => Bson::Int64(it + 1),
                _ => unreachable!(),
            };
            let configuration = |version: Bson, members: Vec<Bson>| {
                doc! { "_id": "gainsay", "version": version, "term": 3_i64, "members": members, "protocolVersion": 1_i64, "settings": { "a": 1 } }
            };
            let mut members = hosts(count);
            let before = configuration(version, members.clone());
            members.push(Bson::Document(doc! {
                "_id": (count - 1) * 23 + 1, "host": "10.77.0.99:27017", "priority": 1.0, "votes": 1_i32,
            }));
            let after = grown(&before, "10.77.0.99:27017");
            assert_eq!(after, configuration(next, members));
        }
    }

    #[test]
    fn new_members_have_numbers_of_their_own() {
        let member = |id: i32| Bson::Document(doc! { "_id": id, "host": "a:1" });
        assert_eq!(next_id(&[member(0), member(7), member(2)]), 8);
        assert_eq!(next_id(&[]), 0);
    }
}
