//! `/runs/<id>/files/…`: the files of a run, looked into, paged through and downloaded; and its report.
//!
//! A file is sent as plain text whatever it is, in a sandbox: it can hold anything. The report is a page with scripts of its own, and so
//! is sent in a sandbox that lets them run but in an origin of its own: they see no cookie, reach no other page of this site, and load nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::beneath::{self, Folder, Kind, Named, Opened};
use super::page::{self, Place, bytes, grouped, time};
use super::query::Query;
use super::{Site, WebError, blocking, run, send};
use crate::catalog::RunEntry;

/// The most bytes that a page shows at once.
const PART: u64 = 64 << 10;
/// How much of a beginning is looked at to tell text from other things.
const SNIFFED: usize = 8 << 10;

/// What may stand in an address as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const REPORT_POLICY: &str = "sandbox allow-scripts allow-popups allow-downloads; default-src 'none'; style-src 'unsafe-inline'; \
                             script-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; \
                             frame-ancestors 'none'";
const FILE_POLICY: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// A file of JSON in a folder, if it is there, small enough, and what it should be.
pub(super) fn json<T: DeserializeOwned>(folder: &Folder, name: &str, most: u64) -> Option<T> {
    let Ok(Opened::File(file, metadata)) = folder.open(OsStr::new(name)) else {
        return None;
    };
    if metadata.len() > most {
        return None;
    }
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// A name as it stands in an address.
fn encoded(name: &OsStr) -> String {
    percent_encoding::percent_encode(name.as_bytes(), PLAIN).to_string()
}

/// The report.
pub(super) async fn report(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    request: HeaderMap,
) -> Result<Response, WebError> {
    let entry = site.entry(&id).await?;
    let opened =
        blocking(move || beneath::run(&site.root, &entry)?.open(OsStr::new("report.html"))).await;
    let (file, size) = match opened? {
        Opened::File(file, metadata) => (file, metadata.len()),
        Opened::Folder(_) => return Err(WebError::missing("this run has no report")),
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(REPORT_POLICY),
        ),
    ];
    Ok((headers, send::file(file, size, &request)?).into_response())
}

/// A folder, a file, or a part of it.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    uri: Uri,
    query: Query,
    request: HeaderMap,
) -> Result<Response, WebError> {
    // As it was sent: each component is decoded once, after the path was taken apart.
    let raw = uri.path();
    let (id, path) = raw
        .strip_prefix("/runs/")
        .and_then(|rest| rest.split_once("/files"))
        .unwrap_or_default();
    let path = path.strip_prefix('/').unwrap_or(path).to_owned();
    let components = beneath::components(&path)?;
    let entry = site.entry(id).await?;
    let raw_wanted = query.has("raw");
    let slash = raw.ends_with('/');
    blocking(move || {
        let opened = beneath::run(&site.root, &entry)?.walk(&components)?;
        match opened {
            Opened::Folder(_) if !slash => Ok(axum::response::Redirect::permanent(&format!(
                "/runs/{}/files/{}",
                entry.id,
                components.iter().map(|name| encoded(name) + "/").collect::<String>()
            ))
            .into_response()),
            Opened::Folder(folder) => {
                let (names, more) = folder.list()?;
                let shown: Vec<_> = components.iter().map(|name| name.to_string_lossy()).collect();
                let body = html! {
                    (run::crumbs(&entry, Some(html! { "files" @for name in &shown { " / " (name) } })))
                    h1 { (shown.last().map_or("Files", |name| name)) }
                    (table(&entry, &path, &names))
                    @if more { p.soft { "There are more than " (beneath::NAMES_MAX) " names here; these are some." } }
                };
                Ok(page::page("Files", Place::Elsewhere, body).into_response())
            }
            Opened::File(file, metadata) if raw_wanted => {
                let headers = [
                    (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
                    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(FILE_POLICY)),
                    (HeaderName::from_static("content-disposition"), disposition(components.last().map(|name| &**name))),
                ];
                Ok((headers, send::file(file, metadata.len(), &request)?).into_response())
            }
            Opened::File(file, metadata) => {
                let name = components.last().map(|name| name.to_string_lossy()).unwrap_or_default();
                let body = html! {
                    (run::crumbs(&entry, Some(html! {
                        a href={ "/runs/" (entry.id) "/files/" } { "files" }
                        @for name in &components { " / " (name.to_string_lossy()) }
                    })))
                    h1 { (name) }
                    (preview(file, metadata.len(), &query)?)
                };
                Ok(page::page(&name, Place::Elsewhere, body).into_response())
            }
        }
    })
    .await
}

fn disposition(name: Option<&OsStr>) -> HeaderValue {
    let name = name.map(encoded).unwrap_or_default();
    HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

/// What is in a folder.
pub(super) fn table(entry: &RunEntry, path: &str, names: &[Named]) -> Markup {
    let path = path.trim_end_matches('/');
    let base = match path {
        "" => format!("/runs/{}/files/", entry.id),
        path => format!("/runs/{}/files/{path}/", entry.id),
    };
    html! {
        table.files {
            thead { tr { th { "Name" } th.n { "Size" } th { "Changed (UTC)" } th { span.hidden { "Download" } } } }
            tbody {
                @for named in names {
                    @let shown = named.name.to_string_lossy();
                    @let target = format!("{base}{}", encoded(&named.name));
                    tr {
                        td.mono {
                            @match named.kind {
                                Kind::Folder => a href={ (target) "/" } { (shown) "/" },
                                Kind::File => a href=(target) { (shown) },
                                Kind::Other => { (shown) span.soft { " (a link or a device: not followed)" } },
                            }
                        }
                        td.n { @if named.kind == Kind::File { (bytes(named.size)) } }
                        td.time { (time(named.changed)) }
                        td { @if named.kind == Kind::File { a href={ (target) "?raw" } download { "download" } } }
                    }
                }
            }
        }
        @if names.is_empty() { p.soft { "Nothing is here." } }
    }
}

/// A part of a file.
struct Part {
    from: u64,
    text: String,
    /// Where the next one begins.
    end: u64,
}

fn part(file: &mut File, from: u64, length: u64, size: u64) -> io::Result<Part> {
    let from = from.min(size);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length.min(size - from)).read_to_end(&mut bytes)?;
    let end = from + bytes.len() as u64;
    Ok(Part {
        from,
        text: String::from_utf8_lossy(&bytes).into_owned(),
        end,
    })
}

fn is_text(file: &mut File) -> io::Result<bool> {
    let mut beginning = Vec::new();
    file.take(SNIFFED as u64).read_to_end(&mut beginning)?;
    Ok(!beginning.contains(&0))
}

/// What a page shows of a file.
fn preview(mut file: File, size: u64, query: &Query) -> Result<Markup, WebError> {
    let text = is_text(&mut file)?;
    let actions = html! {
        p.actions { span.soft { (bytes(size)) " (" (grouped(size)) " bytes) " } a.button href="?raw" download { "Download" } }
    };
    if !text {
        return Ok(
            html! { (actions) p { "This is no text: it can be downloaded, and is not shown." } },
        );
    }
    let whole = size <= PART && query.number("from").is_none();
    let shown = match query.number("from") {
        Some(from) => vec![part(&mut file, from, PART, size)?],
        None if whole => vec![part(&mut file, 0, PART, size)?],
        None => vec![
            part(&mut file, 0, PART / 2, size)?,
            part(&mut file, size - PART / 2, PART / 2, size)?,
        ],
    };
    Ok(html! {
        (actions)
        @if !whole { (paging(shown[0].from, size)) }
        @for (at, part) in shown.iter().enumerate() {
            @if at > 0 {
                p.gap {
                    (bytes(part.from - shown[at - 1].end)) " are left out here. "
                    a href={ "?from=" (shown[at - 1].end) } { "Read on" }
                }
            }
            pre.file tabindex="0" aria-label={ "Bytes " (part.from) " to " (part.end) } { (part.text) }
        }
        @if !whole { (paging(shown[0].from, size)) }
    })
}

fn paging(from: u64, size: u64) -> Markup {
    let last = size.saturating_sub(1) / PART * PART;
    html! {
        nav.pages aria-label="Parts of the file" {
            a href="?from=0" { "First" } " "
            @if from > 0 { a rel="prev" href={ "?from=" (from.saturating_sub(PART)) } { "Previous" } " " }
            span { "From byte " (grouped(from)) " of " (grouped(size)) } " "
            @if from < last { a rel="next" href={ "?from=" (from + PART) } { "Next" } " " }
            a href={ "?from=" (last) } { "Last" }
            form.inline method="get" { label { "Go to byte " input type="number" name="from" min="0" max=(size) value=(from); } " " button { "Go" } }
        }
    }
}

/// A name as a piece of an address, for other pages.
pub(super) fn address(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}
