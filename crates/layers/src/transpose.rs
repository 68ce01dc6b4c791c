//! Axes in another order.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;

/// `y.dims[i] = x.dims[perm[i]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Transpose {
    /// A permutation of the axes.
    pub perm: Vec<usize>,
}

impl Layer for Transpose {
    fn kind(&self) -> &'static str {
        "Transpose"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.any(0)?.ty;
        let rank = x.shape.rank();
        if self.perm.len() != rank || !(0..rank).all(|axis| self.perm.contains(&axis)) {
            return Err(invalid!(
                self.kind(),
                "{:?} does not order the {rank} axes of x",
                self.perm
            ));
        }
        let dims: Vec<usize> = self.perm.iter().map(|&axis| x.shape[axis]).collect();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let y = rearrange(x, operands.output().shape, &[], |index| {
            let mut source = vec![0; index.len()];
            for (&axis, &i) in self.perm.iter().zip(index) {
                source[axis] = i;
            }
            Some(position(x.shape(), &source))
        })?;
        Ok(vec![y])
    }
}
