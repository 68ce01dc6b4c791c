//! Fresh weights.

use crate::form::trainable_constants;
use crate::random::{Random, of_name};
use crate::{Pattern, TrainError};
use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, GraphEdit, ValueId};
use depthwise_tensor::{Shape, Tensor};

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

impl Initializer {
    /// Elements for a weight with these fans. They depend on the seed and the name alone.
    pub(crate) fn fill(
        self,
        shape: &Shape,
        (fan_in, fan_out): (usize, usize),
        seed: u64,
        name: &str,
    ) -> Result<Tensor, TrainError> {
        let mut random = Random::new(&[seed, of_name(name)]);
        let mut next: Box<dyn FnMut() -> f64> = match self {
            Initializer::He => {
                let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
                Box::new(move || deviation * random.normal())
            }
            Initializer::Glorot => {
                let limit = (6.0 / (fan_in + fan_out).max(1) as f64).sqrt();
                Box::new(move || limit * (2.0 * random.unit() - 1.0))
            }
            Initializer::Gaussian { deviation } => {
                Box::new(move || f64::from(deviation) * random.normal())
            }
            Initializer::Uniform { limit } => {
                Box::new(move || f64::from(limit) * (2.0 * random.unit() - 1.0))
            }
            Initializer::Constant(value) => Box::new(move || value.into()),
        };
        let data: Vec<f32> = (0..shape.elements()).map(|_| next() as f32).collect();
        Ok(Tensor::from_vec(shape.dims(), data)?)
    }
}

/// Gives fresh values to the weights of convolutions and dense layers whose names fit, and sets
/// their biases to 0. Batch normalization stays as it is. Says how many weights it changed.
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
    let mut changes: Vec<(ValueId, Tensor)> = Vec::new();
    let mut weights = 0;
    for (name, id) in found.into_iter().filter(|(name, _)| pattern.matches(name)) {
        let Some(tensor) = graph.constant(id) else { continue };
        let shape = *tensor.shape();
        let Some((op, position)) = reader(graph, id) else { continue };
        let fans = match (op, shape.dims()) {
            (_, _) if position != 1 => None,
            (Op::Conv2d(_) | Op::ConvTranspose2d(_), &[oc, kh, kw, ic]) => {
                Some((kh * kw * ic, kh * kw * oc))
            }
            (Op::DepthwiseConv2d(_), &[kh, kw, _]) => Some((kh * kw, kh * kw)),
            (Op::Dense(_), &[o, i]) => Some((i, o)),
            _ => None,
        };
        let linear = matches!(
            op,
            Op::Conv2d(_) | Op::ConvTranspose2d(_) | Op::DepthwiseConv2d(_) | Op::Dense(_)
        );
        match fans {
            Some(fans) => {
                changes.push((id, initializer.fill(&shape, fans, seed, &name)?));
                weights += 1;
            }
            None if linear => {
                let zeros = vec![0f32; shape.elements()];
                changes.push((id, Tensor::from_vec(shape.dims(), zeros)?));
            }
            None => {}
        }
    }
    let mut edit = GraphEdit::new(graph);
    changes.into_iter().for_each(|(id, tensor)| edit.replace_with_const(id, tensor));
    edit.finish();
    Ok(weights)
}

/// The first node that reads a value, and at which position.
fn reader(graph: &Graph, id: ValueId) -> Option<(&Op, usize)> {
    graph.nodes().iter().find_map(|node| {
        let position = node.inputs.iter().position(|&input| input == Some(id))?;
        Some((&node.op, position))
    })
}
