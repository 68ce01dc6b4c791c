//! What TFLite Model Metadata says of a network: labels, normalization, author.
//!
//! A buffer of the model holds a FlatBuffer of its own (`ModelMetadata`, mark `M001`); the files
//! that it names lie in a ZIP archive behind the model. All of it is a description: what cannot be
//! read is left out, and the network is the same.

use super::wire::{Model, Numbers, Table, WireError};
use super::write::METADATA;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};

const NAME: &str = "TFLITE_METADATA";
const IDENTIFIER: &[u8; 4] = b"M001";

/// Kinds of associated files that name the classes of a result, best first.
const LABELS: [i8; 2] = [2, 3];

/// Number of the options that say how pixels become numbers.
const NORMALIZATION: u8 = 1;

/// Longest file of labels, in bytes.
const MAX_LABELS: u64 = 1 << 20;

/// What the metadata say, by name: `name`, `description`, `version`, `author` and `license` of the
/// network; `labels` of the first output that has any, one per line; `input.mean` and `input.std`
/// of the first input that is normalized, `(x - mean) / std` per channel or for all, separated by
/// commas.
pub(super) fn read(model: &Model<'_>, file: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let description = model.metadata.iter().find(|(name, _)| name == NAME);
    let buffer = description.and_then(|&(_, at)| model.buffers.get(at as usize));
    if let Some(root) = buffer.and_then(|bytes| Table::root(bytes, IDENTIFIER).ok()) {
        // Entries before a fault are kept.
        let _ = collect(root, file, &mut found);
    }
    // What the writer here adds of a graph's own text.
    let own = model.metadata.iter().find(|(name, _)| name == METADATA);
    let buffer = own.and_then(|&(_, at)| model.buffers.get(at as usize));
    let own = buffer.and_then(|bytes| serde_json::from_slice(bytes).ok());
    found.extend(own.into_iter().flat_map(|own: BTreeMap<String, String>| own));
    found
}

fn collect(
    root: Table<'_>,
    file: &[u8],
    found: &mut BTreeMap<String, String>,
) -> Result<(), WireError> {
    for (field, key) in
        [(0, "name"), (1, "description"), (2, "version"), (4, "author"), (5, "license")]
    {
        let text = root.text(field)?;
        if !text.is_empty() {
            found.insert(key.into(), text.into_owned());
        }
    }
    let Some(network) = root.tables(3)?.next().transpose()? else { return Ok(()) };
    for input in network.tables(2)? {
        if let Some((mean, std)) = normalization(input?)? {
            found.insert("input.mean".into(), list(mean));
            found.insert("input.std".into(), list(std));
            break;
        }
    }
    for output in network.tables(3)? {
        if let Some(labels) = label_file(output?)?.and_then(|name| extract(file, &name)) {
            found.insert("labels".into(), labels);
            break;
        }
    }
    Ok(())
}

fn list(numbers: Numbers<'_, f32>) -> String {
    numbers.iter().map(|x| x.to_string()).collect::<Vec<_>>().join(",")
}

type MeanAndStd<'a> = (Numbers<'a, f32>, Numbers<'a, f32>);

/// Mean and deviation by which the elements of a tensor are normalized.
fn normalization(tensor: Table<'_>) -> Result<Option<MeanAndStd<'_>>, WireError> {
    for unit in tensor.tables(4)? {
        let unit = unit?;
        if unit.number::<u8>(0, 0)? == NORMALIZATION
            && let Some(options) = unit.table(1)?
        {
            let (mean, std) = (options.numbers(0)?, options.numbers(1)?);
            if !mean.is_empty() && mean.len() == std.len() {
                return Ok(Some((mean, std)));
            }
        }
    }
    Ok(None)
}

/// Name of the file that names the classes of a result.
fn label_file(tensor: Table<'_>) -> Result<Option<String>, WireError> {
    for kind in LABELS {
        for file in tensor.tables(6)? {
            let file = file?;
            if file.number::<i8>(2, 0)? == kind {
                return Ok(Some(file.text(0)?.into_owned()));
            }
        }
    }
    Ok(None)
}

/// The text of a file in the archive behind the model.
fn extract(file: &[u8], name: &str) -> Option<String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).ok()?;
    let mut text = String::new();
    let limit = MAX_LABELS.min(file.len() as u64);
    archive.by_name(name).ok()?.take(limit).read_to_string(&mut text).ok()?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
