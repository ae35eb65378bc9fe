//! MongoDB's wire protocol, as much of it as a test needs: commands as documents, in `OP_MSG`.
//!
//! A message is a header of four little-endian numbers (its length, its own number, the number of the message that it answers, and
//! the kind, 2013 for `OP_MSG`), then flags, then sections; the section of kind 0 is the document. All servers since 3.6 take every
//! command this way. No driver is used: drivers retry, pool connections, look for servers by themselves, and refuse old ones.
//!
//! A connection is lent to the request that is under way: whoever drops the request drops the connection, and its answer can never be
//! taken for another's.

use std::io;
use std::time::Duration;

use bson::Document;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The kind of every message, ours and theirs.
const OP_MSG: i32 = 2013;
/// The length of a header, in bytes.
const HEADER: usize = 16;
/// Header, flags, and the kind of the first section.
const BEFORE_DOCUMENT: usize = HEADER + 4 + 1;
/// The greatest message that servers send.
const MESSAGE_LIMIT: usize = 48_000_000;
/// The flag for a checksum of four bytes at the end. Servers send none unless asked with one.
const CHECKSUM_PRESENT: u32 = 1;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum WireError {
    /// Nothing was sent.
    #[error("cannot connect to {server}: {why}")]
    Connect {
        /// Where to.
        server: String,
        /// What was said.
        why: String,
    },
    /// The request may have arrived.
    #[error("the connection to {server} broke: {why}")]
    Broken {
        /// Where to.
        server: String,
        /// What was said.
        why: String,
    },
}

/// A connection to one server.
pub(crate) struct Connection {
    server: String,
    stream: TcpStream,
    /// The number of the last request.
    last: i32,
}

impl Connection {
    /// Connects, within a time limit.
    pub(crate) async fn open(server: &str, limit: Duration) -> Result<Connection, WireError> {
        let refused = |why: String| WireError::Connect {
            server: server.to_owned(),
            why,
        };
        let opened = tokio::time::timeout(limit, TcpStream::connect(server)).await;
        let stream = match opened {
            Err(_) => return Err(refused(format!("no answer within {limit:?}"))),
            Ok(Err(error)) => return Err(refused(error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        // Requests are small, and each waits for its answer.
        stream
            .set_nodelay(true)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Connection {
            server: server.to_owned(),
            stream,
            last: 0,
        })
    }

    /// Whether nothing can be sent on it any more: the server closed it, or said something that nobody asked for.
    pub(crate) fn is_spent(&self) -> bool {
        let unread = self.stream.try_read(&mut [0]);
        !matches!(unread, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a command to a database and returns the answer, whatever it says, and the connection.
    pub(crate) async fn ask(
        mut self,
        database: &str,
        mut command: Document,
    ) -> Result<(Document, Connection), WireError> {
        command.insert("$db", database);
        self.last = self.last.wrapping_add(1);
        let answered = match encode(self.last, &command) {
            Ok(message) => self.exchange(&message).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => Ok((answer, self)),
            Err(error) => Err(WireError::Broken {
                server: self.server,
                why: error.to_string(),
            }),
        }
    }

    async fn exchange(&mut self, message: &[u8]) -> io::Result<Document> {
        self.stream.write_all(message).await?;
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header).await?;
        let length = length_of_answer(&header, self.last)?;
        let mut body = vec![0; length - HEADER];
        self.stream.read_exact(&mut body).await?;
        decode(&body)
    }
}

/// A message with a command.
pub(crate) fn encode(number: i32, command: &Document) -> io::Result<Vec<u8>> {
    let mut message = vec![0; BEFORE_DOCUMENT];
    command.to_writer(&mut message).map_err(io::Error::other)?;
    let length = i32::try_from(message.len()).map_err(io::Error::other)?;
    message[..4].copy_from_slice(&length.to_le_bytes());
    message[4..8].copy_from_slice(&number.to_le_bytes());
    message[12..16].copy_from_slice(&OP_MSG.to_le_bytes());
    Ok(message)
}

fn number_at(bytes: &[u8], at: usize) -> i32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    i32::from_le_bytes(number)
}

/// The length of a whole message, from the header of what must be the answer to a request.
fn length_of_answer(header: &[u8; HEADER], request: i32) -> io::Result<usize> {
    let (answers, kind) = (number_at(header, 8), number_at(header, 12));
    if kind != OP_MSG {
        return Err(io::Error::other(format!("a message of kind {kind}")));
    }
    if answers != request {
        let wrong = format!("an answer to request {answers} instead of {request}");
        return Err(io::Error::other(wrong));
    }
    match usize::try_from(number_at(header, 0)) {
        Ok(length) if (BEFORE_DOCUMENT..=MESSAGE_LIMIT).contains(&length) => Ok(length),
        _ => Err(io::Error::other("a message of an impossible length")),
    }
}

/// The document of a message without its header.
fn decode(body: &[u8]) -> io::Result<Document> {
    let flags = number_at(body, 0) as u32;
    if flags & !CHECKSUM_PRESENT != 0 {
        return Err(io::Error::other(format!("unknown flags {flags:#x}")));
    }
    match body[4] {
        0 => Document::from_reader(&body[5..]).map_err(io::Error::other),
        kind => Err(io::Error::other(format!("a section of kind {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bson::doc;
    use tokio::net::TcpListener;

    #[test]
    fn messages_are_what_the_protocol_says() {
        let message = encode(7, &doc! { "ping": 1_i32 }).unwrap();
        let document = b"\x0f\0\0\0\x10ping\0\x01\0\0\0\0";
        let mut expected = b"\x24\0\0\0\x07\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0".to_vec();
        expected.extend(document);
        assert_eq!(message, expected);
        assert_eq!(decode(&message[HEADER..]).unwrap(), doc! { "ping": 1_i32 });
    }

    #[test]
    fn what_is_no_answer_to_the_request_is_refused() {
        let header = |length: i32, answers: i32, kind: i32| {
            let mut header = [0; HEADER];
            header[..4].copy_from_slice(&length.to_le_bytes());
            header[8..12].copy_from_slice(&answers.to_le_bytes());
            header[12..].copy_from_slice(&kind.to_le_bytes());
            header
        };
        assert_eq!(length_of_answer(&header(40, 3, OP_MSG), 3).unwrap(), 40);
        for wrong in [
            header(40, 2, OP_MSG),
            header(40, 3, 1),
            header(-1, 3, OP_MSG),
            header(20, 3, OP_MSG),
            header(i32::MAX, 3, OP_MSG),
        ] {
            assert!(length_of_answer(&wrong, 3).is_err());
        }
        assert!(decode(b"\x02\0\0\0\0\x05\0\0\0\0").is_err());
        assert!(decode(b"\0\0\0\0\x01\x05\0\0\0\0").is_err());
        assert!(decode(b"\0\0\0\0\0\x05\0").is_err());
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_spent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let limit = Duration::from_secs(5);
        let opened = Connection::open(&server, limit).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(!opened.is_spent());
        drop(accepted);
        opened.stream.readable().await.unwrap();
        assert!(opened.is_spent());
        let asked = opened.ask("admin", doc! { "ping": 1 }).await;
        assert!(matches!(asked, Err(WireError::Broken { .. })));
    }
}
