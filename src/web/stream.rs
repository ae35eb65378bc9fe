//! Answers that are written while they are sent, so that nothing large is ever in memory.

use std::io::{self, Write};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc::{Sender, channel};

/// Bytes that are handed over at once.
const PIECE: usize = 64 << 10;
/// Pieces that wait for a slow reader.
const PIECES: usize = 4;

/// Where the answer is written. Writing waits for whoever reads it, and fails when they have gone.
pub(super) struct Out {
    pieces: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.piece.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.piece.extend_from_slice(taken);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.pieces.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The body that a function writes, on a thread where it may wait. If it fails, the connection is cut off, so that nobody
/// takes what was sent for the whole.
pub(super) fn body(write: impl FnOnce(&mut Out) -> io::Result<()> + Send + 'static) -> Body {
    let (pieces, received) = channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let failed = pieces.clone();
        let mut out = Out {
            pieces,
            piece: Vec::with_capacity(PIECE),
        };
        if let Err(error) = write(&mut out).and_then(|()| out.flush()) {
            let _ = failed.blocking_send(Err(error));
        }
    });
    Body::from_stream(stream::unfold(received, |mut received| async {
        Some((received.recv().await?, received))
    }))
}
