//! Who may ask, and what browsers may do with the answers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::query::Query;

/// Our own pages: our style sheet, our script, and nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The longest path with its query that is looked at.
const URI_MAX: usize = 8 << 10;

/// What is said in every answer. An answer that has one of them already keeps its own.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// A secret that whoever asks must know. Only its hash is kept, so that comparing tells nothing of it, not even its length.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl Token {
    /// The token of a text.
    pub(crate) fn new(text: &str) -> Token {
        Token(Sha256::digest(text.as_bytes()).into())
    }

    fn is(&self, text: &str) -> bool {
        Token::new(text).0.ct_eq(&self.0).into()
    }
}

/// Who may ask.
pub(crate) struct Guard {
    /// What must be known, if anything.
    pub(crate) token: Option<Token>,
    /// The port, which makes our cookie ours: cookies are of a host, whatever the port.
    pub(crate) port: u16,
    /// Names of this host, besides `localhost` and addresses. A page from elsewhere that has its own name point here (DNS rebinding) is
    /// known by that name.
    pub(crate) hosts: Vec<String>,
}

impl Guard {
    fn cookie(&self) -> String {
        format!("gainsay-{}", self.port)
    }

    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        host.to_str().is_ok_and(|host| self.is_ours(host))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                let port = rest.strip_prefix(':').unwrap_or(rest);
                return address.parse::<std::net::Ipv6Addr>().is_ok()
                    && port.bytes().all(|byte| byte.is_ascii_digit());
            }
            None => host.split_once(':').map_or(host, |(name, _)| name),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }

    /// Whether a request shows that it knows the token.
    fn admits(&self, token: &Token, headers: &HeaderMap) -> bool {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let bearer = headers.get(header::AUTHORIZATION).map(text);
        let bearer = bearer.and_then(|value| {
            let (scheme, secret) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| secret.trim().to_owned())
        });
        let name = self.cookie();
        let cookies = headers.get_all(header::COOKIE).iter().map(text);
        let ours = cookies.flat_map(|line| {
            let pairs = line
                .split(';')
                .filter_map(|pair| pair.trim().split_once('='));
            let ours = pairs.filter(|(key, _)| *key == name);
            ours.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        });
        bearer
            .into_iter()
            .chain(ours)
            .any(|secret| token.is(&secret))
    }
}

/// Lets only those in who may ask, and only questions.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let plain = |status: StatusCode, text: &'static str| said((status, text).into_response());
    if !guard.knows_host(request.headers()) {
        return plain(
            StatusCode::MISDIRECTED_REQUEST,
            "this server does not answer to that name; use its address, or start it with --host NAME\n",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allow = (header::ALLOW, "GET, HEAD");
        return said(
            (
                StatusCode::METHOD_NOT_ALLOWED,
                [allow],
                "this server only shows\n",
            )
                .into_response(),
        );
    }
    let uri = request.uri();
    if uri
        .path_and_query()
        .is_some_and(|path| path.as_str().len() > URI_MAX)
    {
        return plain(StatusCode::URI_TOO_LONG, "this address is too long\n");
    }
    let Some(token) = &guard.token else {
        return next.run(request).await;
    };
    if let Some(entry) = enter(&guard, token, uri) {
        return entry;
    }
    if guard.admits(token, request.headers()) {
        return next.run(request).await;
    }
    let challenge = (header::WWW_AUTHENTICATE, "Bearer realm=\"gainsay\"");
    let text = "a token is needed: open the address that `gainsay serve` printed, or send `Authorization: Bearer TOKEN`\n";
    said((StatusCode::UNAUTHORIZED, [challenge], text).into_response())
}

/// The first visit, with the token in the address: it goes into a cookie, and out of the address.
fn enter(guard: &Guard, token: &Token, uri: &Uri) -> Option<Response> {
    let query = Query::parse(uri.query()?);
    let secret = query.get("token")?;
    if !token.is(secret) {
        return None;
    }
    let rest = query.with("token", None);
    // A path that began with two slashes would be another host.
    let path = format!("/{}", uri.path().trim_start_matches('/'));
    let target = match rest.as_str() {
        "?" => path,
        rest => path + rest,
    };
    let cookie = format!(
        "{}={secret}; Path=/; HttpOnly; SameSite=Strict",
        guard.cookie()
    );
    let headers = [(header::LOCATION, target), (header::SET_COOKIE, cookie)];
    Some(said((StatusCode::SEE_OTHER, headers).into_response()))
}

/// Says in every answer what browsers may do with it.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    said(next.run(request).await)
}

fn said(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_ours() {
        let guard = Guard {
            token: None,
            port: 8080,
            hosts: vec!["ci.example".to_owned()],
        };
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "192.168.7.9:80",
            "ci.example",
            "CI.example:8080",
            "ci.example.",
        ] {
            assert!(guard.is_ours(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[evil]:8080",
            "evil@localhost",
            "[::1]evil",
            "localhost/evil",
            "ci.example.evil",
            "1.2.3",
            "::1",
        ] {
            assert!(!guard.is_ours(host), "{host}");
        }
    }

    #[test]
    fn a_token_is_itself_alone() {
        let token = Token::new("correct horse");
        assert!(token.is("correct horse"));
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!token.is(wrong));
        }
    }
}
