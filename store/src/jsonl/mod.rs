//! Histories as JSON lines: the format of `history.jsonl`.
//!
//! One event a line, in order:
//!
//! ```text
//! {"index":0,"time":123456789,"process":3,"type":"invoke","f":"read","key":7,"value":null}
//! ```
//!
//! Files from elsewhere may lack `index` (then the position is taken), `time` (0) and `value`
//! (`null`), may hold blank lines, Windows line ends and fields that we do not know. They may not
//! hold a line that is no event: it is better to stop than to judge a history with a hole.
//!
//! The one exception is the end. A controller that was killed leaves a last line without a line feed,
//! cut anywhere. It is dropped, and [`Events::torn`] says so.

mod ahead;
mod parse;
mod read;
mod tail;
mod write;

pub(crate) use ahead::read_each;
pub(crate) use parse::{NO_INDEX, Names, parse_event, what_is_wrong};
pub(crate) use read::read_from;
pub use read::{Events, Limits, Torn, read_events};
pub use tail::Tail;
pub use write::write_event;

/// What some programs put before a text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
