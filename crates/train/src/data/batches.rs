//! Samples in batches.

use super::parallel::in_order;
use super::{Dataset, PictureStore};
use crate::augment::{Augment, mix};
use crate::streams::{Use, rng};
use crate::{FitError, streams};
use depthwise_tensor::{Element, Hw, Tensor};
use depthwise_vision::{Normalize, Picture, Preprocess};

/// Samples that are computed together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `N,H,W,3` pictures (`N,3,H,W` for networks that take channels first), `N,F` features or `N,L`
    /// tokens.
    pub input: Tensor,
    /// `N,C`: the probability that each class should get.
    pub targets: Tensor,
    /// Number of the class of each sample.
    pub labels: Vec<usize>,
    /// Position of each sample in its dataset.
    pub samples: Vec<usize>,
}

/// Takes one batch after the other.
pub type TakeBatch<'t> = dyn FnMut(Batch) -> Result<(), FitError> + 't;

/// Where batches come from.
pub trait Source {
    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of classes.
    fn classes(&self) -> usize;

    /// Gives the samples of `order` to `take` in batches of `size` (the last may be smaller). With
    /// an `epoch` they are changed at random as this epoch has them; without, they are as they
    /// are.
    ///
    /// # Errors
    /// Where a sample cannot be read, or `take` fails.
    fn batches(
        &self,
        order: &[usize],
        size: usize,
        epoch: Option<u64>,
        take: &mut TakeBatch<'_>,
    ) -> Result<(), FitError>;
}

/// Samples that can be made one at a time, in any order, by any thread. All that are examples are a
/// [`Source`], whose batches do not depend on the number of threads.
pub trait Examples: Sync {
    /// Of the input.
    type Element: Element + Default;

    /// Number of the class of each sample.
    fn labels(&self) -> &[usize];

    /// Number of classes; labels are below it.
    fn classes(&self) -> usize;

    /// Extents of the input of one sample.
    fn dims(&self) -> Vec<usize>;

    /// Writes the input of a sample, dense: as it is, or as an epoch changes it at random.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn write(
        &self,
        sample: usize,
        epoch: Option<u64>,
        out: &mut [Self::Element],
    ) -> Result<(), FitError>;

    /// Threads that make samples ahead.
    fn threads(&self) -> usize {
        1
    }

    /// Blends the samples of a batch and their targets, `N,C`, as an epoch has it.
    fn blend(
        &self,
        _epoch: u64,
        _samples: &[usize],
        _input: &mut [Self::Element],
        _targets: &mut [f32],
    ) {
    }
}

impl<E: Examples> Source for E {
    fn len(&self) -> usize {
        self.labels().len()
    }

    fn classes(&self) -> usize {
        Examples::classes(self)
    }

    fn batches(
        &self,
        order: &[usize],
        size: usize,
        epoch: Option<u64>,
        take: &mut TakeBatch<'_>,
    ) -> Result<(), FitError> {
        let parts: Vec<&[usize]> = order.chunks(size.max(1)).collect();
        let make = |index: usize| batch(self, parts[index], epoch);
        let threads = self.threads();
        in_order(parts.len(), threads, threads + 2, make, |_, batch| take(batch))
    }
}

fn batch<E: Examples>(
    examples: &E,
    samples: &[usize],
    epoch: Option<u64>,
) -> Result<Batch, FitError> {
    let mut dims = examples.dims();
    let len: usize = dims.iter().product();
    let mut input = vec![E::Element::default(); samples.len() * len];
    for (&sample, row) in samples.iter().zip(input.chunks_exact_mut(len.max(1))) {
        examples.write(sample, epoch, row)?;
    }
    let labels: Vec<usize> = samples.iter().map(|&sample| examples.labels()[sample]).collect();
    let classes = examples.classes();
    let mut targets = one_hot(&labels, classes);
    if let Some(epoch) = epoch {
        examples.blend(epoch, samples, &mut input, &mut targets);
    }
    dims.insert(0, samples.len());
    let targets = Tensor::from_vec(&[samples.len(), classes], targets)?;
    Ok(Batch { input: Tensor::from_vec(&dims, input)?, targets, labels, samples: samples.to_vec() })
}

/// 1 for the class of each sample, else 0: `N,C`.
fn one_hot(labels: &[usize], classes: usize) -> Vec<f32> {
    let mut targets = vec![0.0; labels.len() * classes];
    for (row, &label) in targets.chunks_exact_mut(classes.max(1)).zip(labels) {
        row[label] = 1.0;
    }
    targets
}

/// Pictures of a store, cropped to the size of a network, changed at random, normalised: read
/// ahead by threads of its own.
#[derive(Debug)]
pub struct PictureSource {
    /// The pictures.
    pub store: PictureStore,
    /// Class of each.
    pub labels: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Extents that the network takes.
    pub hw: Hw,
    /// How pixels become numbers.
    pub normalize: Normalize,
    /// Whether channels come before rows.
    pub nchw: bool,
    /// What is changed at random.
    pub augment: Augment,
    /// Where random numbers start.
    pub seed: u64,
    /// Threads that read pictures.
    pub threads: usize,
}

impl PictureSource {
    /// The pictures of `data`, whose store is `store`, for a network that takes what `preprocess`
    /// makes. Without random changes, on one thread, channels last.
    ///
    /// # Errors
    /// [`FitError::Setting`] where `preprocess` gives pictures of different sizes.
    pub fn new(
        data: &Dataset,
        store: PictureStore,
        preprocess: &Preprocess,
    ) -> Result<PictureSource, FitError> {
        let of = |h, w| preprocess.output_hw(Hw { h, w }).ok();
        let (hw, other) = (of(1000, 1500), of(1500, 1000));
        let Some(hw) = hw.filter(|_| hw == other) else {
            let (value, want) = (preprocess.to_string(), "one that gives all pictures one size");
            return Err(FitError::Setting { name: "preprocessing", value, want });
        };
        Ok(PictureSource {
            store,
            labels: data.labels(),
            classes: data.classes.len(),
            hw,
            normalize: preprocess.normalize,
            nchw: false,
            augment: Augment::default(),
            seed: 0,
            threads: 1,
        })
    }

    /// The picture that the network sees.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn picture(&self, sample: usize, epoch: Option<u64>) -> Result<Picture, FitError> {
        let picture = self.store.get(sample)?;
        let result = match epoch {
            Some(epoch) => {
                let mut rng = rng(self.seed, Use::Augment, epoch, sample);
                self.augment.apply(&picture, self.hw, &mut rng)
            }
            None => picture.centre_crop(self.hw),
        };
        result.map_err(|source| self.store.error(sample, source))
    }
}

impl Examples for PictureSource {
    type Element = f32;

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn dims(&self) -> Vec<usize> {
        let Hw { h, w } = self.hw;
        if self.nchw { vec![3, h, w] } else { vec![h, w, 3] }
    }

    fn write(&self, sample: usize, epoch: Option<u64>, out: &mut [f32]) -> Result<(), FitError> {
        let picture = self.picture(sample, epoch)?;
        let fail = |source| self.store.error(sample, source);
        if !self.nchw {
            return self.normalize.write(picture.pixels(), out).map_err(fail);
        }
        let mut row = vec![0f32; out.len()];
        self.normalize.write(picture.pixels(), &mut row).map_err(fail)?;
        channels_first(&row, out);
        Ok(())
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn blend(&self, epoch: u64, samples: &[usize], input: &mut [f32], targets: &mut [f32]) {
        let Some(&first) = samples.first().filter(|_| self.augment.mixup > 0.0) else { return };
        let share =
            streams::beta(&mut rng(self.seed, Use::Mixup, epoch, first), self.augment.mixup);
        mix(input, samples.len(), share);
        mix(targets, samples.len(), share);
    }
}

/// `H,W,3` to `3,H,W`.
fn channels_first(pixels: &[f32], out: &mut [f32]) {
    let area = pixels.len() / 3;
    for (index, pixel) in pixels.chunks_exact(3).enumerate() {
        for (channel, &x) in pixel.iter().enumerate() {
            out[channel * area + index] = x;
        }
    }
}

/// Features of samples, computed before.
#[derive(Clone, Debug)]
pub struct FeatureSource {
    /// `views,N,F`: the features of every sample, for each of the random changes it was seen
    /// under. Epoch `e` trains on view `e mod views`.
    pub features: Vec<f32>,
    /// Number of features, `F`.
    pub width: usize,
    /// Class of each sample, `N`.
    pub labels: Vec<usize>,
    /// Number of classes, `C`.
    pub classes: usize,
}

impl FeatureSource {
    /// Features of samples whose classes are known.
    ///
    /// # Errors
    /// [`FitError::Setting`] where `features` is no whole number of views, or a label is out of
    /// range.
    pub fn new(
        features: Vec<f32>,
        width: usize,
        labels: Vec<usize>,
        classes: usize,
    ) -> Result<FeatureSource, FitError> {
        let view = width * labels.len();
        let fits =
            if view == 0 { features.is_empty() } else { features.len().is_multiple_of(view) };
        if !fits {
            let value = format!("{} for {} samples", features.len(), labels.len());
            let want = "a multiple of samples and width";
            return Err(FitError::Setting { name: "features", value, want });
        }
        if let Some(label) = labels.iter().find(|&&label| label >= classes) {
            let want = "below the number of classes";
            return Err(FitError::Setting { name: "label", value: label.to_string(), want });
        }
        Ok(FeatureSource { features, width, labels, classes })
    }

    /// Number of random changes that the samples were seen under.
    pub fn views(&self) -> usize {
        match self.width * self.labels.len() {
            0 => 0,
            view => self.features.len() / view,
        }
    }
}

impl Examples for FeatureSource {
    type Element = f32;

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn dims(&self) -> Vec<usize> {
        vec![self.width]
    }

    fn write(&self, sample: usize, epoch: Option<u64>, out: &mut [f32]) -> Result<(), FitError> {
        let view = epoch.map_or(0, |epoch| epoch % self.views().max(1) as u64) as usize;
        let row = view * self.labels.len() + sample;
        out.copy_from_slice(&self.features[row * self.width..][..self.width]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;

    fn data(folder: &std::path::Path) -> Dataset {
        let mut data = Dataset { classes: vec!["a".into(), "b".into()], ..Dataset::default() };
        for i in 0..11usize {
            let pixels = (0..20 * 16 * 3).map(|p| (p * (i + 3) % 251) as u8).collect();
            let path = folder.join(format!("{i}.png"));
            let png = Picture::from_raw(20, 16, pixels).unwrap().to_png().unwrap();
            std::fs::write(&path, png).unwrap();
            data.samples.push(Sample { item: path, label: i % 2 });
        }
        data
    }

    fn steps() -> Preprocess {
        Preprocess { crop: Some(Hw::square(8)), ..Preprocess::classifier(8, Normalize::UNIT) }
    }

    fn all(source: &dyn Source, size: usize, epoch: Option<u64>) -> Vec<(Vec<f32>, Vec<f32>)> {
        let order: Vec<usize> = (0..source.len()).rev().collect();
        let mut got = Vec::new();
        let mut take = |batch: Batch| {
            got.push((batch.input.to_f32().into_owned(), batch.targets.to_f32().into_owned()));
            Ok(())
        };
        source.batches(&order, size, epoch, &mut take).unwrap();
        got
    }

    #[test]
    fn batches_are_the_same_for_any_number_of_threads_and_any_memory() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let augment = "flip,rotate=20,crop=0.5,brightness=0.3,noise=5,salt-pepper=0.02,cutout=0.3,\
                       zoom=0.2,shear=5,shift=0.1,mixup=0.4";
        let of = |threads, limit, seed| {
            let store = PictureStore::new(&data, steps(), limit);
            let source = PictureSource {
                augment: augment.parse().unwrap(),
                seed,
                threads,
                ..PictureSource::new(&data, store, &steps()).unwrap()
            };
            (all(&source, 4, Some(3)), all(&source, 4, Some(4)), all(&source, 4, None))
        };
        let one = of(1, usize::MAX, 9);
        assert_eq!(one, of(2, usize::MAX, 9));
        assert_eq!(one, of(5, 0, 9));
        assert_ne!(one.0, one.1, "epochs differ");
        assert_ne!(one.0, of(1, 0, 10).0, "seeds differ");
        assert_eq!(one.2, of(1, 0, 10).2, "what is not changed does not depend on the seed");
        assert_eq!(one.0.iter().map(|(x, _)| x.len() / 192).collect::<Vec<_>>(), [4, 4, 3]);
        for (_, targets) in &one.0 {
            for row in targets.chunks_exact(2) {
                assert!((row[0] + row[1] - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn unchanged_batches_are_what_the_preprocessing_gives() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let store = PictureStore::new(&data, steps(), usize::MAX);
        let mut source = PictureSource::new(&data, store, &steps()).unwrap();
        let picture = Picture::open(&data.samples[10].item).unwrap();
        let want = steps().tensor(&picture).unwrap().to_f32().into_owned();
        let batches = all(&source, 11, None);
        assert_eq!(batches[0].0[..192], want);
        assert_eq!(batches[0].1[..4], [1.0, 0.0, 0.0, 1.0]);
        source.nchw = true;
        let first = &all(&source, 11, None)[0].0;
        assert_eq!((first[0], first[64], first[1]), (want[0], want[1], want[3]));
    }

    #[test]
    fn features_take_turns_by_epoch() {
        let features = vec![0., 1., 2., 3., 10., 11., 12., 13.];
        let source = FeatureSource::new(features, 2, vec![0, 1], 2).unwrap();
        assert_eq!(source.views(), 2);
        let of =
            |epoch| all(&source, 1, epoch).into_iter().flat_map(|(x, _)| x).collect::<Vec<_>>();
        assert_eq!(of(None), [2., 3., 0., 1.]);
        assert_eq!(of(Some(0)), of(None));
        assert_eq!(of(Some(1)), [12., 13., 10., 11.]);
        assert!(FeatureSource::new(vec![0.0; 3], 2, vec![0], 1).is_err());
        assert!(FeatureSource::new(vec![0.0; 2], 2, vec![1], 1).is_err());
    }
}
