//! The indices of a run, and how requests about documents are written for each version.

use std::time::Duration;

use harness::{Value, json};
use workloads::kit::OwnFile;
use workloads::kit::http::{Connection, Method};
use workloads::{BuildError, Options};

use crate::release::Release;
use crate::{
    ACTIVE_SHARDS, READ_FROM, REFRESH, REPLICAS, SHARDS, VERSION, WRITE_CONSISTENCY, errors,
};

/// Between two looks at whether an index is ready.
const READY_PAUSE: Duration = Duration::from_millis(200);

/// Which copy of a document answers a read by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// As the options say: any, or the primary.
    Asked,
    /// The one of the node that is asked, if it has one.
    Near,
    /// The one of the node that is asked; an error if it has none.
    Own,
    /// One that has all that was acknowledged: before 7.0 only the primary can be asked for, and since then any copy that is read is one.
    Last,
}

/// What all clients of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The version that the run begins with.
    pub(crate) release: Release,
    shards: Option<i64>,
    replicas: Option<i64>,
    /// Parameters of every write.
    parameters: Vec<String>,
    /// Whether documents are read from their primary copy.
    from_primary: bool,
}

impl Settings {
    /// From the options of a run on so many nodes.
    ///
    /// # Errors
    /// If the version is none, or does not have what is asked of it.
    pub(crate) fn read(options: &Options, nodes: usize) -> Result<Settings, BuildError> {
        let release = Release::read(&OwnFile::or_version(options, VERSION));
        let release = release.map_err(|why| BuildError(format!("--{VERSION}: {why}")))?;
        let only = |name: &str, which: &str| {
            let why = format!(
                "--{name} is known to Elasticsearch {which} 5.0 only, and this is {release}"
            );
            Err(BuildError(why))
        };
        let mut parameters = Vec::new();
        match options.text(REFRESH) {
            "wait_for" if !release.counts_active_shards() => {
                return only("refresh wait_for", "since");
            }
            "false" => {}
            refresh => parameters.push(format!("refresh={refresh}")),
        }
        match options.text_if(WRITE_CONSISTENCY) {
            Some(_) if release.counts_active_shards() => return only(WRITE_CONSISTENCY, "before"),
            Some(level) => parameters.push(format!("consistency={level}")),
            None => {}
        }
        match options.text_if(ACTIVE_SHARDS) {
            Some(_) if !release.counts_active_shards() => return only(ACTIVE_SHARDS, "since"),
            Some(count) if count == "all" || count.parse::<u8>().is_ok() => {
                parameters.push(format!("wait_for_active_shards={count}"));
            }
            Some(count) => {
                let why = format!("--{ACTIVE_SHARDS}: a number or `all` expected, found `{count}`");
                return Err(BuildError(why));
            }
            None => {}
        }
        let from_primary = options.text(READ_FROM) == "primary";
        if from_primary && release.major >= 7 {
            let why = format!("--{READ_FROM} primary: {release} takes no such request any more");
            return Err(BuildError(why));
        }
        // Elasticsearch's own number is one, of which an only node has no place.
        let alone = (nodes == 1).then_some(0);
        let replicas = options.integer_if(REPLICAS).or(alone);
        if replicas.is_some_and(|replicas| replicas >= nodes as i64) {
            let why = format!(
                "--{REPLICAS}: {nodes} nodes hold a primary and at most {} replicas",
                nodes - 1
            );
            return Err(BuildError(why));
        }
        Ok(Settings {
            release,
            shards: options.integer_if(SHARDS),
            replicas,
            parameters,
            from_primary,
        })
    }

    /// The same, with a copy of every document on each of so many nodes.
    pub(crate) fn on_every_node(self, nodes: usize) -> Settings {
        Settings {
            replicas: Some(nodes.saturating_sub(1) as i64),
            ..self
        }
    }

    /// Where clients read a document.
    pub(crate) fn read_of(&self, index: &str, id: &str, copy: Copy) -> String {
        let path = self.document(index, id);
        let preference = match copy {
            Copy::Own => "_only_local",
            Copy::Last if self.release.major < 7 => "_primary",
            _ if self.from_primary => "_primary",
            Copy::Near => "_local",
            Copy::Asked | Copy::Last => return path,
        };
        format!("{path}?preference={preference}")
    }

    /// Where a document is.
    pub(crate) fn document(&self, index: &str, id: &str) -> String {
        format!("/{index}/{}/{id}", self.release.doc_type())
    }

    /// Where a document is written, on a condition if there is one.
    pub(crate) fn write(&self, index: &str, id: &str, condition: &[String]) -> String {
        let parameters: Vec<&str> = self
            .parameters
            .iter()
            .chain(condition)
            .map(String::as_str)
            .collect();
        let path = self.document(index, id);
        match parameters.is_empty() {
            true => path,
            false => format!("{path}?{}", parameters.join("&")),
        }
    }

    /// What an answer says that tells versions of a document apart, and what a write takes to be conditional on each: the sequence
    /// number and the primary's term since 6.6, else a number that counts writes.
    fn version_names(&self) -> &'static [(&'static str, &'static str)] {
        match self.release.has_sequence_numbers() {
            true => &[
                ("_seq_no", "if_seq_no"),
                ("_primary_term", "if_primary_term"),
            ],
            false => &[("_version", "version")],
        }
    }

    /// What makes a write succeed only if the document is still as this answer showed it. None if the answer does not say.
    pub(crate) fn condition(&self, answer: &Value) -> Option<Vec<String>> {
        let names = self.version_names().iter();
        let condition = names.map(|(given, asked)| {
            let number = answer.get(given)?.as_i64()?;
            Some(format!("{asked}={number}"))
        });
        condition.collect()
    }

    /// Which version of a document an answer shows or made. None if it does not say.
    pub(crate) fn version(&self, answer: &Value) -> Option<Value> {
        let names = self.version_names().iter();
        let numbers = names.map(|(given, _)| answer.get(given)?.as_i64());
        let numbers: Vec<i64> = numbers.collect::<Option<_>>()?;
        match numbers[..] {
            [version] => Some(json!(version)),
            _ => Some(json!(numbers)),
        }
    }

    /// The settings of every index.
    fn of_all(&self) -> Value {
        match self.release.major {
            // Maps no files ([`crate::patch`]); later versions are told so as a whole.
            5 => json!({"store.type": "niofs"}),
            _ => json!({}),
        }
    }

    /// The settings of the workload's index.
    fn of_workload(&self) -> Value {
        let mut settings = self.of_all();
        let given = [
            ("number_of_shards", self.shards),
            ("number_of_replicas", self.replicas),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                settings[name] = json!(value);
            }
        }
        settings
    }
}

/// The name of the workload's index.
pub(crate) fn of_workload(run: u64) -> String {
    format!("gainsay-{run:x}")
}

/// The name of the index that proves that the cluster has recovered.
pub(crate) fn of_recovery(run: u64) -> String {
    format!("gainsay-recovery-{run:x}")
}

/// What makes a write succeed only if there is no document yet.
pub(crate) const ABSENT: &str = "op_type=create";

/// Makes both indices, unless they are there, and waits until they have all their copies. The caller bounds it.
pub(crate) async fn make(
    connection: &mut Connection,
    settings: &Settings,
    run: u64,
) -> Result<(), String> {
    // Every node has a copy, so each can be asked for what it has.
    let mut everywhere = settings.of_all();
    everywhere["number_of_shards"] = json!(1);
    everywhere["auto_expand_replicas"] = json!("0-all");
    for (index, settings) in [
        (of_workload(run), settings.of_workload()),
        (of_recovery(run), everywhere),
    ] {
        let made = connection
            .send(
                Method::PUT,
                &format!("/{index}"),
                Some(&json!({ "settings": settings })),
                "gainsay",
            )
            .await;
        let (status, answer) = made.map_err(|error| error.to_string())?;
        let (_, error) = errors::classify(status.as_u16(), &answer);
        if !status.is_success() && !is_there_already(&error.message) {
            return Err(format!("index {index}: {}", error.message));
        }
        loop {
            let health = connection.get(&format!("/_cluster/health/{index}")).await;
            let (_, health) = health.map_err(|error| error.to_string())?;
            if health.get("status").and_then(Value::as_str) == Some("green") {
                break;
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
    }
    Ok(())
}

/// Whether an index could not be made because another client made it.
fn is_there_already(message: &str) -> bool {
    let message = message.to_lowercase().replace('_', "");
    // `IndexAlreadyExistsException`, `index_already_exists_exception`, `resource_already_exists_exception`.
    message.contains("alreadyexistsexception")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use workloads::Suite;

    fn settings(given: &[(&str, &str)]) -> Result<Settings, BuildError> {
        settings_of(given, 3)
    }

    fn settings_of(given: &[(&str, &str)], nodes: usize) -> Result<Settings, BuildError> {
        let specs = crate::ElasticsearchSuite.options();
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let given: Vec<(String, String)> = given.collect();
        let mut options = Options::default();
        for spec in &specs {
            let text = given.iter().find(|(name, _)| *name == spec.name);
            let value = match text {
                Some((_, text)) => Some(spec.parse(text).unwrap()),
                None => spec.default_value(),
            };
            if let Some(value) = value {
                options.0.insert(spec.name.clone(), value);
            }
        }
        Settings::read(&options, nodes)
    }

    #[test]
    fn paths_and_conditions_of_versions() {
        let old = settings(&[(VERSION, "1.5.0"), (WRITE_CONSISTENCY, "all")]).unwrap();
        assert_eq!(old.read_of("i", "3", Copy::Asked), "/i/doc/3");
        let primary = settings(&[(VERSION, "1.5.0"), (READ_FROM, "primary")]).unwrap();
        for copy in [Copy::Asked, Copy::Near, Copy::Last] {
            let path = primary.read_of("i", "3", copy);
            assert_eq!(path, "/i/doc/3?preference=_primary");
        }
        for copy in [
            (Copy::Near, "_local"),
            (Copy::Own, "_only_local"),
            (Copy::Last, "_primary"),
        ] {
            let path = old.read_of("i", "3", copy.0);
            assert_eq!(path, format!("/i/doc/3?preference={}", copy.1));
        }
        let answer = json!({"_version": 4, "_seq_no": 7, "_primary_term": 2});
        let condition = old.condition(&answer).unwrap();
        assert_eq!(
            old.write("i", "3", &condition),
            "/i/doc/3?consistency=all&version=4"
        );
        assert_eq!(old.version(&answer), Some(json!(4)));
        let new = settings(&[]).unwrap();
        assert_eq!(new.read_of("i", "3", Copy::Last), "/i/_doc/3");
        assert_eq!(new.version(&answer), Some(json!([7, 2])));
        assert_eq!(new.write("i", "3", &[]), "/i/_doc/3");
        let condition = new.condition(&answer).unwrap();
        assert_eq!(
            new.write("i", "3", &condition),
            "/i/_doc/3?if_seq_no=7&if_primary_term=2"
        );
        let counted = json!({"_version": 4});
        assert_eq!(
            (new.condition(&counted), new.version(&counted)),
            (None, None)
        );
    }

    #[test]
    fn records_can_be_on_every_node() {
        let own = settings(&[]).unwrap().of_workload();
        assert_eq!(own.get("number_of_replicas"), None);
        let alone = settings_of(&[], 1).unwrap().of_workload();
        assert_eq!(alone["number_of_replicas"], 0);
        let everywhere = settings(&[(REPLICAS, "1")]).unwrap().on_every_node(3);
        assert_eq!(everywhere.of_workload()["number_of_replicas"], 2);
    }

    #[test]
    fn options_that_a_version_does_not_have_are_refused() {
        for given in [
            &[(VERSION, "1.5.0"), (ACTIVE_SHARDS, "all")][..],
            &[(VERSION, "1.5.0"), (REFRESH, "wait_for")],
            &[(VERSION, "7.17.29"), (WRITE_CONSISTENCY, "one")],
            &[(ACTIVE_SHARDS, "most")],
            &[(REPLICAS, "3")],
            &[(READ_FROM, "primary")],
            &[(VERSION, "9")],
        ] {
            assert!(settings(given).is_err(), "{given:?}");
        }
        assert!(settings(&[(ACTIVE_SHARDS, "2"), (REPLICAS, "2"), (REFRESH, "wait_for")]).is_ok());
    }

    #[test]
    fn an_index_of_another_client_is_no_error() {
        assert!(is_there_already(
            "400: IndexAlreadyExistsException[[i] already exists]"
        ));
        assert!(is_there_already(
            "400: resource_already_exists_exception: index [i/x] already exists"
        ));
        assert!(!is_there_already("503: no master"));
    }
}
