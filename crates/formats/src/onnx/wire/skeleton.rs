//! A file without its large constants, which are left where they are.

use super::reader::{CUT_SHORT, WireError};
use std::io::{self, BufRead, Read, Seek};

/// Bytes from which the elements of an initializer stay in the file.
const LARGE: u64 = 4096;

/// Number of a field, by the message that it stands in, that leads to the elements of an
/// initializer: `ModelProto.graph`, `GraphProto.initializer`, `TensorProto.raw_data`.
const PATH: [u32; 3] = [7, 5, 9];

/// All bytes of a file but the `raw_data` of large initializers.
///
/// A model whose weights are never in memory twice: the tensors are read one by one, each straight
/// into memory of its own.
#[derive(Debug, Default)]
pub struct Skeleton {
    pub(super) bytes: Vec<u8>,
    pub(super) holes: Vec<Hole>,
}

/// Bytes that were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Where they are missing.
    pub(super) at: usize,
    /// Where they are in the file.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) len: usize,
}

impl Skeleton {
    /// Reads a file of `len` bytes. What is not a well-formed message is kept as it is, for
    /// [`Model::decode_skeleton`](super::Model::decode_skeleton) to refuse.
    ///
    /// # Errors
    /// What reading the file gives; and where it ends before `len`.
    pub fn read(file: impl BufRead + Seek, len: u64) -> io::Result<Skeleton> {
        let mut walk = Walk { file, at: 0, skeleton: Skeleton::default() };
        // A walk ends early where the bytes are no message.
        walk.message(&PATH, len)?;
        walk.keep(len - walk.at)?;
        Ok(walk.skeleton)
    }

    /// The bytes that were kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

struct Walk<R> {
    file: R,
    /// Position in the file.
    at: u64,
    skeleton: Skeleton,
}

/// Whether the bytes so far are those of a message.
type Sound = bool;

impl<R: BufRead + Seek> Walk<R> {
    /// Copies a message that ends at `end`, but for what lies at the end of `path`.
    fn message(&mut self, path: &[u32], end: u64) -> io::Result<Sound> {
        while self.at < end {
            let Some(key) = self.varint(end)? else { return Ok(false) };
            let len = match key & 7 {
                0 => match self.varint(end)? {
                    Some(_) => continue,
                    None => return Ok(false),
                },
                1 => 8,
                2 => match self.varint(end)? {
                    Some(len) => len,
                    None => return Ok(false),
                },
                5 => 4,
                _ => return Ok(false),
            };
            if len > end - self.at {
                return Ok(false);
            }
            let leads = key & 7 == 2 && path.first().is_some_and(|&n| u64::from(n) == key >> 3);
            match path {
                [_] if leads && len >= LARGE => self.leave(len)?,
                [_, rest @ ..] if leads && !rest.is_empty() => {
                    if !self.message(rest, self.at + len)? {
                        return Ok(false);
                    }
                }
                _ => self.keep(len)?,
            }
        }
        Ok(true)
    }

    /// A number, copied; `None` where it does not end before `end`.
    fn varint(&mut self, end: u64) -> io::Result<Option<u64>> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at == end {
                return Ok(None);
            }
            let Some(&byte) = self.file.fill_buf()?.first() else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            self.file.consume(1);
            self.skeleton.bytes.push(byte);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn keep(&mut self, count: u64) -> io::Result<()> {
        let copied = self.file.by_ref().take(count).read_to_end(&mut self.skeleton.bytes)?;
        if copied as u64 != count {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count;
        Ok(())
    }

    fn leave(&mut self, count: u64) -> io::Result<()> {
        let len = usize::try_from(count).map_err(io::Error::other)?;
        let hole = Hole { at: self.skeleton.bytes.len(), offset: self.at, len };
        self.skeleton.holes.push(hole);
        self.file.seek_relative(i64::try_from(count).map_err(io::Error::other)?)?;
        self.at += count;
        Ok(())
    }
}

/// The holes of a skeleton, for a reader to step over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holes<'a>(pub(super) &'a [Hole]);

impl<'a> Holes<'a> {
    /// The position in the file of a position in the skeleton: in front of a hole there.
    pub(super) fn in_file(self, at: usize) -> usize {
        let before = self.0.iter().take_while(|hole| hole.at < at);
        at + before.map(|hole| hole.len).sum::<usize>()
    }

    /// The same, behind a hole there.
    pub(super) fn in_file_behind(self, at: usize) -> usize {
        let before = self.0.iter().take_while(|hole| hole.at <= at);
        at + before.map(|hole| hole.len).sum::<usize>()
    }

    /// What `len` bytes of the file are in the skeleton from `at` on: a hole as a whole, or this
    /// many bytes.
    pub(super) fn span(self, at: usize, len: usize) -> Result<Result<usize, &'a Hole>, WireError> {
        let inside = &self.0[self.0.partition_point(|hole| hole.at < at)..];
        let mut missing = 0;
        for hole in inside {
            let start = hole.at - at + missing;
            if start >= len {
                break;
            }
            if start == 0 && hole.len == len {
                return Ok(Err(hole));
            }
            if hole.len > len - start {
                // Holes end within every message that they lie in, so this is past its end.
                return Err(WireError { offset: self.in_file(at), reason: CUT_SHORT });
            }
            missing += hole.len;
        }
        Ok(Ok(len - missing))
    }
}
