//! What follows the question mark.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// More pairs than this are not read.
const PAIRS_MAX: usize = 100;

/// Names and values, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Query {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
        Query(pairs.take(PAIRS_MAX).collect())
    }

    /// The first value of a name that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a name that are not empty.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Whether a name is there, with a value or without.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// A number, where one is given.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// The same with one value of a name, or with none. Names without a value are left out.
    pub(super) fn with(&self, name: &str, value: Option<&str>) -> String {
        let kept = self
            .0
            .iter()
            .filter(|(key, value)| key != name && !value.is_empty());
        let mut text = form_urlencoded::Serializer::new(String::new());
        kept.for_each(|(key, value)| {
            text.append_pair(key, value);
        });
        if let Some(value) = value {
            text.append_pair(name, value);
        }
        format!("?{}", text.finish())
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query, Infallible> {
        Ok(Query::parse(parts.uri.query().unwrap_or_default()))
    }
}
