//! Fresh weights.

use crate::form::trainable_constants;
use crate::streams::{Use, normal, of_name, rng, symmetric};
use crate::{Pattern, TrainError};
use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, GraphEdit, Node, ValueId};
use depthwise_tensor::{Shape, Tensor};
use std::collections::HashMap;
use std::str::FromStr;

/// Where weights start.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Initializer {
    /// Gaussian of variance `2 / fan_in` (He et al. 2015): before ReLU.
    He,
    /// Uniform of variance `2 / (fan_in + fan_out)` (Glorot and Bengio 2010).
    Glorot,
    /// Gaussian around 0.
    Gaussian {
        /// Standard deviation.
        deviation: f32,
    },
    /// Uniform in `-limit..limit`.
    Uniform {
        /// The limit.
        limit: f32,
    },
    /// All the same.
    Constant(f32),
}

/// `he`, `glorot`, `gaussian=DEVIATION`, `uniform=LIMIT` or `constant=VALUE`.
impl FromStr for Initializer {
    type Err = String;
    fn from_str(text: &str) -> Result<Initializer, String> {
        let (name, number) = match text.split_once('=') {
            Some((name, number)) => (name, number.parse::<f32>().ok().filter(|x| x.is_finite())),
            None => (text, None),
        };
        match (name, number, text.contains('=')) {
            ("he", None, false) => Ok(Initializer::He),
            ("glorot", None, false) => Ok(Initializer::Glorot),
            ("gaussian", Some(deviation), _) => Ok(Initializer::Gaussian { deviation }),
            ("uniform", Some(limit), _) => Ok(Initializer::Uniform { limit }),
            ("constant", Some(value), _) => Ok(Initializer::Constant(value)),
            _ => Err(format!(
                "\"{text}\" is none of he, glorot, gaussian=DEVIATION, uniform=LIMIT, \
                 constant=VALUE"
            )),
        }
    }
}

impl Initializer {
    /// Elements for a weight with these fans. They depend on the seed and the name alone.
    pub(crate) fn fill(
        self,
        shape: &Shape,
        (fan_in, fan_out): (usize, usize),
        seed: u64,
        name: &str,
    ) -> Result<Tensor, TrainError> {
        let mut random = rng(seed, Use::Initialize, of_name(name), 0);
        let mut next: Box<dyn FnMut() -> f32> = match self {
            Initializer::He => {
                let deviation = (2.0 / fan_in.max(1) as f32).sqrt();
                Box::new(move || deviation * normal(&mut random))
            }
            Initializer::Glorot => {
                let limit = (6.0 / (fan_in + fan_out).max(1) as f32).sqrt();
                Box::new(move || symmetric(&mut random, limit))
            }
            Initializer::Gaussian { deviation } => {
                Box::new(move || deviation * normal(&mut random))
            }
            Initializer::Uniform { limit } => Box::new(move || symmetric(&mut random, limit)),
            Initializer::Constant(value) => Box::new(move || value),
        };
        let data: Vec<f32> = (0..shape.elements()).map(|_| next()).collect();
        Ok(Tensor::from_vec(shape.dims(), data)?)
    }
}

/// Gives fresh values to the weights of convolutions, dense layers and embeddings whose names fit, and sets
/// their biases to 0. Batch normalization of which a parameter fits becomes the identity: scale 1,
/// offset 0, mean 0, variance 1. Says how many weights it changed.
///
/// # Errors
/// [`TrainError::Tensor`] where there is no memory.
pub fn initialize(
    graph: &mut Graph,
    pattern: &Pattern,
    initializer: Initializer,
    seed: u64,
) -> Result<usize, TrainError> {
    let found = trainable_constants(graph);
    let mut changes: HashMap<ValueId, Tensor> = HashMap::new();
    let mut weights = 0;
    for (name, id) in found.into_iter().filter(|(name, _)| pattern.matches(name)) {
        let Some(tensor) = graph.constant(id) else { continue };
        let shape = *tensor.shape();
        let Some((node, position)) = reader(graph, id) else { continue };
        let fans = match (&node.op, shape.dims()) {
            (Op::BatchNorm(_), _) => {
                changes.extend(identity(graph, node)?);
                continue;
            }
            (Op::Conv2d(_) | Op::ConvTranspose2d(_), &[oc, kh, kw, ic]) if position == 1 => {
                Some((kh * kw * ic, kh * kw * oc))
            }
            (Op::DepthwiseConv2d(_), &[kh, kw, _]) if position == 1 => Some((kh * kw, kh * kw)),
            (Op::Dense(_), &[o, i]) if position == 1 => Some((i, o)),
            // A vector of an embedding is what the next layer reads.
            (Op::Gather(_), &[_, width]) if position == 0 => Some((width, width)),
            (Op::Conv2d(_) | Op::ConvTranspose2d(_) | Op::DepthwiseConv2d(_) | Op::Dense(_), _) => {
                None
            }
            _ => continue,
        };
        weights += usize::from(fans.is_some());
        let (initializer, fans) =
            fans.map_or((Initializer::Constant(0.0), (1, 1)), |f| (initializer, f));
        changes.insert(id, initializer.fill(&shape, fans, seed, &name)?);
    }
    let mut edit = GraphEdit::new(graph);
    // In the order of the graph, so that new constants are numbered alike in every run.
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_by_key(|(id, _)| id.index());
    changes.into_iter().for_each(|(id, tensor)| edit.replace_with_const(id, tensor));
    edit.finish();
    Ok(weights)
}

/// What a batch normalization that changes nothing has: scale, offset, mean, variance.
fn identity(graph: &Graph, node: &Node) -> Result<Vec<(ValueId, Tensor)>, TrainError> {
    let mut changes = Vec::new();
    for (&input, value) in node.inputs[1..].iter().zip([1f32, 0.0, 0.0, 1.0]) {
        let Some((id, tensor)) = input.and_then(|id| Some((id, graph.constant(id)?))) else {
            continue;
        };
        let dims = tensor.shape().dims();
        changes.push((id, Tensor::from_vec(dims, vec![value; tensor.elements()])?));
    }
    Ok(changes)
}

/// The first node that reads a value, and at which position.
fn reader(graph: &Graph, id: ValueId) -> Option<(&Node, usize)> {
    graph.nodes().iter().find_map(|node| {
        let position = node.inputs.iter().position(|&input| input == Some(id))?;
        Some((node, position))
    })
}
