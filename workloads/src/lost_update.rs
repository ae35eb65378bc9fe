//! Lost updates: documents that many change at once, each by reading it and writing it back.
//!
//! | `op.f` | `op.key` | `op.value` | an `ok` returns |
//! | --- | --- | --- | --- |
//! | `add` | a document | a whole number, never twice | the number |
//! | `read` | a document | `null` | its elements, as a list |
//! | `final-read` | a document | `null` | the same, up to date as far as the system has a way to ask for that |
//!
//! A client adds an element by reading the document with its version, and writing it with one element more on condition that the
//! version is still the same. Where it is not, that is `fail`, best with the class `precondition`: others were quicker, and
//! nobody tries again. A document that was never written has no elements. (Where a system can add to a list by itself, that is
//! another test, of the same operations.)
//!
//! When all is healed, each document is read on every node. An element that was acknowledged and is not there was overwritten by
//! a write whose condition had been checked against something older. The general form, a number that is read, increased and
//! written, is the workload [`counter`](crate::counter), with a client that does it so.

use checkers::lost_update::{self, LostUpdate};
use checkers::set_full;

use crate::load::{self, Generators, whole};
use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "lost-update";

/// One of so many operations reads.
const READS: u32 = 10;

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Adds elements to documents by reading them and writing them back if nobody was quicker, and reads all on every \
                  node when all is healed; finds acknowledged elements that others overwrote"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    let options = [
        load::rate(),
        whole(
            "documents",
            1,
            10_000,
            Some("4"),
            "How many documents are in use at a time",
        ),
        whole(
            "adds-per-document",
            1,
            1_000_000,
            Some("100"),
            "Elements that are added to a document, or tried to be, before it is left for a fresh one",
        ),
    ];
    options::of(NAME, options)
}

/// What judges a history. Reads of the main phase may be behind.
pub fn checkers() -> Vec<NamedChecker> {
    checkers_with(set_full::Options::default())
}

/// What judges a history of documents that are said to be linearizable: stale reads are violations.
pub fn linearizable_checkers() -> Vec<NamedChecker> {
    checkers_with(set_full::Options { linearizable: true })
}

fn checkers_with(options: set_full::Options) -> Vec<NamedChecker> {
    vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(move || {
            let checker: LostUpdate = lost_update::new(options);
            Box::new(checker)
        }),
    }]
}

/// The operations.
///
/// # Errors
///
/// None today.
pub fn generators(request: &BuildRequest<'_>) -> Result<Generators, BuildError> {
    Ok(growing(request, NAME, READS))
}

/// Documents that grow, of whose operations one of so many reads.
pub(crate) fn growing(request: &BuildRequest<'_>, name: &str, reads: u32) -> Generators {
    let options = request.options;
    let slots = (
        options.integer("documents"),
        options.integer("adds-per-document"),
    );
    load::on_keys(request, name, slots, ("add", reads))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use checkers::FINAL_READ;
    use harness::generator::GeneratorExt;
    use harness::generator::simulate::quick;
    use store::EventType;

    use super::*;
    use crate::load::testing::Asked;

    #[test]
    fn elements_are_added_once_to_few_documents_at_a_time() {
        let given = [("documents", "3"), ("adds-per-document", "20")];
        let steps =
            Asked::of(&options(), &given).invocations(10, |request| Ok(generators(request)?.main));
        let adds = steps.iter().filter(|step| &*step.op.f == "add");
        let (mut elements, mut documents) = (BTreeSet::new(), BTreeMap::new());
        for add in adds {
            assert!(elements.insert(add.op.value.as_i64().unwrap()));
            let document = add.op.key.as_ref().unwrap().as_i64().unwrap();
            *documents.entry(document).or_insert(0) += 1;
        }
        let reads = steps.len() - elements.len();
        assert!((8..=12).contains(&(100 * reads / steps.len())));
        let full = documents.values().filter(|count| **count == 20).count();
        assert!(full + 3 >= documents.len() && documents.len() > 100);
    }

    #[test]
    fn in_the_end_each_document_is_read_on_each_node() {
        let given = [("documents", "3"), ("adds-per-document", "20")];
        let asked = Asked::of(&options(), &given);
        let mut last = None;
        let steps = asked.invocations(10, |request| {
            let both = generators(request)?;
            last = Some(both.last);
            Ok(both.main)
        });
        let keys: BTreeSet<i64> = (steps.iter())
            .map(|step| step.op.key.as_ref().unwrap().as_i64().unwrap())
            .collect();
        let read = quick(10, last.unwrap().clients());
        let read = read.iter().filter(|step| step.kind == EventType::Invoke);
        let mut by_node: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        for step in read {
            assert_eq!(&*step.op.f, FINAL_READ);
            let key = step.op.key.as_ref().unwrap().as_i64().unwrap();
            // Five nodes.
            by_node.entry(step.thread % 5).or_default().push(key);
        }
        assert_eq!(by_node.len(), 5);
        for mut read in by_node.into_values() {
            read.sort_unstable();
            assert!(read.iter().copied().eq(0..read.len() as i64));
            assert!(keys.iter().all(|key| read.contains(key)));
        }
    }
}
