//! Whole files in aligned memory.

use bytes::Bytes;
use depthwise_tensor::AlignedBuf;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a file, from its start on a 64-byte line; tensors that the file aligns can share
/// them.
///
/// The file is read and not mapped: another process may cut a mapped file short, which no check
/// here could catch. Callers who accept that hand a mapping to the `read` functions through
/// [`Bytes::from_owner`].
pub(crate) fn read(path: &Path) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut buf = AlignedBuf::zeroed(len).map_err(io::Error::other)?;
    file.read_exact(buf.bytes_mut())?;
    if file.read(&mut [0])? != 0 {
        return Err(io::Error::other("the file is not a regular file, or grew while it was read"));
    }
    Ok(buf.into_bytes())
}

/// An open file and its length; refuses what is no regular file, such as a pipe.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((file, metadata.len()))
}

/// The first few bytes of a file.
pub(crate) fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut head)?;
    Ok(head)
}
