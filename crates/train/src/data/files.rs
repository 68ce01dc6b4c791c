//! Datasets on disk: a folder per class, or a table.

use super::{Dataset, Sample, Skipped};
use crate::FitError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Extensions of files that are taken for pictures.
const PICTURES: [&str; 9] = ["jpg", "jpeg", "jfif", "png", "bmp", "webp", "gif", "tif", "tiff"];
/// Names of columns that a table may begin with.
const PATH_COLUMNS: [&str; 5] = ["path", "file", "filename", "image", "picture"];
/// Folders that hold the part for validation.
pub(super) const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// A dataset that may come in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits<T = PathBuf> {
    /// What to learn from.
    pub train: Dataset<T>,
    /// What to validate with, where the folder says so.
    pub validation: Option<Dataset<T>>,
}

impl<T: Clone> Splits<T> {
    /// The part to learn from and the part to validate with: what there is, or a `share` of every
    /// class held back at random.
    ///
    /// # Errors
    /// As [`Dataset::split`].
    pub fn parts(self, share: f32, seed: u64) -> Result<(Dataset<T>, Dataset<T>), FitError> {
        match self.validation {
            Some(validation) => Ok((self.train, validation)),
            None => self.train.split(share, seed),
        }
    }
}

impl Splits {
    /// A folder with a folder `train` of classes in it and perhaps one `val`, `valid` or
    /// `validation`; anything else is read as [`Dataset::open`] does, without a part for
    /// validation.
    ///
    /// # Errors
    /// As [`Dataset::open`]; and where the validation part has a class that the other has not.
    pub fn open(path: &Path) -> Result<Splits, FitError> {
        let train = path.join("train");
        if !holds_folders(&train) {
            return Ok(Splits { train: Dataset::open(path)?, validation: None });
        }
        let data = Dataset::open(&train)?;
        let part = VALIDATION.iter().map(|name| path.join(name)).find(|p| holds_folders(p));
        let validation = match part {
            Some(part) => Some(Dataset::open(&part)?.with_classes(&part, &data.classes)?),
            None => None,
        };
        Ok(Splits { train: data, validation })
    }

    /// The part of a dataset to test with: its folder `test`, else the one for validation, else
    /// all of it.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_test(path: &Path) -> Result<Dataset, FitError> {
        let parts = ["test"].into_iter().chain(VALIDATION).map(|name| path.join(name));
        match parts.into_iter().find(|part| holds_folders(part)) {
            Some(part) => Dataset::open(&part),
            None => Dataset::open(path),
        }
    }
}

impl Dataset {
    /// A folder with a folder of pictures per class, or a table (`.csv`) of paths and labels.
    ///
    /// In a folder, classes bear the names of their folders and are numbered in the order of
    /// these; a file that is no picture by its extension is passed over, and named in
    /// [`Dataset::skipped`] unless it is hidden.
    ///
    /// In a table, the first two columns count, paths are relative to the table, and a first row
    /// `path,label` (or `file`, `filename`, `image`) is taken as a head. Classes are numbered in
    /// the order of their names, or of their values where all labels are whole numbers.
    ///
    /// # Errors
    /// [`FitError::Io`], [`FitError::Table`], [`FitError::Row`]; [`FitError::Data`] where there are
    /// no classes.
    pub fn open(path: &Path) -> Result<Dataset, FitError> {
        let is_table = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        if is_table && !path.is_dir() { from_table(path) } else { from_folder(path) }
    }
}

fn from_folder(path: &Path) -> Result<Dataset, FitError> {
    let mut data = Dataset::default();
    for folder in entries(path)?.into_iter().filter(|entry| entry.is_dir() && !is_hidden(entry)) {
        let label = data.classes.len();
        data.classes.push(name_of(&folder));
        for file in entries(&folder)?.into_iter().filter(|entry| !is_hidden(entry)) {
            if is_picture(&file) {
                data.samples.push(Sample { item: file, label });
            } else {
                let what = if file.is_dir() { "a folder in a class" } else { "no picture by name" };
                data.skipped.push(Skipped::file(file, what));
            }
        }
    }
    if data.classes.is_empty() {
        let what = "no folders in it; one per class is needed, with pictures, or a .csv table of \
                    paths and labels";
        return Err(FitError::data(path, what));
    }
    Ok(data)
}

fn from_table(path: &Path) -> Result<Dataset, FitError> {
    let table = |source| FitError::Table { path: path.to_owned(), source };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(table)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows: Vec<(PathBuf, String)> = Vec::new();
    for (index, row) in reader.records().enumerate() {
        let row = row.map_err(table)?;
        let line = row.position().map_or(0, csv::Position::line);
        let row_error =
            |what: &str| FitError::Row { path: path.to_owned(), line, what: what.into() };
        let (file, label) = (row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
        if index == 0 && PATH_COLUMNS.iter().any(|name| file.eq_ignore_ascii_case(name)) {
            continue;
        }
        if file.is_empty() {
            return Err(row_error("the path is missing; write path,label"));
        }
        if label.is_empty() {
            return Err(row_error("the label is missing; write path,label"));
        }
        rows.push((folder.join(file), label.to_owned()));
    }
    if rows.is_empty() {
        return Err(FitError::data(path, "the table has no rows; write path,label"));
    }
    Ok(numbered(rows, Vec::new()))
}

/// The dataset of samples with the names of their classes, which are numbered: by value where all
/// are whole numbers, else by name.
pub(super) fn numbered<T>(rows: Vec<(T, String)>, skipped: Vec<Skipped>) -> Dataset<T> {
    let names: BTreeSet<&str> = rows.iter().map(|(_, label)| label.as_str()).collect();
    let mut order: Vec<&str> = names.into_iter().collect();
    let values: Option<Vec<i64>> = order.iter().map(|name| name.parse().ok()).collect();
    if values.is_some() {
        order.sort_by_key(|name| (name.parse::<i64>().unwrap_or_default(), *name));
    }
    let classes: Vec<String> = order.into_iter().map(str::to_owned).collect();
    let number = |(number, name): (usize, &String)| (name.clone(), number);
    let numbers: BTreeMap<String, usize> = classes.iter().enumerate().map(number).collect();
    let samples = rows.into_iter().map(|(item, label)| Sample { item, label: numbers[&label] });
    let samples = samples.collect();
    Dataset { classes, samples, skipped }
}

/// What is in a folder, by name.
fn entries(path: &Path) -> Result<Vec<PathBuf>, FitError> {
    let io = FitError::io(path);
    let entries = std::fs::read_dir(path).map_err(&io)?;
    let mut entries = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>, _>>().map_err(&io)?;
    entries.sort();
    Ok(entries)
}

fn holds_folders(path: &Path) -> bool {
    entries(path).is_ok_and(|list| list.iter().any(|entry| entry.is_dir() && !is_hidden(entry)))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_hidden(path: &Path) -> bool {
    name_of(path).starts_with('.')
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    path.is_file() && extension.is_some_and(|e| PICTURES.contains(&e.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn touch(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }

    #[test]
    fn folders_are_classes_by_name() {
        let root = tempfile::tempdir().unwrap();
        for file in ["dog/b.PNG", "dog/a.jpg", "cat/z.webp", "cat/notes.txt", "cat/.hidden.png"] {
            touch(root.path().join(file));
        }
        touch(root.path().join("readme.md"));
        touch(root.path().join(".git/x.png"));
        let data = Dataset::open(root.path()).unwrap();
        assert_eq!(data.classes, ["cat", "dog"]);
        let found: Vec<(String, usize)> =
            data.samples.iter().map(|s| (name_of(&s.item), s.label)).collect();
        assert_eq!(found, [("z.webp".into(), 0), ("a.jpg".into(), 1), ("b.PNG".into(), 1)]);
        assert_eq!(data.skipped.len(), 1);
        assert!(data.skipped[0].path.ends_with("cat/notes.txt"));
        assert_eq!(data.counts(), [1, 2]);
    }

    #[test]
    fn parts_are_found_and_share_their_classes() {
        let root = tempfile::tempdir().unwrap();
        for file in
            ["train/a/1.png", "train/b/1.png", "train/c/1.png", "val/c/1.png", "test/b/1.png"]
        {
            touch(root.path().join(file));
        }
        let splits = Splits::open(root.path()).unwrap();
        assert_eq!(splits.train.classes, ["a", "b", "c"]);
        let validation = splits.validation.unwrap();
        assert_eq!((validation.classes.len(), validation.samples[0].label), (3, 2));
        let test = Splits::open_test(root.path()).unwrap();
        assert_eq!(test.classes, ["b"]);
        touch(root.path().join("val/unheard/1.png"));
        let error = Splits::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("unheard") && error.contains("a, b, c"), "{error}");
    }

    fn table(text: &str) -> Result<Dataset, FitError> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data.csv");
        fs::write(&path, text).unwrap();
        Dataset::open(&path)
    }

    #[test]
    fn tables_are_read_with_and_without_a_head() {
        let data =
            table("path,label\nx/1.png,dog\n\"x/2, 3.png\", cat \n/abs/4.png,dog\n").unwrap();
        assert_eq!(data.classes, ["cat", "dog"]);
        let labels: Vec<usize> = data.samples.iter().map(|s| s.label).collect();
        assert_eq!(labels, [1, 0, 1]);
        assert!(data.samples[1].item.ends_with("x/2, 3.png"));
        assert_eq!(data.samples[2].item, Path::new("/abs/4.png"));
        // Whole numbers are ordered by value.
        assert_eq!(table("1.png,10\n2.png,9\n3.png,-1\n").unwrap().classes, ["-1", "9", "10"]);
    }

    #[test]
    fn broken_tables_are_refused_with_their_line() {
        for (text, want) in [
            ("path,label\na.png,1\nb.png\n", "line 3"),
            ("a.png,1\n,2\n", "path is missing"),
            ("path,label\n", "no rows"),
        ] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains(want) && error.contains("data.csv"), "{error}");
        }
        assert!(matches!(Dataset::open(Path::new("no/such.csv")), Err(FitError::Table { .. })));
        assert!(matches!(Dataset::open(Path::new("no/such")), Err(FitError::Io { .. })));
    }

    #[test]
    fn too_few_classes_are_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let error = Dataset::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("one per class"), "{error}");
        touch(root.path().join("only/1.png"));
        let data = Dataset::open(root.path()).unwrap();
        let error = data.check_trainable(root.path()).unwrap_err().to_string();
        assert!(error.contains("\"only\""), "{error}");
        fs::create_dir(root.path().join("bare")).unwrap();
        let data = Dataset::open(root.path()).unwrap();
        let error = data.check_trainable(root.path()).unwrap_err().to_string();
        assert!(error.contains("\"bare\" has no"), "{error}");
    }
}
