//! The disk of nodes with kernels of their own: one image, shared by all that have the same base system and packages, from the same
//! directories that are other nodes' overlays. What a node writes is in a file beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::local::cache::{Cache, remove_tree};
use crate::local::error::{Doing, LocalError};
use crate::local::image::Base;
use crate::local::program::{self, Job};
use crate::local::{Progress, tools};

/// Changes when the way an image is built does.
const FORMAT: u32 = 1;

/// How long a build may take; ten seconds are usual.
const BUILD_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The image's name in its entry.
pub(super) const IMAGE: &str = "image";

/// The first process of a node, on its disk.
pub(super) const INIT: &str = "/usr/sbin/gainsay-init";

/// Where Debian has the kernel's modules, on this machine.
const MODULES: &str = "/usr/lib/uml/modules";

/// What a node has that others have not: its first process, and the commands that tell it to end.
const PROGRAMS: [(&str, &str); 4] = [
    (INIT, include_str!("init.sh")),
    ("/usr/sbin/reboot", "#!/bin/sh\nkill -INT 1\n"),
    ("/usr/sbin/poweroff", "#!/bin/sh\nkill -TERM 1\n"),
    ("/usr/sbin/halt", "#!/bin/sh\nkill -TERM 1\n"),
];

/// How an image is made of what an overlay shows, in the current directory. The image is a sparse file: of what nobody wrote, it has
/// nothing.
const BUILD: &str = "\
cp -a \"$1\"/. upper/usr/lib/modules/
mount -t overlay overlay -o \"lowerdir=upper:$2\" tree
mke2fs -q -F -t ext4 -b 4096 -m 0 -N 131072 -J size=16 -E lazy_itable_init=1,lazy_journal_init=1 -L root -d tree \"$3\" 8G
";

/// Finds the image of a base system and packages in the cache, or builds it.
pub(in crate::local) fn obtain(
    cache: &Cache,
    base: &Base,
    layer: Option<&Path>,
    progress: Progress<'_>,
) -> Result<PathBuf, LocalError> {
    let kernel = kernel()?;
    let layers: Vec<String> = layer
        .into_iter()
        .chain([base.entry.as_path()])
        .map(|entry| cache.dir().join(entry).join("root").display().to_string())
        .collect();
    let programs = PROGRAMS.map(|(path, text)| format!("{path}\n{text}"));
    let recipe = format!(
        "format {FORMAT}\nkernel {kernel}\nlayers {}\n{BUILD}\n{}",
        layers.join(":"),
        programs.join("\n")
    );
    cache.obtain("disks", &kernel, &recipe, progress, |dir, progress| {
        progress("building the disk of nodes with kernels of their own; once, about ten seconds");
        let doing = || "building the nodes' disk";
        for folder in ["upper/usr/lib/modules", "upper/usr/sbin", "tree"] {
            fs::create_dir_all(dir.join(folder)).doing(doing)?;
        }
        for (path, text) in PROGRAMS {
            let path = dir.join("upper").join(path.trim_start_matches('/'));
            fs::write(&path, text).doing(doing)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).doing(doing)?;
        }
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            BUILD,
            "sh",
        ]);
        command.arg(MODULES).arg(layers.join(":")).arg(IMAGE);
        command.current_dir(dir);
        let job = Job {
            doing: "building the nodes' disk",
            limit: BUILD_LIMIT,
            hint: "the disk must have 1 GB free",
        };
        program::run(command, &job, progress)?;
        remove_tree(&dir.join("upper"))?;
        fs::remove_dir(dir.join("tree")).doing(doing)
    })
}

/// The version of user-mode Linux that is installed, by its modules.
fn kernel() -> Result<String, LocalError> {
    tools::require_own_kernels()?;
    let entries = fs::read_dir(MODULES).doing(|| format!("looking into {MODULES}"))?;
    let mut versions: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    versions.sort();
    Ok(versions.join("+"))
}
