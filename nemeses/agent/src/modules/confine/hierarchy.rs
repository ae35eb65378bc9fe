//! Where the kernel's control groups are: of version 2, of version 1, or not mounted yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};

/// What control groups can do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::modules) enum Controller {
    Freezer,
    Cpu,
    Memory,
    Pids,
    Io,
}

impl Controller {
    /// Its name in version 2, where the freezer needs none.
    pub(super) fn name(self) -> &'static str {
        match self {
            Controller::Freezer => "freezer",
            Controller::Cpu => "cpu",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Io => "io",
        }
    }

    /// Its name in version 1.
    fn old_name(self) -> &'static str {
        match self {
            Controller::Io => "blkio",
            other => other.name(),
        }
    }
}

/// The names of folders of ours that trees are mounted at begin so.
const MOUNT: &str = "cgroup-";

/// A tree of control groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::modules) struct Hierarchy {
    /// Where it is mounted.
    pub(in crate::modules) root: PathBuf,
    pub(in crate::modules) is_v2: bool,
    /// Whether we mounted it, now or for another fault, so that it must be unmounted.
    pub(in crate::modules) is_ours: bool,
}

impl Hierarchy {
    /// The tree that has a controller, if it is mounted anywhere.
    pub(in crate::modules) fn mounted(controller: Controller) -> Option<Hierarchy> {
        mounted(
            &fs::read_to_string("/proc/self/mountinfo").ok()?,
            controller,
        )
    }

    /// The tree that has a controller; mounted in a folder of ours where it is not.
    pub(in crate::modules) fn with(controller: Controller, folder: &Path) -> io::Result<Hierarchy> {
        if let Some(mut found) = Hierarchy::mounted(controller) {
            let mount = found.root.strip_prefix(folder).ok();
            found.is_ours = mount.is_some_and(|it| it.to_string_lossy().starts_with(MOUNT));
            return found.usable(controller);
        }
        let root = folder.join(format!("{MOUNT}{}", controller.name()));
        fs::create_dir_all(&root)?;
        let v1 = v1_has(
            &fs::read_to_string("/proc/cgroups").unwrap_or_default(),
            controller,
        );
        let (kind, data) = match (controller, v1) {
            (Controller::Freezer, _) | (_, false) => ("cgroup2", None),
            (_, true) => ("cgroup", Some(controller.old_name())),
        };
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if let Err(error) = mount(Some("none"), &root, Some(kind), flags, data) {
            let _ = fs::remove_dir(&root);
            let why = format!(
                "no control groups with `{}` here: {error}",
                controller.name()
            );
            return Err(io::Error::other(why));
        }
        let hierarchy = Hierarchy {
            root,
            is_v2: kind == "cgroup2",
            is_ours: true,
        };
        if hierarchy.is_v2 && !has(&hierarchy.root, controller) {
            hierarchy.unmount();
            let why = format!(
                "the kernel's control groups have no `{}`",
                controller.name()
            );
            return Err(io::Error::other(why));
        }
        hierarchy.usable(controller)
    }

    /// The tree, if groups of ours can have the controller there.
    fn usable(self, controller: Controller) -> io::Result<Hierarchy> {
        // The root of all has no type. That of a container may be a group that only threads can be in, or that was made one.
        let kind = fs::read_to_string(self.root.join("cgroup.type")).unwrap_or_default();
        if self.is_v2 && controller != Controller::Freezer && !matches!(kind.trim(), "" | "domain")
        {
            let why = format!(
                "{} is of the type `{}`, so groups in it cannot have `{}`",
                self.root.display(),
                kind.trim(),
                controller.name()
            );
            return Err(io::Error::other(why));
        }
        Ok(self)
    }

    /// Unmounts it, if we mounted it and no other fault's groups are there.
    pub(in crate::modules) fn leave(&self, beside: &[Hierarchy]) {
        if self.is_ours && beside.iter().all(|it| it.root != self.root) {
            self.unmount();
        }
    }

    fn unmount(&self) {
        let _ = umount2(&self.root, MntFlags::empty());
        let _ = fs::remove_dir(&self.root);
    }

    /// The group of a process in this tree, from its root.
    pub(in crate::modules) fn group_of(&self, pid: i32, controller: Controller) -> Option<PathBuf> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, names, path) = (parts.next()?, parts.next()?, parts.next()?);
            let is_it = match self.is_v2 {
                true => number == "0" && names.is_empty(),
                false => names.split(',').any(|name| name == controller.old_name()),
            };
            is_it.then_some(path)
        })?;
        let group = self.root.join(path.trim_start_matches('/'));
        // In another namespace's tree, paths may lead elsewhere.
        group.is_dir().then_some(group)
    }
}

/// Whether a tree of version 2 has a controller.
fn has(root: &Path, controller: Controller) -> bool {
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let mut words = controllers.split_whitespace();
    controller == Controller::Freezer || words.any(|word| word == controller.name())
}

fn v1_has(cgroups: &str, controller: Controller) -> bool {
    cgroups.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [name, hierarchy, _, "1"] if name == controller.old_name() && hierarchy != "0")
    })
}

/// The tree that has a controller, among what is mounted.
fn mounted(mountinfo: &str, controller: Controller) -> Option<Hierarchy> {
    let candidates = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let root = PathBuf::from(before.split(' ').nth(4)?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let is_v2 = kind == "cgroup2";
        let fits = match kind {
            "cgroup2" => has(&root, controller),
            "cgroup" => options
                .split(',')
                .any(|option| option == controller.old_name()),
            _ => false,
        };
        let writable = before
            .split(' ')
            .nth(5)?
            .split(',')
            .all(|option| option != "ro");
        (fits && writable).then_some(Hierarchy {
            root,
            is_v2,
            is_ours: false,
        })
    });
    // The newer one first: the freezer of version 1 does not say when it is done as reliably.
    let mut candidates: Vec<Hierarchy> = candidates.collect();
    candidates.sort_by_key(|hierarchy| !hierarchy.is_v2);
    candidates.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_found_among_mounts() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
                      31 20 0:27 / /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n\
                      32 20 0:28 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
                      33 20 0:29 / /nowhere rw - cgroup2 cgroup2 rw\n";
        let found = |controller| mounted(mounts, controller).map(|it| (it.root, it.is_v2));
        assert_eq!(
            found(Controller::Cpu),
            Some(("/sys/fs/cgroup/cpu,cpuacct".into(), false))
        );
        assert_eq!(
            found(Controller::Io),
            Some(("/sys/fs/cgroup/blkio".into(), false))
        );
        assert_eq!(found(Controller::Memory), None);
        let freezer = mounted(mounts, Controller::Freezer).map(|it| it.is_v2);
        assert_eq!(freezer, Some(true));
    }

    #[test]
    fn version_one_says_what_it_has() {
        let cgroups = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t0\t71\t1\npids\t8\t1\t0\nblkio\t3\t1\t1\n";
        assert!(v1_has(cgroups, Controller::Cpu));
        assert!(v1_has(cgroups, Controller::Io));
        assert!(!v1_has(cgroups, Controller::Memory));
        assert!(!v1_has(cgroups, Controller::Pids));
    }
}
