//! Files as answers: whole, or the range of bytes that was asked for (RFC 9110, section 14), so that a download that broke can go on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, copy};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{WebError, stream};

/// What was asked for of a file.
#[derive(Debug, PartialEq)]
enum Wanted {
    All,
    /// From a byte on, so many.
    Range(u64, u64),
    /// Nothing that it has.
    Beyond,
}

/// A file, as long as it is now, piece by piece. `request` has the headers that may ask for a range.
pub(super) fn file(mut file: File, size: u64, request: &HeaderMap) -> Result<Response, WebError> {
    let (status, from, length) = match wanted(request, size) {
        Wanted::All => (StatusCode::OK, 0, size),
        Wanted::Range(from, length) => (StatusCode::PARTIAL_CONTENT, from, length),
        Wanted::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let range = match status {
        StatusCode::PARTIAL_CONTENT => Some(format!("bytes {from}-{}/{size}", from + length - 1)),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{size}")),
        _ => None,
    };
    file.seek(SeekFrom::Start(from))?;
    let body: Body = stream::body(move |out| match copy(&mut file.take(length), out)? {
        sent if sent == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    });
    let headers = [
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    let mut response = (status, headers, body).into_response();
    if let Some(range) = range.and_then(|range| HeaderValue::from_str(&range).ok()) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// What a request asks for of a file of so many bytes. Several ranges at once, ranges of a version that is named, and what is no
/// range get the whole file: so may a server answer.
fn wanted(request: &HeaderMap, size: u64) -> Wanted {
    let asked = request.get(header::RANGE).and_then(|one| one.to_str().ok());
    asked
        .filter(|_| !request.contains_key(header::IF_RANGE))
        .and_then(|asked| range(asked.trim(), size))
        .unwrap_or(Wanted::All)
}

/// One range of bytes: `bytes=2-5`, `bytes=2-`, or the last four, `bytes=-4`.
fn range(text: &str, size: u64) -> Option<Wanted> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Beyond the end of any file, however many digits it has.
        is_one.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (from, end) = match (first, last) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (first, "") => (number(first)?, size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(match from < end {
        true => Wanted::Range(from, end - from),
        false => Wanted::Beyond,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ranges_are_what_was_asked_for() {
        for (asked, expected) in [
            ("bytes=0-0", Wanted::Range(0, 1)),
            ("bytes=2-5", Wanted::Range(2, 4)),
            ("bytes=7-", Wanted::Range(7, 3)),
            ("bytes=7-99", Wanted::Range(7, 3)),
            ("bytes=-4", Wanted::Range(6, 4)),
            ("bytes=-99", Wanted::Range(0, 10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=5-2", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=18446744073709551615-", Wanted::Beyond),
            ("bytes=99999999999999999999-", Wanted::Beyond),
            ("bytes=0-99999999999999999999", Wanted::Range(0, 10)),
            ("bytes=-", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("", Wanted::All),
        ] {
            let mut request = HeaderMap::new();
            request.insert(header::RANGE, asked.parse().unwrap());
            assert_eq!(wanted(&request, 10), expected, "{asked}");
            request.insert(header::IF_RANGE, "\"x\"".parse().unwrap());
            assert_eq!(wanted(&request, 10), Wanted::All, "{asked}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 10), Wanted::All);
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, "bytes=0-".parse().unwrap());
        assert_eq!(wanted(&request, 0), Wanted::Beyond);
    }
}
