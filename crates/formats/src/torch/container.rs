//! Where the pickle and the storages lie.

use super::TorchError;
use super::pickle::{self, Pickle, Storage, Value};
use bytes::Bytes;
use std::collections::HashMap;
use std::io::Cursor;
use zip::{CompressionMethod, ZipArchive};

/// The object of a checkpoint, and the bytes of its storages by key.
pub(super) struct Container<'a> {
    pub(super) pickle: Pickle<'a>,
    pub(super) storages: HashMap<&'a str, Bytes>,
}

/// How the older container starts: a pickle of protocol 2 that holds the magic number.
pub(crate) const LEGACY_START: [u8; 14] =
    [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The only version of the older container.
const PROTOCOL: i64 = 1001;

pub(super) fn open(file: &Bytes) -> Result<Container<'_>, TorchError> {
    if file.starts_with(b"PK") {
        return archive(file);
    }
    match pickle::load(file) {
        Ok(Pickle { root: Value::Long(digits), len, .. }) if digits == MAGIC => legacy(file, len),
        _ => Err(TorchError::NotACheckpoint),
    }
}

/// After the magic number: protocol version, notes on the system, the object, the keys of the
/// storages, each a pickle; then per key the number of elements and the elements.
fn legacy(file: &Bytes, magic_len: usize) -> Result<Container<'_>, TorchError> {
    let mut at = magic_len;
    let mut next = || {
        let pickle = pickle::load(&file[at..])?;
        at += pickle.len;
        Ok::<_, TorchError>(pickle)
    };
    let protocol = next()?.root;
    if protocol != Value::Int(PROTOCOL) {
        return Err(TorchError::Container(format!("of protocol {protocol:?}, not {PROTOCOL}")));
    }
    let system = next()?;
    if let Value::Dict(id) = system.root
        && system.heap.dicts[id].contains(&(Value::Str("little_endian"), Value::Bool(false)))
    {
        return Err(TorchError::Container("written on a big-endian machine".into()));
    }
    let object = next()?;
    let keys = next()?;
    let Value::List(list) = keys.root else {
        return Err(TorchError::Container("without a list of its storages".into()));
    };
    let described = described(&object)?;
    let mut storages = HashMap::new();
    for &key in &keys.heap.lists[list] {
        let Value::Str(key) = key else {
            return Err(TorchError::Container("with a storage whose key is no string".into()));
        };
        let fail = |reason: String| TorchError::Storage { key: key.to_owned(), reason };
        let Some((key, storage)) = described.get_key_value(key) else {
            return Err(fail("no tensor describes it".into()));
        };
        let truncated = |offset| TorchError::Truncated { what: "a storage", offset };
        let count = file.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(|| truncated(at))?;
        let count = u64::from_le_bytes(*count);
        if count != storage.len as u64 {
            return Err(fail(format!("holds {count} elements, but is described as {storage}")));
        }
        at += size_of::<u64>();
        let end = storage.len.checked_mul(storage.dtype.size_bytes());
        let end = end.and_then(|len| len.checked_add(at)).filter(|&end| end <= file.len());
        let end = end.ok_or_else(|| truncated(at))?;
        storages.insert(*key, file.slice(at..end));
        at = end;
    }
    Ok(Container { pickle: object, storages })
}

/// The storages that a pickle names, which must not contradict each other.
fn described<'a>(pickle: &Pickle<'a>) -> Result<HashMap<&'a str, Storage<'a>>, TorchError> {
    let mut found = HashMap::<&str, Storage<'_>>::new();
    for &storage in &pickle.heap.storages {
        let first = *found.entry(storage.key).or_insert(storage);
        if (first.dtype, first.len) != (storage.dtype, storage.len) {
            let reason = format!("described as {first} and as {storage}");
            return Err(TorchError::Storage { key: storage.key.to_owned(), reason });
        }
    }
    Ok(found)
}

/// An archive whose one folder holds `data.pkl` and a file `data/<key>` per storage, all stored
/// without compression.
fn archive(file: &Bytes) -> Result<Container<'_>, TorchError> {
    let zip_error = |error| TorchError::Container(format!("a broken archive: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(&file[..])).map_err(zip_error)?;
    let main = archive
        .file_names_raw()
        .find_map(|name| name.strip_suffix(b"data.pkl"))
        .filter(|folder| folder.ends_with(b"/"))
        .and_then(|folder| std::str::from_utf8(folder).ok());
    let Some(folder) = main.map(str::to_owned) else {
        return Err(TorchError::Container("without data.pkl (is it a TorchScript file?)".into()));
    };
    if let Some(order) = entry(&mut archive, file, &format!("{folder}byteorder"))?
        && order != b"little"[..]
    {
        return Err(TorchError::Container("written on a big-endian machine".into()));
    }
    let range = entry_range(&mut archive, file, &format!("{folder}data.pkl"))?;
    let range = range.ok_or_else(|| TorchError::Container("without data.pkl".into()))?;
    let pickle = pickle::load(&file[range])?;
    let mut storages = HashMap::new();
    for (key, storage) in described(&pickle)? {
        let fail = |reason: String| TorchError::Storage { key: key.to_owned(), reason };
        let bytes = entry(&mut archive, file, &format!("{folder}data/{key}"))?;
        let bytes = bytes.ok_or_else(|| fail("the archive does not hold it".into()))?;
        if storage.len.checked_mul(storage.dtype.size_bytes()) != Some(bytes.len()) {
            return Err(fail(format!(
                "takes {} bytes, but is described as {storage}",
                bytes.len()
            )));
        }
        storages.insert(key, bytes);
    }
    Ok(Container { pickle, storages })
}

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// The bytes of an archive's entry, shared; `None` where there is no such entry.
fn entry(archive: &mut Archive<'_>, file: &Bytes, name: &str) -> Result<Option<Bytes>, TorchError> {
    Ok(entry_range(archive, file, name)?.map(|range| file.slice(range)))
}

fn entry_range(
    archive: &mut Archive<'_>,
    file: &Bytes,
    name: &str,
) -> Result<Option<std::ops::Range<usize>>, TorchError> {
    let Some(index) = archive.index_for_name_raw(name.as_bytes()) else {
        return Ok(None);
    };
    let fail =
        |reason: String| TorchError::Container(format!("with a broken \"{name}\": {reason}"));
    let entry = archive.by_index_raw(index).map_err(|error| fail(error.to_string()))?;
    if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
        return Err(fail("it is compressed or encrypted".into()));
    }
    let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
    let len = usize::try_from(entry.size()).ok();
    let end = start.zip(len).and_then(|(start, len)| start.checked_add(len));
    match start.zip(end) {
        Some((start, end)) if end <= file.len() => Ok(Some(start..end)),
        _ => Err(fail("it lies outside the file".into())),
    }
}
