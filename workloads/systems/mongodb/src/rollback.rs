//! Rollback files: what a server set aside of its own writes that the others never had.
//!
//! A primary that is deposed, and comes back behind a new one, undoes what only it had, and keeps the documents in files under
//! `rollback/`: one for each collection and time, of documents one after another. They prove where acknowledged writes went.

use std::collections::BTreeMap;

use bson::spec::BinarySubtype;
use bson::{Bson, Document, doc};
use harness::db::{DbError, Finding};
use harness::node::files;
use harness::remote::{Command, Node, quote};

use crate::admin::command;
use crate::db::{STATUS_LIMIT, ask_of};

/// The folder in that of the data.
const FOLDER: &str = "rollback";
/// How many files are read; the others are counted.
const MOST_FILES: usize = 200;
/// How many bytes of one are read.
const MOST_BYTES: u64 = 64 << 20;
/// How many documents are named.
const NAMED: usize = 10;

/// What a node undid.
pub(crate) async fn look(node: &Node, data: &str) -> Result<Option<Finding>, DbError> {
    let folder = format!("{data}/{FOLDER}");
    let find = format!(
        "[ ! -d {0} ] || find {0} -type f -name '*.bson' | sort",
        quote(&folder)
    );
    let listed = node.remote.exec(Command::new(find).idempotent()).await?;
    let listed = listed.text();
    let all: Vec<&str> = listed.lines().collect();
    if all.is_empty() {
        return Ok(None);
    }
    let mut undone = Undone::default();
    for file in all.iter().take(MOST_FILES) {
        let size = files::size(&*node.remote, file).await?.unwrap_or_default();
        match size > MOST_BYTES {
            true => undone.unread += 1,
            false => undone.add(file, &files::read(&*node.remote, file).await?),
        }
    }
    undone.unread += all.len().saturating_sub(MOST_FILES);
    let names = names(node).await;
    Ok(Some(Finding {
        text: format!(
            "{} undid writes of its own that the others never had (rollback, {} files): {}",
            node.name,
            all.len(),
            undone.tell(&names)
        ),
        files: all
            .iter()
            .take(MOST_FILES)
            .map(|file| (*file).to_owned())
            .collect(),
    }))
}

/// Documents that were undone, by collection.
#[derive(Debug, Default, PartialEq)]
struct Undone {
    documents: BTreeMap<String, Vec<Bson>>,
    /// Files that were not read, or not to their end.
    unread: usize,
}

impl Undone {
    /// Takes in a file.
    fn add(&mut self, path: &str, bytes: &[u8]) {
        let collection = collection(path);
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(document) = Document::from_reader(&mut rest) else {
                self.unread += 1;
                return;
            };
            let id = document.get("_id").cloned().unwrap_or(Bson::Null);
            self.documents
                .entry(collection.clone())
                .or_default()
                .push(id);
        }
    }

    /// What was undone, with the names of collections that are known by a number.
    fn tell(&self, names: &BTreeMap<String, String>) -> String {
        let mut parts: Vec<String> = self
            .documents
            .iter()
            .map(|(name, ids)| {
                let name = names.get(name).unwrap_or(name);
                let named: Vec<String> = ids.iter().take(NAMED).map(Bson::to_string).collect();
                let more = if ids.len() > NAMED { ", …" } else { "" };
                format!(
                    "{} documents of {name}: {}{more}",
                    ids.len(),
                    named.join(", ")
                )
            })
            .collect();
        if self.unread > 0 {
            parts.push(format!(
                "what is in {} files that were not read to their end",
                self.unread
            ));
        }
        parts.join("; ")
    }
}

/// Collections by the numbers that folders are named by since 4.4, as far as the server tells.
async fn names(node: &Node) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    // Most who have undone something are secondaries by then.
    let anywhere = doc! { "mode": "nearest" };
    let list = doc! { "listDatabases": 1, "nameOnly": true, "$readPreference": anywhere.clone() };
    let Ok(listed) = command(node, list).await else {
        return names;
    };
    let Ok(databases) = listed.get_array("databases") else {
        return names;
    };
    for database in databases.iter().filter_map(Bson::as_document) {
        let Ok(database) = database.get_str("name") else {
            continue;
        };
        let list = doc! { "listCollections": 1, "$readPreference": anywhere.clone() };
        let answer = ask_of(node, database, list, STATUS_LIMIT).await;
        let answer = answer.unwrap_or_default();
        let Ok(collections) = answer
            .get_document("cursor")
            .and_then(|it| it.get_array("firstBatch"))
        else {
            continue;
        };
        for collection in collections.iter().filter_map(Bson::as_document) {
            let name = collection.get_str("name").unwrap_or_default();
            let info = collection.get_document("info");
            if let Some(uuid) = info.ok().and_then(|info| uuid(info.get("uuid")?)) {
                names.insert(uuid, format!("{database}.{name}"));
            }
        }
    }
    names
}

/// A collection's number as folders are named by it.
fn uuid(value: &Bson) -> Option<String> {
    let Bson::Binary(binary) = value else {
        return None;
    };
    if binary.subtype != BinarySubtype::Uuid || binary.bytes.len() != 16 {
        return None;
    }
    let mut text = String::new();
    for (at, byte) in binary.bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Some(text)
}

/// The collection of a rollback file, or its number: the folder that it is in, or what its name begins with.
fn collection(path: &str) -> String {
    let mut parts = path.rsplit('/');
    let file = parts.next().unwrap_or_default();
    match parts.next() {
        Some(folder) if folder != FOLDER => folder.to_owned(),
        _ => {
            let name: Vec<&str> = file.split('.').take(2).collect();
            name.join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bson::doc;

    #[test]
    fn numbers_of_collections_are_written_as_folders_are() {
        let bytes: Vec<u8> = (0..16).collect();
        let subtype = BinarySubtype::Uuid;
        let number = Bson::Binary(bson::Binary { subtype, bytes });
        assert_eq!(
            uuid(&number).unwrap(),
            "00010203-0405-0607-0809-0a0b0c0d0e0f"
        );
        assert_eq!(uuid(&Bson::Null), None);
    }

    #[test]
    fn documents_are_counted_by_collection() {
        let mut bytes = Vec::new();
        for id in [3_i64, 5] {
            doc! { "_id": id }.to_writer(&mut bytes).unwrap();
        }
        let mut undone = Undone::default();
        undone.add("/d/rollback/db.elements/removed.2026.bson", &bytes);
        undone.add("/d/rollback/db.lists.2026-11.0.bson", &bytes);
        let plain = "2 documents of db.elements: 3, 5; 2 documents of db.lists: 3, 5";
        let none = BTreeMap::new();
        assert_eq!(undone.tell(&none), plain);
        let names = BTreeMap::from([("db.elements".to_owned(), "x".to_owned())]);
        assert_eq!(
            undone.tell(&names),
            "2 documents of x: 3, 5; 2 documents of db.lists: 3, 5"
        );
        undone.add(
            "/d/rollback/db.elements/removed.2027.bson",
            &bytes[..bytes.len() - 1],
        );
        assert_eq!(undone.unread, 1);
    }
}
