//! What a detached container printed: records of `TIME o|e LENGTH`, a line feed, and so many bytes,
//! in two files of at most half of what is kept; the older goes when the newer is full.

use super::Named;
use crate::named::now_ns;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The most that is kept of one container, both streams and both files together.
pub(crate) const KEPT_BYTES: u64 = 10 << 20;
/// A record is a read of a pipe.
const RECORD_MAX_BYTES: usize = 1 << 16;

/// The host's side.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    file: File,
    length: u64,
}

impl Writer {
    pub(crate) fn new(named: &Named) -> io::Result<Self> {
        let folder = named.folder.clone();
        let file = OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
        Ok(Self { folder, file, length: 0 })
    }

    /// Keeps a piece of output. What a full disk has no room for is lost; the program goes on.
    pub(crate) fn keep(&mut self, stream: char, bytes: &[u8]) {
        let mut record = format!("{} {stream} {}\n", now_ns(), bytes.len()).into_bytes();
        record.extend(bytes);
        let length = record.len() as u64;
        if self.length + length > KEPT_BYTES / 2 && self.rotate().is_err() {
            return;
        }
        if self.file.write_all(&record).is_ok() {
            self.length += length;
        } else {
            // Part of a record would hide what follows.
            let _ = self.file.set_len(self.length);
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let log = self.folder.join("log");
        fs::rename(&log, self.folder.join("log.1"))?;
        self.file = OpenOptions::new().create(true).append(true).open(log)?;
        self.length = 0;
        Ok(())
    }
}

/// A piece of output.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) time_ns: u64,
    pub(crate) is_error: bool,
    pub(crate) bytes: Vec<u8>,
}

/// Whoever reads it, from the beginning on and as it grows.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: PathBuf,
    file: Option<File>,
    left: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(named: &Named) -> Self {
        let folder = named.folder.clone();
        let older = File::open(folder.join("log.1")).ok();
        let file = older.or_else(|| File::open(folder.join("log")).ok());
        Self { folder, file, left: Vec::new() }
    }

    /// All that has come since the last call.
    pub(crate) fn more(&mut self) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        loop {
            let Some(file) = &mut self.file else {
                self.file = File::open(self.folder.join("log")).ok();
                if self.file.is_none() {
                    return Ok(pieces);
                }
                continue;
            };
            // The name first: what was written before a rotation is read after it was seen.
            let is_newest = fs::metadata(self.folder.join("log"))
                .is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
            let mut buffer = Vec::new();
            file.take(KEPT_BYTES).read_to_end(&mut buffer)?;
            self.left.extend(buffer);
            self.take_records(&mut pieces);
            if is_newest {
                return Ok(pieces);
            }
            self.left.clear();
            self.file = File::open(self.folder.join("log")).ok();
            if self.file.is_none() {
                return Ok(pieces);
            }
        }
    }

    fn take_records(&mut self, pieces: &mut Vec<Piece>) {
        let mut at = 0;
        while let Some((piece, length)) = record_of(&self.left[at..]) {
            pieces.push(piece);
            at += length;
        }
        self.left.drain(..at);
        if self.left.len() > 2 * RECORD_MAX_BYTES {
            self.left.clear();
        }
    }
}

fn record_of(bytes: &[u8]) -> Option<(Piece, usize)> {
    let end = bytes.iter().take(64).position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
    let time_ns = words.next()?.parse().ok()?;
    let is_error = words.next()? == "e";
    let length: usize = words.next()?.parse().ok().filter(|length| *length <= RECORD_MAX_BYTES)?;
    let bytes = bytes.get(end + 1..end + 1 + length)?.to_vec();
    Some((Piece { time_ns, is_error, bytes }, end + 1 + length))
}
