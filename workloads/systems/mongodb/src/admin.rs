//! What administrators ask of a server: commands on a connection of their own, and what is known of them if they fail.

use std::time::Duration;

use bson::{Bson, Document, doc};
use harness::capability::CapabilityError;
use harness::remote::{Node, quote};

use crate::PORT;
use crate::db::{hello, server};
use crate::errors;
use crate::session::ADMIN;
use crate::wire::{Connection, WireError, encode};

/// How long a command that changes something may take: some elections.
pub(crate) const CHANGE_LIMIT: Duration = Duration::from_secs(5);

/// Codes of refusals that come before anything is done: NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary, NotSecondary,
/// NewReplicaSetConfigurationIncompatible, ConfigurationInProgress, InvalidReplicaSetConfig, CurrentConfigNotCommittedYet,
/// PrimarySteppedDown, and IllegalOperation.
const REFUSALS: [i64; 10] = [10107, 13435, 13436, 95, 103, 109, 93, 308, 189, 20];

/// Sends a command, once. An error says whether it may have been done.
pub(crate) async fn command(node: &Node, command: Document) -> Result<Document, CapabilityError> {
    let name = &node.name;
    let asked = async {
        let connection = Connection::open(&server(node), CHANGE_LIMIT).await?;
        connection.ask(ADMIN, command).await
    };
    let answer = match tokio::time::timeout(CHANGE_LIMIT, asked).await {
        Ok(Ok((answer, _))) => answer,
        Ok(Err(error @ WireError::Connect { .. })) => {
            return Err(CapabilityError::NotDone(format!("{name}: {error}")));
        }
        Ok(Err(error)) => return Err(CapabilityError::Indeterminate(format!("{name}: {error}"))),
        Err(_) => {
            let why = format!("{name}: no answer within {CHANGE_LIMIT:?}");
            return Err(CapabilityError::Indeterminate(why));
        }
    };
    if errors::number(&answer, "ok") == Some(1) {
        return Ok(answer);
    }
    let why = format!("{name}: {}", errors::message(&answer));
    let code = errors::number(&answer, "code").unwrap_or_default();
    Err(match REFUSALS.contains(&code) {
        true => CapabilityError::NotDone(why),
        false => CapabilityError::Indeterminate(why),
    })
}

/// The node among these that believes to be the primary, if there is just one.
pub(crate) async fn primary(nodes: &[Node]) -> Result<&Node, CapabilityError> {
    let asked = futures::future::join_all(nodes.iter().map(hello)).await;
    let mut leading = nodes.iter().zip(asked).filter(|(_, hello)| {
        let hello = hello.as_ref();
        hello.is_some_and(|hello| hello.is_primary)
    });
    match (leading.next(), leading.next()) {
        (Some((node, _)), None) => Ok(node),
        (None, _) => Err(CapabilityError::NotDone("there is no primary".to_owned())),
        _ => Err(CapabilityError::NotDone(
            "two nodes believe to be primary".to_owned(),
        )),
    }
}

/// The configuration of the replica set, as a node has it.
pub(crate) async fn configuration_of(node: &Node) -> Result<Document, CapabilityError> {
    let answer = command(node, doc! { "replSetGetConfig": 1 }).await;
    let answer = answer.map_err(|error| CapabilityError::NotDone(error.to_string()))?;
    let configuration = answer.get_document("config");
    configuration
        .cloned()
        .map_err(|error| CapabilityError::NotDone(format!("{}: {error}", node.name)))
}

/// Changes the configuration of the replica set at its primary. `change` gets the members.
pub(crate) async fn reconfigure(
    nodes: &[Node],
    change: impl FnOnce(&mut Vec<Bson>),
) -> Result<Document, CapabilityError> {
    let at = primary(nodes).await?;
    let mut configuration = configuration_of(at).await?;
    let version = errors::number(&configuration, "version").unwrap_or_default();
    configuration.insert("version", version + 1);
    if let Ok(members) = configuration.get_array_mut("members") {
        change(members);
    }
    command(at, doc! { "replSetReconfig": configuration.clone() }).await?;
    Ok(configuration)
}

/// The member of a server, among those of a configuration.
pub(crate) fn member_of<'a>(members: &'a mut [Bson], server: &str) -> Option<&'a mut Document> {
    members
        .iter_mut()
        .filter_map(Bson::as_document_mut)
        .find(|member| member.get_str("host").is_ok_and(|host| host == server))
}

/// A script that sends a command to the server of the node that it runs on, and prints the answer as hexadecimal digits; it fails where
/// nobody listens.
pub(crate) fn script(command: Document) -> String {
    let mut command = command;
    command.insert("$db", ADMIN);
    // It has nothing in it that cannot be written.
    let message = encode(1, &command).unwrap_or_default();
    let bytes: String = message
        .iter()
        .map(|byte| format!("\\x{byte:02x}"))
        .collect();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{PORT} || exit 1\n\
         printf '{bytes}' >&3\n\
         timeout 5 dd bs=1M count=1 <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \\n'"
    );
    format!("bash -c {}", quote(&script))
}

/// What a script's answer has in it where a flag is set, or a number is one.
pub(crate) fn digits(name: &str, kind: u8, value: &[u8]) -> String {
    let bytes = [&[kind][..], name.as_bytes(), &[0], value].concat();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn scripts_say_what_clients_would() {
        let said = script(doc! { "replSetFreeze": 0_i32 });
        let name: String = b"replSetFreeze"
            .iter()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect();
        assert!(said.contains(&name), "{said}");
        assert!(said.contains("/dev/tcp/127.0.0.1/27017"), "{said}");
        assert_eq!(digits("ok", 8, &[1]), "086f6b0001");
    }

    #[test]
    fn members_are_found_by_their_server() {
        let mut members = vec![
            Bson::Document(doc! { "_id": 0, "host": "a:1" }),
            Bson::Document(doc! { "_id": 1, "host": "b:1" }),
        ];
        member_of(&mut members, "b:1")
            .unwrap()
            .insert("priority", 10);
        let changed = members[1].as_document().unwrap();
        assert_eq!(changed.get_i32("priority").unwrap(), 10);
        assert!(member_of(&mut members, "c:1").is_none());
    }
}
