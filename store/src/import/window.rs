//! A text that is read piece by piece.

use std::io::Read;
use std::path::Path;

use crate::jsonl::BYTE_ORDER_MARK;
use crate::load::{LoadError, Place};

/// Bytes that are read at once.
const BLOCK: usize = 256 << 10;

/// The most bytes that may be looked at together.
const WINDOW_MAX: usize = 16 << 20;

/// A stretch of a text, which moves forward.
pub(super) struct Window<'p, R> {
    source: R,
    path: &'p Path,
    bytes: Vec<u8>,
    /// Where the stretch begins in the text.
    place: Place,
    /// There is nothing after the stretch.
    ended: bool,
}

impl<'p, R: Read> Window<'p, R> {
    /// The beginning of a text. `path` names it in errors.
    pub(super) fn new(source: R, path: &'p Path) -> Result<Window<'p, R>, LoadError> {
        let mut window = Window {
            source,
            path,
            bytes: Vec::new(),
            place: Place { line: 1, column: 1 },
            ended: false,
        };
        window.advance(0)?;
        if window.bytes.starts_with(BYTE_ORDER_MARK) {
            window.bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(window)
    }

    /// The stretch, as far as its last character is whole, and whether the text ends with it.
    pub(super) fn text(&self) -> Result<(&str, bool), LoadError> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok((text, self.ended)),
            Err(error) => {
                let whole = &self.bytes[..error.valid_up_to()];
                match (error.error_len(), std::str::from_utf8(whole)) {
                    (None, Ok(text)) if !self.ended => Ok((text, false)),
                    _ => Err(self.error(whole.len(), "this is no UTF-8")),
                }
            }
        }
    }

    /// The line that the stretch begins in, from 1.
    pub(super) fn line(&self) -> u64 {
        self.place.line
    }

    /// An error at a place of the stretch.
    pub(super) fn error(&self, offset: usize, message: impl Into<String>) -> LoadError {
        LoadError::Format {
            path: self.path.to_owned(),
            place: self.place.after(&self.bytes[..offset]),
            message: message.into(),
        }
    }

    /// Leaves so many bytes behind, and reads on.
    pub(super) fn advance(&mut self, by: usize) -> Result<(), LoadError> {
        self.place = self.place.after(&self.bytes[..by]);
        self.bytes.drain(..by);
        if self.bytes.len() > WINDOW_MAX {
            let message = format!("this is longer than {WINDOW_MAX} bytes");
            return Err(self.error(0, message));
        }
        // What does not fit is looked at again from its beginning: twice as much of it each time.
        let wanted = BLOCK.max(self.bytes.len()) as u64;
        let read = (&mut self.source)
            .take(wanted)
            .read_to_end(&mut self.bytes)
            .map_err(|source| LoadError::io(self.path, source))?;
        self.ended = (read as u64) < wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn characters_and_places_survive_being_cut() {
        let text = "é\n".repeat(BLOCK);
        let mut window = Window::new(text.as_bytes(), Path::new("x")).unwrap();
        let mut seen = String::new();
        loop {
            let (text, ended) = window.text().unwrap();
            seen.push_str(text);
            if ended {
                break;
            }
            let by = text.len();
            window.advance(by).unwrap();
        }
        assert_eq!(seen, text);
        assert_eq!(window.line(), BLOCK as u64 + 1);
    }

    #[test]
    fn what_is_no_text_or_too_long_is_an_error_with_its_place() {
        let mut bytes = b"ab\n".repeat(BLOCK);
        bytes.extend_from_slice(b"a\xff");
        let mut window = Window::new(&bytes[..], Path::new("x")).unwrap();
        let error = loop {
            match window.text() {
                Ok((text, _)) => {
                    let by = text.len();
                    window.advance(by).unwrap();
                }
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(error, format!("x:{}:2: this is no UTF-8", BLOCK + 1));

        let long = vec![b'x'; 2 * WINDOW_MAX];
        let mut window = Window::new(&long[..], Path::new("x")).unwrap();
        let error = loop {
            if let Err(error) = window.advance(0) {
                break error.to_string();
            }
        };
        assert_eq!(error, "x:1:1: this is longer than 16777216 bytes");
    }
}
