//! Taking members out of etcd and bringing them in, over its gateway.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::CapabilityError;
use harness::db::{Db, DbMembership};
use harness::remote::{Node, quote};
use harness::{Name, Value, json};

use crate::db::{Cluster, EtcdDb, ask, data, member, peer, process, server};
use workloads::kit::http::{Connection, HttpError};

/// How long a change may take to be agreed on: some elections.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);

/// A member as etcd tells it.
struct Member {
    id: String,
    urls: Vec<String>,
}

/// The members, as a node sees it.
async fn list(at: &Node) -> Option<Vec<Member>> {
    let answer = ask(at, "/v3/cluster/member/list", Some(json!({}))).await?;
    let members = answer.get("members")?.as_array()?;
    let member = |member: &Value| {
        let urls = member.get("peerURLs")?.as_array()?.iter();
        Some(Member {
            id: member.get("ID")?.as_str()?.to_owned(),
            urls: urls.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    };
    members.iter().map(member).collect()
}

/// Whether a member is the one on a node.
fn is_on(member: &Member, node: &Node) -> bool {
    member.urls.contains(&peer(node))
}

/// Which of all nodes belong to the cluster of one of them, as the others see it: those that see most of them. All, where nobody
/// says that it belongs.
pub(crate) async fn members_now(node: &Node, nodes: &[Node]) -> Vec<Node> {
    let others = nodes.iter().filter(|other| other.name != node.name);
    let seen = join_all(others.map(list)).await;
    let seen = seen.into_iter().flatten();
    let knows = seen.filter(|members| members.iter().any(|member| is_on(member, node)));
    let Some(members) = knows.max_by_key(Vec::len) else {
        return nodes.to_vec();
    };
    let belongs = |node: &&Node| members.iter().any(|member| is_on(member, node));
    nodes.iter().filter(belongs).cloned().collect()
}

/// Those of the nodes through which the cluster reads now: it has a quorum, and they have caught up.
async fn through_quorum(nodes: &[Node]) -> Vec<&Node> {
    let health = join_all(nodes.iter().map(|node| ask(node, "/health", None))).await;
    let is_well = |health: &Option<Value>| {
        let health = health.as_ref().and_then(|health| health.get("health"));
        health.is_some_and(|health| health == "true" || health == &json!(true))
    };
    let well = nodes.iter().zip(&health);
    well.filter(|(_, health)| is_well(health))
        .map(|(node, _)| node)
        .collect()
}

/// Asks one node after another for a change, until one answers that knows: of a request that may have got through nobody else is
/// asked. Without a quorum nobody is: a change that is proposed then may be made much later.
async fn change(others: &[Node], path: &str, body: Value) -> Result<(), CapabilityError> {
    let well = through_quorum(others).await;
    if well.is_empty() {
        let why = "no other node reads through a quorum now: nothing was asked";
        return Err(CapabilityError::NotDone(why.to_owned()));
    }
    let mut refusals = Vec::new();
    for node in well {
        match change_at(node, path, &body).await {
            Err(CapabilityError::NotDone(why)) => refusals.push(why),
            other => return other,
        }
    }
    Err(CapabilityError::NotDone(refusals.join("; ")))
}

async fn change_at(node: &Node, path: &str, body: &Value) -> Result<(), CapabilityError> {
    let name = &node.name;
    let doubtful = |why: String| CapabilityError::Indeterminate(format!("{name}: {why}"));
    let refused = |why: String| CapabilityError::NotDone(format!("{name}: {why}"));
    let mut connection = match Connection::open(&server(node), CHANGE_LIMIT).await {
        Ok(connection) => connection,
        Err(error) => return Err(refused(error.to_string())),
    };
    let asked = connection.post(path, body, "gainsay");
    let answered = match tokio::time::timeout(CHANGE_LIMIT, asked).await {
        Ok(answered) => answered,
        Err(_) => return Err(doubtful(format!("no answer within {CHANGE_LIMIT:?}"))),
    };
    match answered {
        Ok((status, _)) if status.is_success() => Ok(()),
        Ok((status, answer)) => {
            let said = answer.get("message").or(answer.get("error"));
            let said = said
                .and_then(Value::as_str)
                .unwrap_or("no reason given")
                .to_owned();
            // These come from before the proposal; a time limit comes from within.
            let certainly = [
                "unhealthy cluster",
                "not enough started members",
                "member not found",
                "Peer URLs already exists",
            ];
            match certainly.iter().any(|word| said.contains(word)) {
                true => Err(refused(said)),
                false => Err(doubtful(format!("{status}: {said}"))),
            }
        }
        Err(error @ HttpError::Connect { .. }) => Err(refused(error.to_string())),
        Err(error) => Err(doubtful(error.to_string())),
    }
}

#[async_trait]
impl DbMembership for EtcdDb {
    async fn members(&self, at: &Node, nodes: &[Node]) -> Option<Vec<Name>> {
        let members = list(at).await?;
        let belongs = |node: &&Node| members.iter().any(|member| is_on(member, node));
        let named = nodes.iter().filter(belongs);
        Some(named.map(|node| node.name.clone()).collect())
    }

    async fn remove(&self, node: &Node, others: &[Node]) -> Result<(), CapabilityError> {
        let mut id = None;
        for other in others {
            let members = list(other).await.unwrap_or_default();
            id = id.or(members.into_iter().find(|member| is_on(member, node)));
        }
        let Some(Member { id, .. }) = id else {
            let why = format!("no other node knows {} as a member", node.name);
            return Err(CapabilityError::NotDone(why));
        };
        change(others, "/v3/cluster/member/remove", json!({"ID": id})).await
    }

    fn rejoin_script(&self, node: &Node, others: &[Node]) -> Option<String> {
        let start = self.member_of(node, "@members@", Cluster::Existing);
        let mut all: Vec<String> = others.iter().chain([node]).map(member).collect();
        all.sort();
        let servers: Vec<String> = others.iter().map(server).collect();
        let given = [
            ("me", peer(node)),
            ("others", servers.join("\n")),
            ("known", all.join("\n")),
            ("data", data()),
            ("start", start.start_script()),
            ("runs", process().pids_script()),
        ];
        let given = given.map(|(name, value)| format!("{name}={}\n", quote(&value)));
        let script = given.concat() + include_str!("rejoin.sh");
        Some(format!("bash -c {}", quote(&script)))
    }

    async fn add(&self, node: &Node, others: &[Node]) -> Result<(), CapabilityError> {
        // From before it is known: whoever starts the node from then on, starts a member of this cluster.
        self.joins(node);
        let body = json!({"peerURLs": [peer(node)]});
        change(others, "/v3/cluster/member/add", body).await?;
        let all: Vec<Node> = others.iter().chain([node]).cloned().collect();
        let started = self.start_empty(node, &all).await;
        started.map_err(|error| CapabilityError::Indeterminate(format!("{}: {error}", node.name)))
    }
}
