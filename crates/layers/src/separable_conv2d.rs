//! Depthwise separable convolution: the pair that mobile networks are made of.

use crate::check::invalid;
use crate::ir::{Graph, ValueId};
use crate::{
    Activation, Arg, Conv2d, Cost, DepthwiseConv2d, Layer, LayerError, Padding, TensorType,
};
use depthwise_tensor::{Hw, Tensor};

/// A depthwise convolution followed by a pointwise (1x1) one.
///
/// Not an [`Op`](crate::Op) of its own: it enters a graph as its two halves.
#[derive(Clone, Debug, PartialEq)]
pub struct SeparableConv2d {
    /// Filters each channel by itself.
    pub depthwise: DepthwiseConv2d,
    /// Mixes the channels; 1x1, stride 1, one group.
    pub pointwise: Conv2d,
}

/// Operands of a [`SeparableConv2d`], generic over what stands for a tensor: a
/// [`ValueId`](crate::ir::ValueId) in a graph, a type, or a tensor.
#[derive(Clone, Copy, Debug)]
pub struct SeparableOperands<T> {
    /// `N,H,W,C`
    pub x: T,
    /// `KH,KW,C*m`
    pub depthwise: T,
    /// `C*m`
    pub depthwise_bias: Option<T>,
    /// `OC,1,1,C*m`
    pub pointwise: T,
    /// `OC`
    pub pointwise_bias: Option<T>,
}

impl SeparableConv2d {
    /// A `kernel`-sized depthwise convolution of this stride with SAME padding, and a pointwise
    /// one; both end in `activation`.
    pub fn same(stride: Hw, activation: Activation) -> SeparableConv2d {
        SeparableConv2d {
            depthwise: DepthwiseConv2d {
                stride,
                padding: Padding::Same,
                activation,
                ..DepthwiseConv2d::default()
            },
            pointwise: Conv2d { activation, ..Conv2d::default() },
        }
    }

    /// What the two halves cost together.
    ///
    /// # Errors
    /// [`LayerError`] where the operands do not go together.
    pub fn cost(&self, types: SeparableOperands<TensorType>) -> Result<Cost, LayerError> {
        let half = |layer: &dyn Layer, inputs: [Option<TensorType>; 3]| {
            let args = inputs.map(|ty| ty.map(Arg::of_type));
            let outputs = layer.infer(&args)?;
            let given = || inputs.iter().flatten();
            let cost = Cost {
                macs: layer.macs(&inputs, &outputs),
                params: given().skip(1).map(|ty| ty.shape.elements() as u64).sum(),
                bytes: given().chain(&outputs).map(|ty| ty.bytes() as u64).sum(),
            };
            Ok::<_, LayerError>((cost, outputs[0]))
        };
        self.check()?;
        let SeparableOperands { x, depthwise, depthwise_bias, pointwise, pointwise_bias } = types;
        let (mut cost, between) =
            half(&self.depthwise, [Some(x), Some(depthwise), depthwise_bias])?;
        cost += half(&self.pointwise, [Some(between), Some(pointwise), pointwise_bias])?.0;
        Ok(cost)
    }

    /// The pair computed naively, the tensor between the halves rounded to the dtype.
    ///
    /// # Errors
    /// [`LayerError`] where the operands do not go together.
    pub fn reference(&self, operands: SeparableOperands<&Tensor>) -> Result<Tensor, LayerError> {
        self.check()?;
        let SeparableOperands { x, depthwise, depthwise_bias, pointwise, pointwise_bias } =
            operands;
        let between = self.depthwise.reference(&[Some(x), Some(depthwise), depthwise_bias])?;
        let inputs = [between.first(), Some(pointwise), pointwise_bias];
        let mut outputs = self.pointwise.reference(&inputs)?;
        Ok(outputs.swap_remove(0))
    }

    /// Adds the two halves to a graph, as `name/depthwise` and `name/pointwise`, and gives the
    /// result.
    pub fn add_to(
        &self,
        graph: &mut Graph,
        name: &str,
        operands: SeparableOperands<ValueId>,
    ) -> ValueId {
        let SeparableOperands { x, depthwise, depthwise_bias, pointwise, pointwise_bias } =
            operands;
        let first = format!("{name}/depthwise");
        let inputs = [Some(x), Some(depthwise), depthwise_bias];
        let between = graph.add_node(&first, self.depthwise.clone(), &inputs, &[&first])[0];
        let second = format!("{name}/pointwise");
        let inputs = [Some(between), Some(pointwise), pointwise_bias];
        graph.add_node(&second, self.pointwise.clone(), &inputs, &[&second])[0]
    }

    fn check(&self) -> Result<(), LayerError> {
        let Conv2d { stride, groups, .. } = self.pointwise;
        if stride == Hw::ONE && groups == 1 {
            return Ok(());
        }
        Err(invalid!(
            "SeparableConv2d",
            "the pointwise half has stride {stride} and {groups} groups, not 1x1 and 1"
        ))
    }
}
