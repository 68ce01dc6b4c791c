//! Pictures read once and kept in bounded memory.

use super::parallel::in_order;
use super::{Dataset, Skipped};
use crate::FitError;
use depthwise_vision::{Picture, Preprocess, VisionError};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The pictures of a dataset, read and resized when they are first asked for, and kept as long as
/// there is room. `Sync`.
///
/// What does not fit is read again every time: which pictures are kept changes the time alone,
/// never what comes out.
#[derive(Debug)]
pub struct PictureStore {
    paths: Vec<PathBuf>,
    resize: Preprocess,
    kept: Vec<OnceLock<Picture>>,
    bytes: AtomicUsize,
    limit_bytes: usize,
}

impl PictureStore {
    /// A store for the samples of a dataset, by their position. Pictures are resized as
    /// `preprocess` says, but not cropped; `limit_bytes` bounds the pixels that are kept.
    pub fn new(data: &Dataset, preprocess: Preprocess, limit_bytes: usize) -> PictureStore {
        let paths: Vec<PathBuf> = data.samples.iter().map(|s| s.item.clone()).collect();
        PictureStore {
            kept: paths.iter().map(|_| OnceLock::new()).collect(),
            paths,
            resize: Preprocess { crop: None, ..preprocess },
            bytes: AtomicUsize::new(0),
            limit_bytes,
        }
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Bytes of the pictures that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The picture of a sample, resized.
    ///
    /// # Errors
    /// [`FitError::Picture`] where it cannot be read or resized.
    ///
    /// # Panics
    /// Where `index` is not below [`PictureStore::len`].
    pub fn get(&self, index: usize) -> Result<Cow<'_, Picture>, FitError> {
        if let Some(picture) = self.kept[index].get() {
            return Ok(Cow::Borrowed(picture));
        }
        let path = &self.paths[index];
        let fail = |source| self.error(index, source);
        let picture = Picture::open(path).map_err(fail)?;
        let picture = self.resize.picture(&picture).map_err(fail)?;
        let bytes = picture.pixels().len();
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.limit_bytes {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Ok(Cow::Owned(picture));
        }
        if self.kept[index].set(picture).is_err() {
            // Another thread was faster; its picture is the same.
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        let kept = self.kept[index].get().expect("set by this thread or another");
        Ok(Cow::Borrowed(kept))
    }

    /// An error with the name of a picture.
    pub(crate) fn error(&self, index: usize, source: VisionError) -> FitError {
        FitError::Picture { path: self.paths[index].clone(), source }
    }

    /// Reads every picture once, and gives those that cannot be used, with the reason. `progress`
    /// is called after each picture.
    pub fn check(&self, threads: usize, mut progress: impl FnMut()) -> Vec<Skipped> {
        let mut bad = Vec::new();
        let read = |index| Ok::<_, std::convert::Infallible>(self.get(index).err());
        let result = in_order(self.len(), threads, 4 * threads, read, |index, error| {
            if let Some(error) = error {
                let reason = match error {
                    FitError::Picture { source, .. } => source.to_string(),
                    other => other.to_string(),
                };
                bad.push(Skipped::file(self.paths[index].clone(), reason));
            }
            progress();
            Ok(())
        });
        match result {
            Ok(()) => bad,
        }
    }

    /// The store without the pictures that were found unusable; keeps the others.
    pub fn without(self, bad: &[Skipped]) -> PictureStore {
        let bad: std::collections::BTreeSet<_> = bad.iter().map(|s| &s.path).collect();
        let pairs = self.paths.into_iter().zip(self.kept);
        let (paths, kept) = pairs.filter(|(path, _)| !bad.contains(path)).unzip();
        PictureStore { paths, kept, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;
    use depthwise_tensor::Hw;
    use depthwise_vision::Normalize;

    fn pictures(folder: &std::path::Path) -> Dataset {
        let mut data = Dataset { classes: vec!["a".into()], ..Dataset::default() };
        for i in 0..4u8 {
            let path = folder.join(format!("{i}.png"));
            if i == 2 {
                std::fs::write(&path, b"no picture").unwrap();
            } else {
                let picture = Picture::from_raw(4, 2, vec![i * 10; 24]).unwrap();
                std::fs::write(&path, picture.to_png().unwrap()).unwrap();
            }
            data.samples.push(Sample { item: path, label: 0 });
        }
        data
    }

    #[test]
    fn bad_pictures_are_named_and_memory_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let data = pictures(folder.path());
        let steps = Preprocess::stretch(Hw::square(2), Normalize::UNIT);
        // 12 bytes each: two of three fit into 30.
        let store = PictureStore::new(&data, steps, 30);
        let mut seen = 0;
        let bad = store.check(2, || seen += 1);
        assert_eq!((seen, bad.len()), (4, 1));
        assert!(bad[0].path.ends_with("2.png") && !bad[0].reason.is_empty());
        assert_eq!(store.kept_bytes(), 24);
        let store = store.without(&bad);
        assert_eq!(store.len(), 3);
        for (index, grey) in [0, 10, 30].into_iter().enumerate() {
            let picture = store.get(index).unwrap();
            assert_eq!((picture.hw(), picture.pixel(1, 1)), (Hw::square(2), Some([grey; 3])));
        }
        assert_eq!(store.kept_bytes(), 24);
    }
}
