//! Where the weights of a network come from.

use crate::naming::{Modules, Naming, Part};
use crate::{WeightFault, permute};
use depthwise_formats::Weights;
use depthwise_tensor::{DType, Shape, Tensor};

/// What a weight is for; decides its layout and how random values are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Convolution, `OC,KH,KW,IC` in a graph, `OC,IC,KH,KW` in PyTorch.
    Conv,
    /// Depthwise convolution, `KH,KW,C` in a graph, `C,1,KH,KW` in PyTorch.
    Depthwise,
    /// Dense layer, `O,I`; `O,I,1,1` in PyTorch files that write it as a convolution.
    Dense,
    /// Added at the end of a convolution or dense layer.
    Bias,
    /// Factor of a batch norm.
    Gamma,
    /// Offset of a batch norm.
    Beta,
    /// Mean that a batch norm subtracts.
    Mean,
    /// Variance that a batch norm divides by.
    Variance,
    /// Vectors of an embedding, `V,E`.
    Embedding,
}

impl Role {
    const fn suffix(self) -> &'static str {
        match self {
            Role::Conv | Role::Depthwise | Role::Dense | Role::Gamma | Role::Embedding => "weight",
            Role::Bias | Role::Beta => "bias",
            Role::Mean => "running_mean",
            Role::Variance => "running_var",
        }
    }
}

/// A weight that a network asks for.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name in the graph: that of the node, and `.weight`, `.bias`, `.running_mean` or
    /// `.running_var`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Extents in the graph.
    pub shape: Shape,
    /// Its place in a network that has several namings.
    pub(crate) part: Option<Part>,
    pub(crate) modules: Option<Modules>,
}

impl Param {
    pub(crate) fn new(
        node: &str,
        part: Part,
        modules: Option<Modules>,
        role: Role,
        shape: Shape,
    ) -> Param {
        Param { part: Some(part), modules, ..Param::plain(node, role, shape) }
    }

    /// Of a network whose weights have one name.
    pub(crate) fn plain(node: &str, role: Role, shape: Shape) -> Param {
        let name = format!("{node}.{}", role.suffix());
        Param { name, role, shape, part: None, modules: None }
    }

    /// The name in files of a convention; `None` where the convention has no such network.
    pub fn name_in(&self, naming: Naming) -> Option<String> {
        let node = self.part?.name(naming, self.modules)?;
        Some(format!("{node}.{}", self.role.suffix()))
    }

    /// Extents in PyTorch's layout.
    pub fn torch_shape(&self) -> Shape {
        let dims = match (self.role, self.shape.dims()) {
            (Role::Conv, &[oc, kh, kw, ic]) => vec![oc, ic, kh, kw],
            (Role::Depthwise, &[kh, kw, c]) => vec![c, 1, kh, kw],
            (_, dims) => dims.to_vec(),
        };
        Shape::new(&dims).expect("as many elements as before")
    }

    /// A tensor in PyTorch's layout as the graph wants it; shares the bytes where nothing moves.
    fn reorder_torch(&self, tensor: &Tensor) -> Result<Tensor, WeightFault> {
        let fail = |source| WeightFault::Tensor { name: self.name.clone(), source };
        let order: &[usize] = match self.role {
            Role::Conv => &[0, 2, 3, 1],
            Role::Depthwise => &[2, 3, 1, 0],
            _ => return tensor.reshape(self.shape.dims()).map_err(fail),
        };
        let moved = permute::permute(tensor, order).map_err(fail)?;
        moved.reshape(self.shape.dims()).map_err(fail)
    }
}

/// Gives a network its weights.
pub trait WeightSource {
    /// The weight, in the extents of the graph; `f32`, `f16` or `bf16`.
    ///
    /// # Errors
    /// [`WeightFault`] where there is none, or none that fits.
    fn weight(&self, param: &Param) -> Result<Tensor, WeightFault>;

    /// What the source calls a weight.
    fn name_of(&self, param: &Param) -> String {
        param.name.clone()
    }

    /// Names and extents of all that the source holds, so that what is left over can be
    /// reported; nothing for sources that make weights up.
    fn contents(&self) -> Vec<(String, Shape)> {
        Vec::new()
    }
}

/// Metadata key of a weight file whose filters lie as the graph wants them.
pub const LAYOUT_KEY: &str = "layout";
/// Its value: `OC,KH,KW,IC` and `KH,KW,C`. Files without it are in PyTorch's layout.
pub const LAYOUT_NHWC: &str = "nhwc";

/// The weights of a file: PyTorch checkpoints in the naming of torchvision, timm or the
/// EfficientNet ports, in PyTorch's layout or in the graph's ([`LAYOUT_KEY`]).
///
/// A `module.` before every name (DataParallel) is ignored, and so are `num_batches_tracked`.
#[derive(Clone, Debug)]
pub struct Checkpoint<'w> {
    weights: &'w Weights,
    prefix: &'static str,
    naming: Option<Naming>,
    nhwc: bool,
}

impl<'w> Checkpoint<'w> {
    /// Tells naming and layout from the file.
    pub fn new(weights: &'w Weights) -> Checkpoint<'w> {
        let parallel = "module.";
        let all = weights.iter().all(|(name, _)| name.starts_with(parallel));
        let prefix = if all && !weights.is_empty() { parallel } else { "" };
        let names = weights.iter().map(|(name, _)| &name[prefix.len()..]);
        let nhwc = weights.metadata.get(LAYOUT_KEY).is_some_and(|v| v == LAYOUT_NHWC);
        Checkpoint { weights, prefix, naming: Naming::detect(names), nhwc }
    }

    /// The naming that was found; `None` where names are taken as those of the graph.
    pub fn naming(&self) -> Option<Naming> {
        self.naming
    }
}

impl WeightSource for Checkpoint<'_> {
    fn weight(&self, param: &Param) -> Result<Tensor, WeightFault> {
        let name = self.name_of(param);
        let want = if self.nhwc { param.shape } else { param.torch_shape() };
        let Some(tensor) = self.weights.get(&name) else {
            return Err(WeightFault::Missing { name, shape: want });
        };
        let got = *tensor.shape();
        // A dense layer may be written as a 1x1 convolution.
        let as_conv = param.role == Role::Dense && [want.dims(), &[1, 1]].concat() == got.dims();
        if got != want && !as_conv {
            let (want, got) = (Box::new(want), Box::new(got));
            return Err(WeightFault::Shape { name, want, got });
        }
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::Bf16) {
            return Err(WeightFault::DType { name, got: tensor.dtype() });
        }
        if self.nhwc { Ok(tensor.clone()) } else { param.reorder_torch(tensor) }
    }

    fn name_of(&self, param: &Param) -> String {
        let name = self.naming.and_then(|naming| param.name_in(naming));
        format!("{}{}", self.prefix, name.unwrap_or_else(|| param.name.clone()))
    }

    fn contents(&self) -> Vec<(String, Shape)> {
        let all = self.weights.iter();
        let counters = |name: &str| name.ends_with(".num_batches_tracked");
        all.filter(|(name, _)| !counters(name)).map(|(n, t)| (n.to_owned(), *t.shape())).collect()
    }
}

/// Made-up weights, for benches and tests: the same on every machine, and independent of the
/// order in which they are asked for.
///
/// Filters are uniform with the variance `2 / fan_in` of He et al. (2015), so activations keep
/// their size through the network; batch norms are close to the identity.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    /// Networks of another seed have other weights.
    pub seed: u64,
}

impl WeightSource for Random {
    fn weight(&self, param: &Param) -> Result<Tensor, WeightFault> {
        let mut state = self.seed ^ fnv1a(param.name.as_bytes());
        let (middle, reach) = match (param.role, param.shape.dims()) {
            (Role::Conv, &[_, kh, kw, ic]) => (0.0, he(kh * kw * ic)),
            (Role::Depthwise, &[kh, kw, _]) => (0.0, he(kh * kw)),
            (Role::Dense, &[_, i]) => (0.0, he(2 * i)),
            (Role::Gamma | Role::Variance, _) => (1.0, 0.2),
            _ => (0.0, 0.1),
        };
        let mut uniform = || (splitmix64(&mut state) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        let data = (0..param.shape.elements()).map(|_| middle + reach * uniform()).collect();
        Tensor::from_vec::<f32>(param.shape.dims(), data)
            .map_err(|source| WeightFault::Tensor { name: param.name.clone(), source })
    }
}

/// Half the width of the uniform distribution of variance `2 / fan_in`.
fn he(fan_in: usize) -> f32 {
    (6.0 / fan_in as f32).sqrt()
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naming::Layer;

    fn param(role: Role, dims: &[usize]) -> Param {
        let stem = Part::Stem(Layer::Conv);
        Param::new("conv_stem", stem, None, role, Shape::new(dims).unwrap())
    }

    #[test]
    fn torch_filters_are_moved_to_the_graphs_layout() {
        // w[oc][ic][kh][kw] = 1000 oc + 100 ic + 10 kh + kw
        let data: Vec<f32> = (0..2usize)
            .flat_map(|oc| (0..3).flat_map(move |ic| (0..4).map(move |k| (oc, ic, k))))
            .map(|(oc, ic, k)| (1000 * oc + 100 * ic + 10 * (k / 2) + k % 2) as f32)
            .collect();
        let torch = Tensor::from_vec(&[2, 3, 2, 2], data).unwrap();
        let weights: Weights = [("conv_stem.weight".to_string(), torch)].into_iter().collect();
        let got = Checkpoint::new(&weights).weight(&param(Role::Conv, &[2, 2, 2, 3])).unwrap();
        let got = got.data::<f32>().unwrap();
        assert_eq!(got[..6], [0.0, 100.0, 200.0, 1.0, 101.0, 201.0]);
        assert_eq!(got[12 + 9..], [1011.0, 1111.0, 1211.0]);
    }

    #[test]
    fn pointwise_filters_share_their_bytes() {
        let torch = Tensor::from_slice(&[3, 2, 1, 1], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let address = torch.bytes().as_ptr();
        let weights: Weights = [("conv_stem.weight".to_string(), torch)].into_iter().collect();
        let got = Checkpoint::new(&weights).weight(&param(Role::Conv, &[3, 1, 1, 2])).unwrap();
        assert_eq!(got.bytes().as_ptr(), address);
        assert_eq!(got.shape().dims(), [3, 1, 1, 2]);
    }

    #[test]
    fn integers_cannot_be_weights() {
        let torch = Tensor::from_slice(&[2], &[1i32, 2]).unwrap();
        let weights: Weights = [("conv_stem.bias".to_string(), torch)].into_iter().collect();
        let got = Checkpoint::new(&weights).weight(&param(Role::Bias, &[2]));
        assert!(matches!(got, Err(WeightFault::DType { got: DType::I32, .. })));
    }

    #[test]
    fn random_weights_have_the_variance_of_he() {
        let of = |seed| Random { seed }.weight(&param(Role::Conv, &[64, 3, 3, 32])).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let w = of(1);
        let w = w.data::<f32>().unwrap();
        let mean = w.iter().sum::<f32>() / w.len() as f32;
        let variance = w.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / w.len() as f32;
        let want = 2.0 / (9.0 * 32.0);
        assert!(mean.abs() < 0.002 && (variance / want - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
