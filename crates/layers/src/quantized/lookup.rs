//! Any function of one number of eight bits.

use super::bytes;
use crate::check::Inputs;
use crate::reference::Operands;
use crate::{Arg, Layer, LayerError, TensorType};
use bytes::Bytes;
use depthwise_tensor::{DType, Tensor};

/// `y = table[x]`, where the bits of x count as a number from 0 to 255: entry 128 is that of -128
/// where x is `i8`.
///
/// | input | shape |
/// |---|---|
/// | x, `i8` or `u8` | any |
/// | table, `i8` or `u8`, the type of y | 256 |
#[derive(Clone, Debug, PartialEq)]
pub struct QLookup;

impl QLookup {
    /// The table of a function of integers of type `x`.
    pub fn table(x: DType, y: DType, f: impl Fn(i64) -> i64) -> Result<Tensor, LayerError> {
        let of_bits =
            |bits: i64| f(if x == DType::I8 { i64::from(bits as u8 as i8) } else { bits });
        // The low bits of two's complement are those of either type.
        let table: Vec<u8> = (0..256).map(|bits| of_bits(bits) as u8).collect();
        Ok(Tensor::new(y, depthwise_tensor::Shape::new(&[256])?, Bytes::from(table))?)
    }
}

impl Layer for QLookup {
    fn kind(&self) -> &'static str {
        "QLookup"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        inputs.expect_shape(1, &[256])?;
        let dtype = bytes(&inputs, 1)?.ty.dtype;
        Ok(vec![TensorType { dtype, shape: bytes(&inputs, 0)?.ty.shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, table, ty) = (operands.get(0), operands.get(1).bytes(), operands.output());
        let y: Vec<u8> = x.bytes().iter().map(|&bits| table[usize::from(bits)]).collect();
        Ok(vec![Tensor::new(ty.dtype, ty.shape, Bytes::from(y))?])
    }
}
