//! Texts with labels: JSON by the line, or a table.

use super::files::{VALIDATION, numbered};
use super::{Dataset, Skipped, Splits};
use crate::FitError;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Extensions of files of JSON by the line.
const JSON_LINES: [&str; 2] = ["jsonl", "ndjson"];
/// Names of the columns and fields that may hold the text.
const TEXTS: [&str; 4] = ["text", "sentence", "content", "message"];
/// Names of the columns and fields that may hold the label.
const LABELS: [&str; 4] = ["label", "class", "category", "target"];

/// Whether a path holds texts: JSON by the line (`.jsonl`, `.ndjson`), a table (`.csv`) whose head
/// names a column of texts (`text`, `sentence`, `content`, `message`), or a folder with such a file
/// called `train`, `test`, `val`, `valid` or `validation`.
///
/// # Errors
/// [`FitError::Table`] where a table cannot be read.
pub fn holds_text(path: &Path) -> Result<bool, FitError> {
    if path.is_dir() {
        return Ok(["train", "test"]
            .into_iter()
            .chain(VALIDATION)
            .any(|n| part(path, n).is_some()));
    }
    if is_json(path) {
        return Ok(true);
    }
    if !is_table(path) {
        return Ok(false);
    }
    let mut first = csv::StringRecord::new();
    let table = |source| FitError::Table { path: path.to_owned(), source };
    reader(path)?.read_record(&mut first).map_err(table)?;
    Ok(column(&first, &TEXTS).is_some())
}

impl Dataset<Arc<str>> {
    /// Texts and labels: a file with a JSON object in every line (`.jsonl`, `.ndjson`) that has a
    /// `text` and a `label` (a text, a number, `true` or `false`), or a table (`.csv`) with such
    /// columns, without a head in this order. `sentence`, `content` and `message` are other names
    /// for the first, `class`, `category` and `target` for the second.
    ///
    /// Classes are numbered as [`Dataset::open`] does it. A line without text or label is left out,
    /// with a reason in [`Dataset::skipped`].
    ///
    /// # Errors
    /// [`FitError::Io`]; [`FitError::Data`] where no line is of use, or the name of the file tells
    /// neither form.
    pub fn open_text(path: &Path) -> Result<Dataset<Arc<str>>, FitError> {
        let mut lines = Lines { path, rows: Vec::new(), skipped: Vec::new() };
        if is_json(path) {
            lines.read_json()?;
        } else if is_table(path) {
            lines.read_table()?;
        } else {
            return Err(FitError::data(path, "texts are read from .jsonl, .ndjson and .csv"));
        }
        let Lines { rows, skipped, .. } = lines;
        if rows.is_empty() {
            let why = skipped.first().map_or("it is empty".into(), |s| {
                format!("line {}: {}", s.line.unwrap_or(0), s.reason)
            });
            return Err(FitError::data(path, format!("no line holds a text and a label; {why}")));
        }
        Ok(numbered(rows, skipped))
    }
}

impl Splits<Arc<str>> {
    /// As [`Dataset::open_text`], or a folder with files `train` and perhaps `val` (`valid`,
    /// `validation`) of these forms.
    ///
    /// # Errors
    /// As [`Dataset::open_text`]; and where the validation part has a class that the other has not.
    pub fn open_text(path: &Path) -> Result<Splits<Arc<str>>, FitError> {
        if !path.is_dir() {
            return Ok(Splits { train: Dataset::open_text(path)?, validation: None });
        }
        let missing = || FitError::data(path, "no train.jsonl or train.csv in this folder");
        let train = Dataset::open_text(&part(path, "train").ok_or_else(missing)?)?;
        let validation = match VALIDATION.iter().find_map(|name| part(path, name)) {
            Some(file) => Some(Dataset::open_text(&file)?.with_classes(&file, &train.classes)?),
            None => None,
        };
        Ok(Splits { train, validation })
    }

    /// What to test with: of a folder its file `test`, else the one for validation.
    ///
    /// # Errors
    /// As [`Dataset::open_text`].
    pub fn open_text_test(path: &Path) -> Result<Dataset<Arc<str>>, FitError> {
        if !path.is_dir() {
            return Dataset::open_text(path);
        }
        let found = ["test"].into_iter().chain(VALIDATION).find_map(|name| part(path, name));
        let missing = || FitError::data(path, "no test.jsonl, test.csv or val.* in this folder");
        Dataset::open_text(&found.ok_or_else(missing)?)
    }
}

/// The file of this name in a folder, whichever of the forms it has.
fn part(folder: &Path, name: &str) -> Option<PathBuf> {
    let forms = JSON_LINES.into_iter().chain(["csv"]);
    forms.map(|form| folder.join(format!("{name}.{form}"))).find(|file| file.is_file())
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let own = path.extension().and_then(|e| e.to_str());
    own.is_some_and(|own| extensions.iter().any(|e| own.eq_ignore_ascii_case(e)))
}

fn is_json(path: &Path) -> bool {
    has_extension(path, &JSON_LINES)
}

fn is_table(path: &Path) -> bool {
    has_extension(path, &["csv"])
}

fn reader(path: &Path) -> Result<csv::Reader<File>, FitError> {
    let mut builder = csv::ReaderBuilder::new();
    let builder = builder.has_headers(false).flexible(true);
    builder.from_path(path).map_err(|source| FitError::Table { path: path.to_owned(), source })
}

/// The first column of one of these names.
fn column(head: &csv::StringRecord, names: &[&str]) -> Option<usize> {
    head.iter().position(|own| names.iter().any(|name| own.trim().eq_ignore_ascii_case(name)))
}

/// A line of JSON.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "sentence", alias = "content", alias = "message")]
    text: Option<String>,
    #[serde(alias = "class", alias = "category", alias = "target")]
    label: Option<serde_json::Value>,
}

/// Why a line is of no use.
const NO_TEXT: &str = "no text";
const NO_LABEL: &str = "no label";

struct Lines<'p> {
    path: &'p Path,
    rows: Vec<(Arc<str>, String)>,
    skipped: Vec<Skipped>,
}

impl Lines<'_> {
    fn add(&mut self, line: u64, found: Result<(String, String), String>) {
        let usable = found.and_then(|(text, label)| match (text.trim(), label.trim()) {
            ("", _) => Err(NO_TEXT.to_owned()),
            (_, "") => Err(NO_LABEL.to_owned()),
            (text, label) => Ok((text.into(), label.to_owned())),
        });
        match usable {
            Ok(row) => self.rows.push(row),
            Err(reason) => {
                self.skipped.push(Skipped { path: self.path.to_owned(), line: Some(line), reason });
            }
        }
    }

    fn read_json(&mut self) -> Result<(), FitError> {
        let io = FitError::io(self.path);
        let mut reader = BufReader::new(File::open(self.path).map_err(&io)?);
        let (mut bytes, mut number) = (Vec::new(), 0);
        loop {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes).map_err(&io)? == 0 {
                return Ok(());
            }
            number += 1;
            if !bytes.trim_ascii().is_empty() {
                self.add(number, of_json(&bytes));
            }
        }
    }

    fn read_table(&mut self) -> Result<(), FitError> {
        let mut reader = reader(self.path)?;
        let mut record = csv::StringRecord::new();
        let (mut text, mut label, mut first) = (0, 1, true);
        loop {
            let line = reader.position().line();
            match reader.read_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) if first && column(&record, &TEXTS).is_some() => {
                    text = column(&record, &TEXTS).unwrap_or(text);
                    let missing = || FitError::Row {
                        path: self.path.to_owned(),
                        line,
                        what: "no column is called label, class, category or target".into(),
                    };
                    label = column(&record, &LABELS).ok_or_else(missing)?;
                }
                Ok(true) => {
                    let field = |at: usize| record.get(at).unwrap_or_default().to_owned();
                    self.add(line, Ok((field(text), field(label))));
                }
                Err(source) if source.is_io_error() => {
                    return Err(FitError::Table { path: self.path.to_owned(), source });
                }
                Err(error) => self.add(line, Err(error.to_string())),
            }
            first = false;
        }
    }
}

fn of_json(bytes: &[u8]) -> Result<(String, String), String> {
    // The parser counts lines from the one that it was given.
    let reason =
        |error: serde_json::Error| error.to_string().replace(" at line 1 column", ", column");
    let line: Line = serde_json::from_slice(bytes).map_err(reason)?;
    let text = line.text.ok_or(NO_TEXT)?;
    let label = match line.label.ok_or(NO_LABEL)? {
        serde_json::Value::String(label) => label,
        serde_json::Value::Number(label) => label.to_string(),
        serde_json::Value::Bool(label) => label.to_string(),
        _ => return Err("the label is neither a text nor a number".into()),
    };
    Ok((text, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn rows(data: &Dataset<Arc<str>>) -> Vec<(&str, &str)> {
        let row = |s: &'_ super::super::Sample<Arc<str>>| s.label;
        let labels = data.samples.iter().map(row).map(|label| data.classes[label].as_str());
        data.samples.iter().map(|s| &*s.item).zip(labels).collect()
    }

    #[test]
    fn bad_lines_are_left_out_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"{\"text\": \"good\", \"label\": \"up\"}\n\
            {\"text\": \"bad\", \"label\": 7, \"more\": []}\n\nnot json\n\
            {\"label\": \"up\"}\n{\"text\": \" \", \"label\": \"up\"}\n{\"text\": \"x\"}\n\
            {\"text\": \"y\", \"label\": []}\n{\"text\": \"\xff\", \"label\": \"up\"}\n\
            {\"sentence\": \"so so\", \"category\": true}";
        let path = write(folder.path(), "data.jsonl", text);
        assert!(holds_text(&path).unwrap());
        let data = Dataset::open_text(&path).unwrap();
        assert_eq!(rows(&data), [("good", "up"), ("bad", "7"), ("so so", "true")]);
        let lines: Vec<u64> = data.skipped.iter().filter_map(|s| s.line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 9]);
        for (skipped, want) in
            data.skipped[1..5].iter().zip([NO_TEXT, NO_TEXT, NO_LABEL, "neither"])
        {
            assert!(skipped.reason.contains(want), "{skipped}");
        }
        let first = data.skipped[0].to_string();
        assert!(first.ends_with("data.jsonl, line 4: expected ident, column 2"), "{first}");
        let path = write(folder.path(), "bad.jsonl", b"{}\n[1]\n");
        let error = Dataset::open_text(&path).unwrap_err().to_string();
        assert!(error.contains("no line holds") && error.contains("line 1: no text"), "{error}");
        let error = Dataset::open_text(&write(folder.path(), "x.txt", b"a")).unwrap_err();
        assert!(matches!(error, FitError::Data { .. }));
        assert!(matches!(Dataset::open_text(Path::new("no.jsonl")), Err(FitError::Io { .. })));
    }

    #[test]
    fn tables_have_columns_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let head =
            b"id,Label,Text\n1,up,\"fine, really\"\n2,down,\n3,,x\n4,down,\xff\n5,down,bad\n";
        let path = write(folder.path(), "head.csv", head);
        assert!(holds_text(&path).unwrap());
        let data = Dataset::open_text(&path).unwrap();
        assert_eq!(rows(&data), [("fine, really", "up"), ("bad", "down")]);
        let lines: Vec<u64> = data.skipped.iter().filter_map(|s| s.line).collect();
        assert_eq!(lines, [3, 4, 5]);
        let path = write(folder.path(), "bare.csv", b"fine,up\nbad,down\n");
        assert!(!holds_text(&path).unwrap());
        assert_eq!(rows(&Dataset::open_text(&path).unwrap()), [("fine", "up"), ("bad", "down")]);
        let path = write(folder.path(), "none.csv", b"text,mood\na,b\n");
        assert!(matches!(Dataset::open_text(&path), Err(FitError::Row { line: 1, .. })));
    }

    #[test]
    fn parts_share_their_classes() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds_text(folder.path()).unwrap());
        write(
            folder.path(),
            "train.jsonl",
            b"{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\"label\":2}",
        );
        write(folder.path(), "val.csv", b"text,label\nc,2\n");
        assert!(holds_text(folder.path()).unwrap());
        let splits = Splits::open_text(folder.path()).unwrap();
        let validation = splits.validation.unwrap();
        assert_eq!((validation.samples[0].label, validation.classes.len()), (1, 2));
        assert_eq!(Splits::open_text_test(folder.path()).unwrap().classes, ["2"]);
    }
}
