//! Texts in which every line stands for itself.

use std::io::Read;
use std::path::Path;

use super::window::Window;
use crate::batch::Flow;
use crate::load::LoadError;

/// What is wrong with a line.
pub(super) struct Wrong {
    /// In bytes, from 1.
    pub(super) column: u64,
    pub(super) message: String,
}

/// Hands on the lines of a text, with their numbers from 1, until `take` has enough.
pub(super) fn each_line(
    source: impl Read,
    path: &Path,
    take: &mut dyn FnMut(&str, u64) -> Result<Flow, Wrong>,
) -> Result<(), LoadError> {
    let mut window = Window::new(source, path)?;
    loop {
        let (text, ended) = window.text()?;
        let mut number = window.line();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let end = memchr::memchr(b'\n', rest.as_bytes());
            if end.is_none() && !ended {
                break;
            }
            let line = &rest[..end.unwrap_or(rest.len())];
            match take(line, number) {
                Ok(Flow::Continue(())) => {}
                Ok(Flow::Break(())) => return Ok(()),
                Err(wrong) => {
                    let column = wrong.column.saturating_sub(1) as usize;
                    return Err(window.error(at + column.min(line.len()), wrong.message));
                }
            }
            number += 1;
            at += end.map_or(rest.len(), |end| end + 1);
        }
        if ended {
            return Ok(());
        }
        window.advance(at)?;
    }
}

/// The first line of a text with something in it.
pub(super) fn first_line(beginning: &[u8]) -> Option<&str> {
    let mut lines = beginning.split(|byte| *byte == b'\n');
    let first = lines.find(|line| !line.trim_ascii().is_empty())?;
    std::str::from_utf8(first).ok()
}
