//! Elements that lie beside the model's file.

use super::error::ExternalError;
use bytes::Bytes;
use depthwise_tensor::AlignedBuf;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Tensors of one file may overlap (shared weights), but not take more than this many times its
/// bytes.
const MAX_OVERLAP: u64 = 4;

/// The files beside a model. A range that is read twice is shared.
#[derive(Debug)]
pub(super) struct External {
    folder: Option<PathBuf>,
    files: HashMap<String, OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: File,
    len: u64,
    bytes_left: u64,
    ranges: HashMap<(u64, usize), Bytes>,
}

impl External {
    pub(super) fn new(folder: Option<&Path>) -> External {
        External { folder: folder.map(Path::to_owned), files: HashMap::new() }
    }

    /// `want` bytes of the file at `location`, by the keys of a tensor's `external_data`.
    pub(super) fn read(
        &mut self,
        entries: &[(&str, &str)],
        want: usize,
    ) -> Result<Bytes, ExternalError> {
        let number = |key: &str| {
            let entry = entries.iter().find(|entry| entry.0 == key);
            let parse = |value: &str| {
                let number = value.parse::<u64>();
                number.map_err(|_| ExternalError::Number { key: key.into(), value: value.into() })
            };
            entry.map(|entry| parse(entry.1)).transpose()
        };
        let offset = number("offset")?.unwrap_or(0);
        if let Some(got) = number("length")?
            && got != want as u64
        {
            return Err(ExternalError::Length { want, got });
        }
        self.file(location(entries))?.range(offset, want)
    }

    fn file(&mut self, location: &str) -> Result<&mut OpenFile, ExternalError> {
        if !self.files.contains_key(location) {
            let file = open(self.folder.as_deref().ok_or(ExternalError::NoFolder)?, location)?;
            self.files.insert(location.to_owned(), file);
        }
        Ok(self.files.get_mut(location).expect("inserted above"))
    }
}

/// The location among the keys of a tensor's `external_data`.
pub(super) fn location<'a>(entries: &[(&'a str, &'a str)]) -> &'a str {
    entries.iter().find(|entry| entry.0 == "location").map_or("", |entry| entry.1)
}

fn open(folder: &Path, location: &str) -> Result<OpenFile, ExternalError> {
    let relative = Path::new(location);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    // A backslash separates on Windows only; refuse it everywhere, so that a model means the same.
    if location.is_empty() || location.contains('\\') || !relative.components().all(plain) {
        return Err(ExternalError::Location);
    }
    // An empty folder is that of a file named without one.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let path = folder.join(relative);
    let fail = |source| ExternalError::Io { path: path.clone(), source };
    let real = path.canonicalize().map_err(fail)?;
    if !real.starts_with(folder.canonicalize().map_err(fail)?) {
        return Err(ExternalError::Outside);
    }
    // Opening a pipe would wait for ever.
    if !real.metadata().map_err(fail)?.is_file() {
        return Err(fail(io::Error::other("not a regular file")));
    }
    let file = File::open(&real).map_err(fail)?;
    let len = file.metadata().map_err(fail)?.len();
    let bytes_left = len.saturating_mul(MAX_OVERLAP);
    Ok(OpenFile { path, file, len, bytes_left, ranges: HashMap::new() })
}

impl OpenFile {
    fn range(&mut self, offset: u64, want: usize) -> Result<Bytes, ExternalError> {
        let len = self.len;
        if offset.checked_add(want as u64).is_none_or(|end| end > len) {
            return Err(ExternalError::PastEnd { offset, want, len });
        }
        if let Some(bytes) = self.ranges.get(&(offset, want)) {
            return Ok(bytes.clone());
        }
        let left = self.bytes_left.checked_sub(want as u64);
        self.bytes_left = left.ok_or(ExternalError::Overlap { len })?;
        let mut fill = || {
            let mut buf = AlignedBuf::zeroed(want).map_err(io::Error::other)?;
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.read_exact(buf.bytes_mut())?;
            Ok(buf.into_bytes())
        };
        let bytes =
            fill().map_err(|source| ExternalError::Io { path: self.path.clone(), source })?;
        self.ranges.insert((offset, want), bytes.clone());
        Ok(bytes)
    }
}
