//! Where the weights of a layer stand.

use super::error::KerasError;
use super::h5::{H5, Listing};
use depthwise_tensor::Tensor;
use std::collections::{HashMap, HashSet};

/// The weights of a file, found by layer.
pub(super) struct Weights {
    h5: H5,
    places: Places,
}

enum Places {
    /// Arrays in groups that bear the name of a layer of the outermost model. In a layer that is
    /// a model, the paths end in the names of the inner layer and of the weight.
    Named(HashMap<(String, String), Vec<Place>>),
    /// `layers/<class>/vars/<number>`, where the second layer of a class has `_1` at its end;
    /// models are layers with `layers` of their own.
    Numbered {
        /// What the file calls `layers`.
        root: &'static str,
        paths: HashSet<String>,
        /// The name of the layer that a group belongs to, where the file says so.
        owners: HashMap<String, String>,
    },
}

/// An array that is a weight.
struct Place {
    /// The layer that its path names.
    layer: String,
    path: String,
}

/// A layer, as its weights are found.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The layer of the outermost model that it is, or that it stands in.
    pub(super) outermost: String,
    /// Its group where groups are named by classes, such as `functional/layers/conv2d_1`.
    pub(super) group: String,
    /// Its own name.
    pub(super) layer: String,
}

impl Weights {
    /// Those of a whole model in HDF5.
    pub(super) fn named(h5: H5) -> Result<Weights, KerasError> {
        let mut places: HashMap<_, Vec<Place>> = HashMap::new();
        for path in h5.list("model_weights")?.arrays {
            let mut names = path.split('/');
            names.next();
            let (Some(outermost), Some(weight)) = (names.next(), names.next_back()) else {
                continue;
            };
            // TensorFlow numbered the results of an operation: "kernel:0".
            let weight = weight.strip_suffix(":0").unwrap_or(weight).to_owned();
            let layer = names.next_back().unwrap_or(outermost).to_owned();
            places.entry((outermost.to_owned(), weight)).or_default().push(Place { layer, path });
        }
        Ok(Weights { h5, places: Places::Named(places) })
    }

    /// Those of an archive.
    pub(super) fn numbered(h5: H5) -> Result<Weights, KerasError> {
        let mut root = "layers";
        let mut listing = h5.list(root)?;
        if listing.arrays.is_empty() {
            // Its name before Keras 3.1.
            root = "_layer_checkpoint_dependencies";
            listing = h5.list(root)?;
        }
        let Listing { arrays, names } = listing;
        let paths = arrays.into_iter().collect();
        let owners = names.into_iter().collect();
        Ok(Weights { h5, places: Places::Numbered { root, paths, owners } })
    }

    /// The weight of this name, which is number `index` of its layer; `None` where the file has
    /// none.
    ///
    /// # Errors
    /// [`KerasError::Weights`] where it cannot be told which one is meant, [`KerasError::Hdf5`]
    /// where it cannot be read.
    pub(super) fn find(
        &self,
        scope: &Scope,
        name: &str,
        index: usize,
    ) -> Result<Option<Tensor>, KerasError> {
        let path = match &self.places {
            Places::Named(places) => named(places, scope, name)?.map(str::to_owned),
            Places::Numbered { root, paths, owners } => {
                let group = format!(
                    "{root}/{}/vars",
                    scope.group.replace("/layers/", &format!("/{root}/"))
                );
                let path = Some(format!("{group}/{index}")).filter(|path| paths.contains(path));
                match owners.get(&group) {
                    Some(owner) if path.is_some() && *owner != scope.layer => {
                        return Err(fail(scope, format!("\"{group}\" has those of \"{owner}\"")));
                    }
                    _ => path,
                }
            }
        };
        path.map(|path| self.h5.tensor(&path)).transpose()
    }
}

fn fail(scope: &Scope, reason: String) -> KerasError {
    KerasError::Weights { layer: scope.layer.clone(), reason }
}

/// The path of a weight by names.
fn named<'p>(
    places: &'p HashMap<(String, String), Vec<Place>>,
    scope: &Scope,
    name: &str,
) -> Result<Option<&'p str>, KerasError> {
    let Some(all) = places.get(&(scope.outermost.clone(), name.to_owned())) else {
        return Ok(None);
    };
    let of_layer = all.iter().filter(|place| place.layer == scope.layer);
    let mut found: Vec<&Place> = of_layer.collect();
    if found.is_empty() && scope.outermost == scope.layer {
        // In its own group nothing is meant but the layer, whatever the path says.
        found = all.iter().collect();
    }
    match found[..] {
        [] => Ok(None),
        [place] => Ok(Some(&place.path)),
        [first, second, ..] => Err(fail(
            scope,
            format!("\"{}\" and \"{}\" may both be its {name}", first.path, second.path),
        )),
    }
}
