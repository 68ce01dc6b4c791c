//! Blocks of pixels as channels, and back.

use crate::check::{Inputs, invalid, nhwc};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Hw, Nhwc, Tensor};

/// Channels laid out as blocks of pixels: `y[n, h*bh + i, w*bw + j, c] = x[n, h, w,
/// (i*bw + j)*C + c]`, where `C` are the channels of y (TensorFlow's order, ONNX `DCR`). Input: an
/// NHWC picture.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthToSpace {
    /// Rows and columns of a block.
    pub block: Hw,
}

/// Blocks of pixels as channels: `y[n, h, w, (i*bw + j)*C + c] = x[n, h*bh + i, w*bw + j, c]`, the
/// inverse of [`DepthToSpace`]. Input: an NHWC picture.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceToDepth {
    /// Rows and columns of a block.
    pub block: Hw,
}

impl Layer for DepthToSpace {
    fn kind(&self) -> &'static str {
        "DepthToSpace"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.any(0)?.ty;
        let Nhwc { n, h, w, c } = nhwc(self.kind(), 0, &x.shape)?;
        let block = self.block;
        let area = block.h.checked_mul(block.w).filter(|&area| area > 0);
        let depth = area.filter(|&area| c.is_multiple_of(area)).map(|area| c / area);
        let Some(depth) = depth else {
            return Err(invalid!(self.kind(), "{c} channels are no blocks of {block}"));
        };
        let (h, w) = (h.saturating_mul(block.h), w.saturating_mul(block.w));
        Ok(vec![TensorType::new(x.dtype, &[n, h, w, depth])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, shape) = (operands.get(0), operands.output().shape);
        let (block, depth) = (self.block, shape[3]);
        let y = rearrange(x, shape, &[], |index| {
            let &[n, oh, ow, c] = index else { unreachable!("a picture has four dimensions") };
            let channel = (oh % block.h * block.w + ow % block.w) * depth + c;
            Some(position(x.shape(), &[n, oh / block.h, ow / block.w, channel]))
        })?;
        Ok(vec![y])
    }
}

impl Layer for SpaceToDepth {
    fn kind(&self) -> &'static str {
        "SpaceToDepth"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.any(0)?.ty;
        let Nhwc { n, h, w, c } = nhwc(self.kind(), 0, &x.shape)?;
        let block = self.block;
        let fits = block.h > 0 && block.w > 0;
        if !(fits && h.is_multiple_of(block.h) && w.is_multiple_of(block.w)) {
            return Err(invalid!(self.kind(), "{h} rows and {w} columns are no blocks of {block}"));
        }
        let depth = c.saturating_mul(block.h).saturating_mul(block.w);
        Ok(vec![TensorType::new(x.dtype, &[n, h / block.h, w / block.w, depth])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let (block, depth) = (self.block, x.shape()[3]);
        let y = rearrange(x, operands.output().shape, &[], |index| {
            let &[n, oh, ow, channel] = index else {
                unreachable!("a picture has four dimensions")
            };
            let (cell, c) = (channel / depth, channel % depth);
            let (ih, iw) = (oh * block.h + cell / block.w, ow * block.w + cell % block.w);
            Some(position(x.shape(), &[n, ih, iw, c]))
        })?;
        Ok(vec![y])
    }
}
