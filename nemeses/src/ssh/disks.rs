//! Acting on disks through the agent: its file system between a system and its data, and damage at rest.
//!
//! What stands is written down on the node: the file system, from before it is put there, and the rules in it. A power cut and
//! damage cannot be taken back, and are not.

use std::sync::Arc;
use std::time::Duration;

use agent::modules::disk::{Deed, NAME, Place, Report, Request};
use agent::modules::{backup, corrupt, processes};
use async_trait::async_trait;
use futures::future::try_join_all;
use harness::capability::{
    CapabilityError, Corruption, DiskRule, DiskStatus, Disks, Lost, Signal, Survival,
};
use harness::db::Db;
use harness::node::undo::Undo;
use harness::remote::{Node, quote};
use harness::{Name, Value, json};

use super::agent::Errand;
use super::journaled::{Journaled, Standing, find, pids, started, translated};
use super::revival;

/// How long the agent may take. Longer than the file system may take to answer it.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a kill may take to be seen to have worked.
const SEEN: Duration = Duration::from_secs(10);

/// The disks under a system's data on nodes.
pub struct DbDisks {
    nodes: Vec<Journaled>,
    db: Arc<dyn Db>,
    /// Where the file system is, or may be.
    interposed: Standing,
    /// Where rules are in force, or may be.
    ruled: Standing,
    /// Where a copy of the data is, or may be.
    kept: Standing,
}

impl DbDisks {
    /// The disks under the system's data on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> DbDisks {
        DbDisks {
            nodes: nodes.to_vec(),
            db,
            interposed: Standing::default(),
            ruled: Standing::default(),
            kept: Standing::default(),
        }
    }

    /// The data folders, each with where the file system over it listens.
    fn places(&self, at: &Journaled) -> Vec<Place> {
        let folders = self.db.data_folders().into_iter().enumerate();
        let place = |(number, folder): (usize, String)| Place {
            folder: folder.into(),
            socket: format!("{}/disk-{number}.socket", at.folder).into(),
        };
        folders.map(place).collect()
    }

    fn request(&self, at: &Journaled, deed: Deed) -> Request {
        Request {
            places: self.places(at),
            deed,
        }
    }

    async fn ask(&self, at: &Journaled, deed: Deed) -> Result<Report, CapabilityError> {
        let request = self.request(at, deed);
        let asked = at.agent.ask(NAME, &request, Errand::default(), PATIENCE);
        asked.await
    }

    /// Ends all rules, by the agent's program alone.
    fn calm_script(&self, at: &Journaled) -> String {
        let program = quote(&at.agent.program()).into_owned();
        let calm = |place: Place| {
            let socket = place.socket.display().to_string();
            format!("{program} disk calm {} || exit 1\n", quote(&socket))
        };
        self.places(at).into_iter().map(calm).collect()
    }

    fn whole(&self, at: &Journaled, deed: backup::Deed) -> backup::Request {
        backup::Request {
            folders: self.db.data_folders().into_iter().map(Into::into).collect(),
            copy: copy_of(at).into(),
            deed,
        }
    }

    async fn interpose_on(&self, at: &Journaled) -> Result<(), CapabilityError> {
        let folders: Vec<String> = self.db.data_folders();
        let undo = Undo {
            fault: "the file system between the system and its data".to_owned(),
            undo: self.withdraw_script(at, &folders),
            verify: gone_script(&folders),
            survives_reboot: false,
            process: None,
        };
        let request = self.request(at, Deed::Interpose);
        let asked = self.interposed.ask(at, &undo, NAME, &request, PATIENCE);
        asked.await.map(|_: Report| ())
    }

    /// Takes the file system away. Who runs on it is ended, and started again without it, if that is possible without us; else it
    /// keeps what files it has open there.
    fn withdraw_script(&self, at: &Journaled, folders: &[String]) -> String {
        let nodes: Vec<Node> = self.nodes.iter().map(|at| at.node.clone()).collect();
        let pids = self.db.pids_script(&at.node);
        let revive = revival::revive(&*self.db, &at.node, &nodes);
        let (kill, revive) = match pids.zip(revive) {
            Some((pids, revive)) => (revival::kill(&pids), revive),
            None => (String::new(), String::new()),
        };
        format!(
            "({})\nif ! ( {} ); then\n{kill}\n{}fi\n{revive}",
            self.calm_script(at),
            gone_script(folders),
            detach_script(folders)
        )
    }

    async fn withdraw_from(&self, at: &Journaled) -> Result<(), CapabilityError> {
        if !self.interposed.has(&at.node.name) {
            return Ok(());
        }
        let request = self.request(at, Deed::Withdraw);
        let asked = self.interposed.take_back(at, NAME, &request, PATIENCE);
        asked.await.map(|_: Report| ())
    }
}

/// Where a copy of a node's data is.
fn copy_of(at: &Journaled) -> String {
    format!("{}/copy-of-data", at.folder)
}

/// How a folder stands among the mounts, to be sought with `grep`.
fn mount_of(folder: &str) -> String {
    quote(&format!(" {folder} fuse.gainsay ")).into_owned()
}

/// Takes the file system away: what has files open there keeps them.
fn detach_script(folders: &[String]) -> String {
    let detach = |folder: &String| {
        format!(
            "while grep -qF {} /proc/self/mounts; do umount -l {} || exit 1; done\n",
            mount_of(folder),
            quote(folder)
        )
    };
    folders.iter().map(detach).collect()
}

fn gone_script(folders: &[String]) -> String {
    let gone = |folder: &String| {
        format!(
            "! grep -qF {} /proc/self/mounts || exit 1\n",
            mount_of(folder)
        )
    };
    folders.iter().map(gone).collect()
}

fn status(report: Report) -> DiskStatus {
    let agent::disk::control::Status {
        rules,
        struck,
        files,
        entries,
    } = report.status;
    DiskStatus {
        rules,
        struck,
        files,
        entries,
    }
}

#[async_trait]
impl Disks for DbDisks {
    async fn probe(&self) -> Result<(), String> {
        if self.db.data_folders().is_empty() {
            return Err("this system does not say where its data is".to_owned());
        }
        started(&self.nodes).await
    }

    async fn interpose(&self) -> Result<(), CapabilityError> {
        let done = self.nodes.iter().map(|at| self.interpose_on(at));
        try_join_all(done).await.map(drop)
    }

    async fn interpose_again(&self, node: &Name) -> Result<(), CapabilityError> {
        match self.interposed.has(node) {
            true => self.interpose_on(find(&self.nodes, node)?).await,
            false => Ok(()),
        }
    }

    async fn withdraw(&self) -> Result<(), CapabilityError> {
        let done = self.nodes.iter().map(|at| self.withdraw_from(at));
        let done = futures::future::join_all(done).await;
        done.into_iter().collect()
    }

    async fn rule(
        &self,
        node: &Name,
        rules: &[DiskRule],
        seed: u64,
    ) -> Result<DiskStatus, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let calm = self.calm_script(at);
        let undo = Undo {
            fault: "disk".to_owned(),
            undo: calm.clone(),
            // It succeeds only where no rules are left.
            verify: calm,
            survives_reboot: false,
            process: None,
        };
        let rules = translated(json!(rules))?;
        let request = self.request(at, Deed::Rules { rules, seed });
        let asked = self.ruled.ask(at, &undo, NAME, &request, PATIENCE);
        asked.await.map(status)
    }

    async fn calm(&self, node: &Name) -> Result<DiskStatus, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let none = Deed::Rules {
            rules: Vec::new(),
            seed: 0,
        };
        let request = self.request(at, none);
        let asked = self.ruled.take_back(at, NAME, &request, PATIENCE);
        asked.await.map(status)
    }

    async fn status(&self, node: &Name) -> Result<DiskStatus, CapabilityError> {
        self.ask(find(&self.nodes, node)?, Deed::Status)
            .await
            .map(status)
    }

    async fn cut_power(
        &self,
        node: &Name,
        survival: Survival,
        seed: u64,
    ) -> Result<Lost, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let pids = pids(&*self.db, at)?;
        let kill = processes::Request {
            pids,
            signal: Some(Signal::KILL.number()),
            patience_ms: SEEN.as_millis() as u64,
        };
        let survival = translated(json!(survival))?;
        let deed = Deed::CutPower {
            kill,
            survival,
            seed,
        };
        let lost = self.ask(at, deed).await?.lost;
        Ok(Lost {
            files: lost.files,
            bytes: lost.bytes,
            entries: lost.entries,
        })
    }

    async fn corrupt(
        &self,
        node: &Name,
        corruption: &Corruption,
    ) -> Result<Value, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let mut request = json!(corruption);
        request["folders"] = json!(self.db.data_folders());
        let request: corrupt::Request = translated(request)?;
        let asked = at
            .agent
            .ask(corrupt::NAME, &request, Errand::default(), PATIENCE);
        asked.await
    }
    async fn keep(&self, node: &Name) -> Result<(), CapabilityError> {
        let at = find(&self.nodes, node)?;
        let copy = copy_of(at);
        let undo = Undo {
            fault: "a copy of the data".to_owned(),
            undo: format!("rm -rf -- {}", quote(&copy)),
            verify: format!("[ ! -e {} ]", quote(&copy)),
            survives_reboot: true,
            process: None,
        };
        let request = self.whole(at, backup::Deed::Keep);
        let asked = self.kept.ask(at, &undo, backup::NAME, &request, PATIENCE);
        asked.await.map(|_: backup::Answer| ())
    }

    async fn put_back(&self, node: &Name) -> Result<Value, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let request = self.whole(at, backup::Deed::PutBack);
        let asked = self.kept.take_back(at, backup::NAME, &request, PATIENCE);
        asked.await
    }

    async fn discard(&self, node: &Name) -> Result<(), CapabilityError> {
        if !self.kept.has(node) {
            return Ok(());
        }
        let at = find(&self.nodes, node)?;
        let request = self.whole(at, backup::Deed::Discard);
        let asked = self.kept.take_back(at, backup::NAME, &request, PATIENCE);
        asked.await.map(|_: backup::Answer| ())
    }

    async fn wipe(&self, node: &Name) -> Result<Value, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let request = self.whole(at, backup::Deed::Wipe);
        let asked = (at.agent).ask(backup::NAME, &request, Errand::default(), PATIENCE);
        asked.await
    }
}
