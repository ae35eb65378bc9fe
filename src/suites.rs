//! The table of suites: where a system's crate registers itself.

use std::sync::Arc;

use anyhow::{Result, bail};
use workloads::Suite;

/// The suites that this build knows: the one table in which a system's crate registers itself.
pub fn built_in() -> Vec<Arc<dyn Suite>> {
    vec![
        #[cfg(feature = "etcd")]
        Arc::new(etcd::EtcdSuite),
        #[cfg(feature = "mongodb")]
        Arc::new(mongodb::MongoSuite),
        #[cfg(feature = "mongodb")]
        Arc::new(mongodb::FerretSuite),
        #[cfg(feature = "postgres")]
        Arc::new(postgres::PostgresSuite),
        #[cfg(feature = "elasticsearch")]
        Arc::new(elasticsearch::ElasticsearchSuite),
        Arc::new(sim::SimSuite),
    ]
}

/// Suites by name.
pub(crate) struct Suites(Vec<Arc<dyn Suite>>);

impl Suites {
    /// A table of suites.
    pub(crate) fn new(suites: Vec<Arc<dyn Suite>>) -> Suites {
        Suites(suites)
    }

    /// All suites, in order of registration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Suite>> {
        self.0.iter()
    }

    /// The suite of a name.
    pub(crate) fn get(&self, name: &str) -> Result<&Arc<dyn Suite>> {
        match self.0.iter().find(|suite| suite.name() == name) {
            Some(suite) => Ok(suite),
            None => {
                let known: Vec<&str> = self.0.iter().map(|suite| suite.name()).collect();
                bail!(
                    "this build has no suite {name:?}; it has {}",
                    known.join(", ")
                )
            }
        }
    }
}
