//! `/runs/<id>.tar.gz`: a whole run, made while it is sent.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::beneath::{self, Folder, Kind, Opened};
use super::{Site, WebError, blocking, stream};

/// What the address of an archive ends with.
pub(super) const SUFFIX: &str = ".tar.gz";

/// The archive.
pub(super) async fn whole(site: &Arc<Site>, id: &str) -> Result<Response, WebError> {
    let entry = site.entry(id).await?;
    let root = site.root.clone();
    let run = entry.clone();
    // Opened before anything is sent: a run that is gone is told.
    let folder = blocking(move || beneath::run(&root, &run)).await?;
    let name = entry.name.replace('/', "-");
    let attachment = format!(
        "attachment; filename*=UTF-8''{}{SUFFIX}",
        super::files::address(&name)
    );
    let body = stream::body(move |out| {
        let zipped = GzEncoder::new(out, Compression::fast());
        let mut archive = Builder::new(zipped);
        append(&mut archive, folder, &name)?;
        archive.into_inner()?.finish()?;
        Ok(())
    });
    let attachment =
        HeaderValue::from_str(&attachment).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/gzip"),
        ),
        (header::CONTENT_DISPOSITION, attachment),
    ];
    Ok((headers, body).into_response())
}

/// Appends a folder and all in it. Links, pipes and devices are left out. A file that grows is as long as it was when it was opened.
fn append<W: io::Write>(archive: &mut Builder<W>, folder: Folder, name: &str) -> io::Result<()> {
    let mut open: Vec<(Vec<OsString>, PathBuf)> = vec![(Vec::new(), PathBuf::from(name))];
    let top = folder;
    while let Some((path, place)) = open.pop() {
        // From the top again: only one folder is open at a time, however deep it goes.
        let folder = match reopen(&top, &path) {
            Ok(folder) => folder,
            Err(_) => continue,
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, slashed(&place), io::empty())?;
        let (names, _) = folder
            .list()
            .map_err(|_| io::Error::other("a folder cannot be read"))?;
        for named in names {
            let place = place.join(&named.name);
            match named.kind {
                Kind::Folder => {
                    let mut path = path.clone();
                    path.push(named.name);
                    open.push((path, place));
                }
                Kind::File => append_file(archive, &folder, &named.name, &place)?,
                Kind::Other => {}
            }
        }
    }
    Ok(())
}

fn reopen(top: &Folder, path: &[OsString]) -> Result<Folder, WebError> {
    let mut folder = top.folder(OsStr::new("."))?;
    for name in path {
        folder = folder.folder(name)?;
    }
    Ok(folder)
}

fn append_file<W: io::Write>(
    archive: &mut Builder<W>,
    folder: &Folder,
    name: &OsString,
    place: &Path,
) -> io::Result<()> {
    // One that was removed meanwhile is not there.
    let Ok(Opened::File(file, metadata)) = folder.open(name) else {
        return Ok(());
    };
    let size = metadata.len();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    let mut file = Exactly {
        file: file.take(size),
        left: size,
    };
    archive.append_data(&mut header, place, &mut file)
}

fn slashed(place: &Path) -> PathBuf {
    place.join("")
}

/// So many bytes, or an error: an archive with a file that is shorter than it says is none.
struct Exactly<R> {
    file: io::Take<R>,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.left -= read as u64;
        match read == 0 && self.left > 0 && !into.is_empty() {
            true => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file became shorter while it was sent",
            )),
            false => Ok(read),
        }
    }
}
