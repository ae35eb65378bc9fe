//! A system that is nothing but files, for tests of what is done to its data and beside it.

use async_trait::async_trait;
use harness::remote::Node;

use crate::part::Part;

/// A system without processes but those that a test starts.
pub(crate) struct Files {
    pub(crate) data: String,
    pub(crate) pid_file: String,
}

#[async_trait]
impl Part for Files {
    fn data_folders(&self) -> Vec<String> {
        vec![self.data.clone()]
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(format!("cat {} 2>/dev/null", self.pid_file))
    }
}
