//! Random operations, syncs and a power cut, against an oracle of what may remain.
//!
//! The oracle has no past to come back to: it goes forward. It has all operations on entries in a row and does the durable ones
//! of them again from an empty folder; and beside what each file is, it has what of it was written back, page by page.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use nix::fcntl::RenameFlags;
use nix::sys::stat::Mode;
use proptest::prelude::*;

use super::control::Survival;
use super::store::{Made, Maker, ROOT, Store};

const PAGE: usize = 4096;

/// A thing of the oracle, by its number.
type Thing = usize;
/// What a folder tree looks like: content of files, none for folders.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;
type Names = BTreeMap<(Thing, String), Thing>;

#[derive(Clone, Debug)]
enum Step {
    File(u8),
    Folder(u8),
    Link(u8, u8),
    Remove(u8),
    Rename(u8, u8),
    Exchange(u8, u8),
    Write(u8, u16, u16, u8),
    Truncate(u8, u16),
    Sync(u8, bool),
    SyncFolder(u8),
    FailSync(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<u8>;
    prop_oneof![
        3 => any().prop_map(Step::File),
        2 => any().prop_map(Step::Folder),
        1 => (any(), any()).prop_map(|(a, b)| Step::Link(a, b)),
        2 => any().prop_map(Step::Remove),
        3 => (any(), any()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => (any(), any()).prop_map(|(a, b)| Step::Exchange(a, b)),
        6 => (any(), 0u16..14_000, 0u16..9_000, 1u8..).prop_map(|(a, b, c, d)| Step::Write(a, b, c, d)),
        2 => (any(), 0u16..14_000).prop_map(|(a, b)| Step::Truncate(a, b)),
        3 => (any(), proptest::bool::ANY).prop_map(|(a, b)| Step::Sync(a, b)),
        1 => any().prop_map(Step::SyncFolder),
        1 => any().prop_map(Step::FailSync),
    ]
}

/// An operation on names.
#[derive(Clone, Debug)]
enum Naming {
    Add(Thing, String, Thing),
    Remove(Thing, String),
    Rename((Thing, String), (Thing, String)),
    Exchange((Thing, String), (Thing, String)),
}

impl Naming {
    fn perform(&self, names: &mut Names) {
        match self.clone() {
            Naming::Add(folder, name, thing) => {
                names.insert((folder, name), thing);
            }
            Naming::Remove(folder, name) => {
                names.remove(&(folder, name));
            }
            Naming::Rename(from, to) => {
                let thing = names.remove(&from).unwrap();
                names.insert(to, thing);
            }
            Naming::Exchange(one, other) => {
                let (a, b) = (names[&one], names[&other]);
                names.insert(one, b);
                names.insert(other, a);
            }
        }
    }
}

#[derive(Clone, Default)]
struct Content {
    is_folder: bool,
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// How many operations on names are durable after it was synced: fully, and as to data only.
    touched: usize,
    born: usize,
}

impl Content {
    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let start = (page * PAGE).min(self.now.len());
            let end = (start + PAGE).min(self.now.len());
            self.durable[start..end].copy_from_slice(&self.now[start..end]);
        }
    }
}

struct Oracle {
    things: Vec<Content>,
    names: Names,
    row: Vec<Naming>,
    durable: usize,
}

impl Oracle {
    fn new() -> Oracle {
        let root = Content {
            is_folder: true,
            ..Content::default()
        };
        Oracle {
            things: vec![root],
            names: Names::new(),
            row: Vec::new(),
            durable: 0,
        }
    }

    fn name(&mut self, naming: Naming, concerned: &[Thing]) {
        naming.perform(&mut self.names);
        self.row.push(naming);
        for thing in concerned {
            self.things[*thing].touched = self.row.len();
        }
    }

    fn tree(&self, names: &Names, content: impl Fn(&Content) -> Vec<u8>) -> Tree {
        let mut tree = Tree::new();
        let mut folders = vec![(0, PathBuf::new())];
        while let Some((folder, path)) = folders.pop() {
            for ((_, name), thing) in names.iter().filter(|((inside, _), _)| *inside == folder) {
                let path = path.join(name);
                let thing = (*thing, &self.things[*thing]);
                tree.insert(path.clone(), (!thing.1.is_folder).then(|| content(thing.1)));
                if thing.1.is_folder {
                    folders.push((thing.0, path));
                }
            }
        }
        tree
    }

    /// The names after so many operations.
    fn names_after(&self, count: usize) -> Names {
        let mut names = Names::new();
        self.row[..count]
            .iter()
            .for_each(|naming| naming.perform(&mut names));
        names
    }

    /// Whether one thing is in the other, or is it.
    fn is_in(&self, mut thing: Thing, folder: Thing) -> bool {
        while thing != folder {
            match self.names.iter().find(|(_, inside)| **inside == thing) {
                Some(((outside, _), _)) => thing = *outside,
                None => return false,
            }
        }
        true
    }
}

fn real(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            match path.is_dir() {
                true => {
                    tree.insert(name, None);
                    folders.push(path);
                }
                false => {
                    tree.insert(name, Some(fs::read(&path).unwrap()));
                }
            }
        }
    }
    tree
}

/// The oracle and the store, side by side.
struct Both {
    oracle: Oracle,
    store: Store,
    /// What the store calls the oracle's things.
    ids: Vec<u64>,
    folder: tempfile::TempDir,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl Both {
    fn new() -> Both {
        // In memory where that is possible: what is tested is not the disk beneath.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        let store = Store::open(folder.path()).unwrap();
        Both {
            oracle: Oracle::new(),
            store,
            ids: vec![ROOT],
            folder,
        }
    }

    fn pick<T: Clone>(from: &[T], which: u8) -> Option<T> {
        (!from.is_empty()).then(|| from[which as usize % from.len()].clone())
    }

    /// A folder that has a name, and a name in it.
    fn place(&self, which: u8) -> (Thing, String) {
        let folders = self.oracle.names.values().copied();
        let folders = folders.filter(|thing| self.oracle.things[*thing].is_folder);
        let folders: Vec<Thing> = [0].into_iter().chain(folders).collect();
        let folder = Self::pick(&folders, which / 4).unwrap();
        (folder, NAMES[which as usize % 4].to_owned())
    }

    fn taken(&self, which: u8) -> Option<((Thing, String), Thing)> {
        let taken: Vec<_> = self.oracle.names.clone().into_iter().collect();
        Self::pick(&taken, which)
    }

    /// A file, which may have lost its names.
    fn file(&self, which: u8) -> Option<Thing> {
        let all = 0..self.oracle.things.len();
        let files: Vec<Thing> = all
            .filter(|thing| !self.oracle.things[*thing].is_folder)
            .collect();
        Self::pick(&files, which)
    }

    fn make(&mut self, which: u8, is_folder: bool) {
        let (folder, name) = self.place(which);
        let made = match is_folder {
            true => Made::Folder(Mode::S_IRWXU),
            false => Made::File(Mode::S_IRWXU),
        };
        let maker = Maker {
            user: nix::unistd::geteuid().as_raw(),
            group: nix::unistd::getegid().as_raw(),
        };
        let made = self
            .store
            .make(self.ids[folder], OsStr::new(&name), made, maker);
        if self.oracle.names.contains_key(&(folder, name.clone())) {
            assert!(made.is_err());
            return;
        }
        self.ids.push(made.unwrap().node.id);
        let thing = self.oracle.things.len();
        self.oracle.things.push(Content {
            is_folder,
            ..Content::default()
        });
        self.oracle
            .name(Naming::Add(folder, name, thing), &[folder, thing]);
        self.oracle.things[thing].born = self.oracle.row.len();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::File(which) => self.make(which, false),
            Step::Folder(which) => self.make(which, true),
            Step::Link(which, to) => {
                let Some((_, thing)) = self.taken(which) else {
                    return;
                };
                let (folder, name) = self.place(to);
                let free = !self.oracle.names.contains_key(&(folder, name.clone()));
                let linked = self
                    .store
                    .link(self.ids[thing], self.ids[folder], OsStr::new(&name));
                let may = free && !self.oracle.things[thing].is_folder;
                assert_eq!(linked.is_ok(), may);
                if may {
                    self.oracle
                        .name(Naming::Add(folder, name, thing), &[folder, thing]);
                }
            }
            Step::Remove(which) => {
                let Some(((folder, name), thing)) = self.taken(which) else {
                    return;
                };
                let empty = !self.oracle.names.keys().any(|(inside, _)| *inside == thing);
                let removed = self.store.remove(self.ids[folder], OsStr::new(&name));
                assert_eq!(removed.is_ok(), empty);
                if empty {
                    self.oracle
                        .name(Naming::Remove(folder, name), &[folder, thing]);
                }
            }
            Step::Rename(which, to) => self.rename(which, to),
            Step::Exchange(one, other) => self.exchange(one, other),
            Step::Write(which, at, length, byte) => {
                let Some(thing) = self.file(which) else {
                    return;
                };
                let (at, bytes) = (usize::from(at), vec![byte; length.into()]);
                self.store
                    .write(self.ids[thing], at as u64, &bytes)
                    .unwrap();
                let content = &mut self.oracle.things[thing];
                if bytes.is_empty() {
                    return;
                }
                let end = at + bytes.len();
                content.now.resize(content.now.len().max(end), 0);
                content.now[at..end].copy_from_slice(&bytes);
                content.dirty.extend(at / PAGE..end.div_ceil(PAGE));
            }
            Step::Truncate(which, to) => {
                let Some(thing) = self.file(which) else {
                    return;
                };
                let wanted = super::store::Wanted {
                    size: Some(to.into()),
                    ..Default::default()
                };
                self.store.change(self.ids[thing], wanted).unwrap();
                let (content, to) = (&mut self.oracle.things[thing], usize::from(to));
                let length = content.now.len();
                if to < length {
                    content.dirty.extend(to / PAGE..length.div_ceil(PAGE));
                }
                content.now.resize(to, 0);
            }
            Step::Sync(which, data_only) => {
                let Some(thing) = self.file(which) else {
                    return;
                };
                self.store.sync(self.ids[thing], data_only).unwrap();
                let content = &mut self.oracle.things[thing];
                content.sync();
                let until = if data_only {
                    content.born
                } else {
                    content.touched
                };
                self.oracle.durable = self.oracle.durable.max(until);
            }
            Step::SyncFolder(which) => {
                let (folder, _) = self.place(which);
                self.store.sync(self.ids[folder], false).unwrap();
                let until = self.oracle.things[folder].touched;
                self.oracle.durable = self.oracle.durable.max(until);
            }
            Step::FailSync(which) => {
                let Some(thing) = self.file(which) else {
                    return;
                };
                self.store.give_up(self.ids[thing]).unwrap();
                self.oracle.things[thing].dirty.clear();
            }
        }
    }

    fn rename(&mut self, which: u8, to: u8) {
        let Some((from, thing)) = self.taken(which) else {
            return;
        };
        let to = self.place(to);
        let replaced = self.oracle.names.get(&to).copied();
        let renamed = self.store.rename(
            (self.ids[from.0], OsStr::new(&from.1)),
            (self.ids[to.0], OsStr::new(&to.1)),
            RenameFlags::empty(),
        );
        let things = &self.oracle.things;
        let fits = replaced.is_none_or(|replaced| {
            things[replaced].is_folder == things[thing].is_folder
                && !self
                    .oracle
                    .names
                    .keys()
                    .any(|(inside, _)| *inside == replaced)
        });
        if replaced == Some(thing) {
            // Nothing is done, whatever is said.
            return;
        }
        let may = fits && !self.oracle.is_in(to.0, thing);
        assert_eq!(renamed.is_ok(), may, "{from:?} {to:?} {renamed:?}");
        if may {
            let mut concerned = vec![from.0, to.0, thing];
            concerned.extend(replaced);
            self.oracle.name(Naming::Rename(from, to), &concerned);
        }
    }

    fn exchange(&mut self, one: u8, other: u8) {
        let (Some((one, a)), Some((other, b))) = (self.taken(one), self.taken(other)) else {
            return;
        };
        if a == b || self.oracle.is_in(one.0, b) || self.oracle.is_in(other.0, a) {
            return;
        }
        let name = |name: &str| OsString::from(name);
        self.store
            .rename(
                (self.ids[one.0], &name(&one.1)),
                (self.ids[other.0], &name(&other.1)),
                RenameFlags::RENAME_EXCHANGE,
            )
            .unwrap();
        let concerned = [one.0, other.0];
        self.oracle.name(Naming::Exchange(one, other), &concerned);
    }

    fn present_agrees(&self) {
        let now = self
            .oracle
            .tree(&self.oracle.names, |content| content.now.clone());
        assert_eq!(real(self.folder.path()), now);
    }
}

/// Whether a file may be that, of which this is durable and that was there.
fn possible(found: &[u8], content: &Content, unit: usize) -> bool {
    let (low, high) = match content.durable.len() <= content.now.len() {
        true => (content.durable.len(), content.now.len()),
        false => (content.now.len(), content.durable.len()),
    };
    let part = |bytes: &[u8], start: usize, end: usize| -> Vec<u8> {
        (start..end)
            .map(|at| bytes.get(at).copied().unwrap_or(0))
            .collect()
    };
    (low..=high).contains(&found.len())
        && (0..found.len()).step_by(unit).all(|start| {
            let end = (start + unit).min(found.len());
            let found = &found[start..end];
            found == part(&content.durable, start, end) || found == part(&content.now, start, end)
        })
}

/// Whether the folder may look like that: names after some number of operations, the durable ones among them.
fn allowed(oracle: &Oracle, found: &Tree, unit: usize) -> bool {
    (oracle.durable..=oracle.row.len()).any(|count| {
        let names = oracle.names_after(count);
        let shape = oracle.tree(&names, |_| Vec::new());
        let things = named(&names);
        shape.len() == found.len()
            && shape
                .iter()
                .zip(found)
                .all(|((path, kind), (other, bytes))| {
                    path == other
                        && kind.is_some() == bytes.is_some()
                        && bytes
                            .as_ref()
                            .is_none_or(|bytes| possible(bytes, &oracle.things[things[path]], unit))
                })
    })
}

fn named(names: &Names) -> BTreeMap<PathBuf, Thing> {
    let mut named = BTreeMap::new();
    let mut folders = vec![(0, PathBuf::new())];
    while let Some((folder, path)) = folders.pop() {
        for ((_, name), thing) in names.iter().filter(|((inside, _), _)| *inside == folder) {
            named.insert(path.join(name), *thing);
            folders.push((*thing, path.join(name)));
        }
    }
    named
}

proptest! {
    /// Of what is not synced nothing remains; of what is, all.
    #[test]
    fn a_power_cut_leaves_what_is_durable(
        steps in prop::collection::vec(step(), 1..60),
        more in prop::collection::vec(step(), 0..20),
    ) {
        let mut both = Both::new();
        steps.iter().for_each(|step| both.step(step));
        both.present_agrees();
        let lost = both.store.cut(Survival::Nothing, 1);
        prop_assert_eq!(&lost.errors, &Vec::<String>::new());
        let oracle = &mut both.oracle;
        let durable = oracle.names_after(oracle.durable);
        let expected = oracle.tree(&durable, |content| content.durable.clone());
        prop_assert_eq!(real(both.folder.path()), expected);
        prop_assert_eq!(lost.entries as usize, oracle.row.len() - oracle.durable);
        // Life goes on with what remains, and a second cut takes back no more than what came after the first.
        oracle.row.truncate(oracle.durable);
        oracle.names = durable;
        let alive: BTreeSet<Thing> = oracle.names.values().copied().collect();
        for (at, content) in oracle.things.iter_mut().enumerate() {
            content.now = content.durable.clone();
            content.dirty.clear();
            content.touched = content.touched.min(oracle.durable);
            content.born = content.born.min(oracle.durable);
            // Nobody has what is lost open any more.
            content.is_folder |= !alive.contains(&at);
        }
        more.iter().for_each(|step| both.step(step));
        both.present_agrees();
        let lost = both.store.cut(Survival::Nothing, 1);
        prop_assert_eq!(&lost.errors, &Vec::<String>::new());
        let oracle = &both.oracle;
        let durable = oracle.names_after(oracle.durable);
        let expected = oracle.tree(&durable, |content| content.durable.clone());
        prop_assert_eq!(real(both.folder.path()), expected);
    }

    /// Of what is not synced something remains, never what could not be.
    #[test]
    fn what_remains_by_chance_is_possible(
        steps in prop::collection::vec(step(), 1..40),
        torn: bool,
        seed: u64,
    ) {
        let mut both = Both::new();
        steps.iter().for_each(|step| both.step(step));
        let (survival, unit) = match torn {
            true => (Survival::Torn, 512),
            false => (Survival::Some, PAGE),
        };
        let lost = both.store.cut(survival, seed);
        prop_assert_eq!(&lost.errors, &Vec::<String>::new());
        let found = real(both.folder.path());
        prop_assert!(allowed(&both.oracle, &found, unit), "{found:?}");
    }
}
