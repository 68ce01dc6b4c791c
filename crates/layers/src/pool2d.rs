//! Average and maximum over windows.

use crate::check::{Inputs, nhwc};
use crate::reference::{Operands, collect, from_f64, lowest, max, position};
use crate::window::Window;
use crate::{Arg, Layer, LayerError, Padding, TensorType};
use depthwise_tensor::{Hw, Nhwc, PoolGeometry, Shape, Tensor, WindowAxis};

/// What a pool computes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element, NaN if any is NaN; cells in the padding never win. A window without a cell inside the
    /// picture gives the lowest finite number. Also of integers.
    Max,
    /// The mean; 0 of a window without a cell that counts.
    Average {
        /// Whether cells of the declared padding count in the divisor. Cells past it, which a
        /// window rounded up by `ceil_mode` can reach, never count.
        include_pad: bool,
    },
}

/// A pool over NHWC pictures.
///
/// `ceil_mode` rounds the number of windows up, but drops a last window that would start past the
/// picture and its leading padding (PyTorch and ONNX).
#[derive(Clone, Debug, PartialEq)]
pub struct Pool2d {
    /// Maximum or average.
    pub kind: PoolKind,
    /// Taps.
    pub kernel: Hw,
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// The border.
    pub padding: Padding,
    /// Round the output size up instead of down. The `Same` rules fix the size by themselves.
    pub ceil_mode: bool,
}

const KIND: &str = "Pool2d";

impl Pool2d {
    /// All integers of the pool of a picture `x`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where `x` is no picture or no window fits it.
    pub fn geometry(&self, x: Shape) -> Result<PoolGeometry, LayerError> {
        let input = nhwc(KIND, 0, &x)?;
        let window = Window {
            layer: KIND,
            input: input.hw(),
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: self.padding,
            ceil_mode: self.ceil_mode,
        };
        let (pad, size) = window.resolve()?;
        let output = nhwc(KIND, 0, &Shape::new(&[input.n, size.h, size.w, input.c])?)?;
        let Pool2d { kernel, stride, dilation, .. } = *self;
        Ok(PoolGeometry { input, output, kernel, stride, dilation, pad })
    }

    /// Cells that count in the average of the window at row `oh`, column `ow`.
    pub fn cells(&self, g: &PoolGeometry, oh: usize, ow: usize) -> usize {
        let (rows, cols) = (g.rows(), g.cols());
        if self.kind == (PoolKind::Average { include_pad: true }) {
            return declared(&rows, g.pad.bottom, oh) * declared(&cols, g.pad.right, ow);
        }
        let count = |(first, end): (usize, usize)| end - first;
        count(rows.taps(oh)) * count(cols.taps(ow))
    }
}

impl Layer for Pool2d {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(KIND, inputs, "1", &[0], 1)?;
        let x = match self.kind {
            PoolKind::Max => inputs.number(0)?.ty,
            PoolKind::Average { .. } => inputs.float(0)?.ty,
        };
        let Nhwc { n, h, w, c } = self.geometry(x.shape)?.output;
        Ok(vec![TensorType::new(x.dtype, &[n, h, w, c])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let g = self.geometry(*x.shape())?;
        let xs = x.to_f64();
        let ty = operands.output();
        let (rows, cols) = (g.rows(), g.cols());
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, c] = index else { unreachable!("a picture has four dimensions") };
            let (kh, kw) = (rows.taps(oh), cols.taps(ow));
            let cells = (kh.0..kh.1).flat_map(|kh| (kw.0..kw.1).map(move |kw| (kh, kw)));
            let values = cells.map(|(kh, kw)| {
                xs[position(x.shape(), &[n, rows.position(oh, kh), cols.position(ow, kw), c])]
            });
            match self.kind {
                PoolKind::Max => values.fold(lowest(ty.dtype), max),
                PoolKind::Average { .. } => {
                    values.sum::<f64>() / self.cells(&g, oh, ow).max(1) as f64
                }
            }
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}

/// Taps of window `o` inside the input and its declared padding.
pub(crate) fn declared(axis: &WindowAxis, pad_after: usize, o: usize) -> usize {
    let padded = axis.input + axis.pad_before + pad_after;
    padded.saturating_sub(o * axis.stride).div_ceil(axis.dilation).min(axis.kernel)
}
