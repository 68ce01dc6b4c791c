//! The border to HDF5: names, texts and arrays of a file, bounded by its size.

use super::error::KerasError;
use bytes::Bytes;
use depthwise_tensor::{Shape, Tensor};
use hdf5_pure::{DType, File, Group};
use std::collections::BTreeMap;

/// Groups within groups that are followed. Models in models add two each.
const MAX_DEPTH: usize = 32;

/// An open file.
pub(super) struct H5 {
    file: File,
    len: usize,
}

/// What a walk over the file finds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Paths of all arrays.
    pub(super) arrays: Vec<String>,
    /// The attribute `name` of the groups that have one, by path.
    pub(super) names: BTreeMap<String, String>,
}

fn broken(error: impl std::fmt::Display) -> KerasError {
    KerasError::Hdf5(error.to_string())
}

impl H5 {
    /// Opens a file of these bytes, which are copied.
    pub(super) fn open(bytes: &Bytes) -> Result<H5, KerasError> {
        let file = File::from_bytes(bytes.to_vec()).map_err(broken)?;
        let end = file.superblock().eof_address;
        if end > bytes.len() as u64 {
            return Err(broken(format!("it has {} bytes, but should have {end}", bytes.len())));
        }
        Ok(H5 { file, len: bytes.len() })
    }

    /// A text that is an attribute of the root.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, KerasError> {
        let attributes = self.file.root().attrs().map_err(broken)?;
        Ok(attributes.get(name).and_then(|value| value.as_str()).map(str::to_owned))
    }

    /// All arrays below a group of the root; nothing where there is no such group.
    pub(super) fn list(&self, group: &str) -> Result<Listing, KerasError> {
        let mut listing = Listing::default();
        let root = self.file.root();
        if !root.groups().map_err(broken)?.iter().any(|name| name == group) {
            return Ok(listing);
        }
        let start = root.group(group).map_err(broken)?;
        // A link takes some bytes, so a file has few of them; a cycle of links has no end.
        let mut links_left = self.len / 16;
        walk(&start, group, 0, &mut links_left, &mut listing)?;
        Ok(listing)
    }

    /// The elements of an array.
    pub(super) fn tensor(&self, path: &str) -> Result<Tensor, KerasError> {
        let fail = |what: String| KerasError::Hdf5(format!("array \"{path}\": {what}"));
        let array = self.file.dataset(path).map_err(|error| fail(error.to_string()))?;
        let extents = array.shape().map_err(|error| fail(error.to_string()))?;
        let dims: Vec<usize> =
            extents.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        let shape = Shape::new(&dims).map_err(|error| fail(error.to_string()))?;
        let dtype = array.dtype().map_err(|error| fail(error.to_string()))?;
        let size = match dtype {
            DType::F32 | DType::I32 => 4,
            DType::F64 | DType::I64 => 8,
            other => return Err(fail(format!("elements of type {other} are not supported"))),
        };
        // Keras does not compress; so an array takes no more than the file.
        if shape.elements().checked_mul(size).is_none_or(|bytes| bytes > self.len) {
            return Err(fail(format!("{shape} elements of {size} bytes do not fit the file")));
        }
        let read = match dtype {
            DType::F32 => array.read_f32().map(|list| Tensor::from_vec(&dims, list)),
            DType::F64 => array.read_f64().map(|list| Tensor::from_vec(&dims, list)),
            DType::I32 => array.read_i32().map(|list| Tensor::from_vec(&dims, list)),
            _ => array.read_i64().map(|list| Tensor::from_vec(&dims, list)),
        };
        read.map_err(|error| fail(error.to_string()))?.map_err(|error| fail(error.to_string()))
    }
}

fn walk(
    group: &Group,
    path: &str,
    depth: usize,
    links_left: &mut usize,
    listing: &mut Listing,
) -> Result<(), KerasError> {
    if depth > MAX_DEPTH {
        return Err(KerasError::Hdf5(format!("groups within groups, {MAX_DEPTH} deep")));
    }
    // What cannot be read of the attributes is not asked for.
    let name = group.attrs().ok().and_then(|all| all.get("name")?.as_str().map(str::to_owned));
    listing.names.extend(name.map(|name| (path.to_owned(), name)));
    let arrays = group.datasets().map_err(broken)?;
    let groups = group.groups().map_err(broken)?;
    let links = arrays.len() + groups.len();
    *links_left = links_left
        .checked_sub(links)
        .ok_or_else(|| KerasError::Hdf5("more links than the file has room for".into()))?;
    listing.arrays.extend(arrays.iter().map(|name| format!("{path}/{name}")));
    for name in groups {
        let child = group.group(&name).map_err(broken)?;
        walk(&child, &format!("{path}/{name}"), depth + 1, links_left, listing)?;
    }
    Ok(())
}
