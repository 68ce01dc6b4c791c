//! Where the largest elements of windows are.

use crate::check::Inputs;
use crate::reference::{Operands, collect, position};
use crate::{Arg, Layer, LayerError, Padding, Pool2d, PoolKind, TensorType};
use depthwise_tensor::{DType, Hw, Nhwc, PoolGeometry, Shape, Tensor};

/// The position, `i64`, of the largest element of every window of an NHWC picture x: of equals the
/// first, of numbers and NaN the first NaN, -1 of a window without a cell inside the picture.
///
/// A position counts the elements of x as N, C, H, W: `((n*C + c)*H + h)*W + w`, which is how ONNX
/// has it.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPositions {
    /// Taps.
    pub kernel: Hw,
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// The border.
    pub padding: Padding,
    /// As that of [`Pool2d`].
    pub ceil_mode: bool,
    /// Whether positions count the elements of a plane column by column: `(n*C + c)*H*W + w*H + h`.
    pub column_major: bool,
}

impl MaxPositions {
    /// All integers of the windows of a picture `x`.
    ///
    /// # Errors
    /// As [`Pool2d::geometry`].
    pub fn geometry(&self, x: Shape) -> Result<PoolGeometry, LayerError> {
        let MaxPositions { kernel, stride, dilation, padding, ceil_mode, .. } = *self;
        Pool2d { kind: PoolKind::Max, kernel, stride, dilation, padding, ceil_mode }.geometry(x)
    }
}

impl Layer for MaxPositions {
    fn kind(&self) -> &'static str {
        "MaxPositions"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let Nhwc { n, h, w, c } = self.geometry(inputs.number(0)?.ty.shape)?.output;
        Ok(vec![TensorType::new(DType::I64, &[n, h, w, c])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let g = self.geometry(*x.shape())?;
        let xs = x.to_f64();
        let ty = operands.output();
        let (rows, cols) = (g.rows(), g.cols());
        let Nhwc { h: height, w: width, c: channels, .. } = g.input;
        let positions = collect(&ty.shape, |index| {
            let &[n, oh, ow, c] = index else { unreachable!("a picture has four dimensions") };
            let (kh, kw) = (rows.taps(oh), cols.taps(ow));
            let mut best: Option<(f64, i64)> = None;
            for (kh, kw) in (kh.0..kh.1).flat_map(|kh| (kw.0..kw.1).map(move |kw| (kh, kw))) {
                let (h, w) = (rows.position(oh, kh), cols.position(ow, kw));
                let value = xs[position(x.shape(), &[n, h, w, c])];
                let inner = if self.column_major { w * height + h } else { h * width + w };
                let at = (n * channels + c) * height * width + inner;
                if best.is_none_or(|(most, _)| value > most || value.is_nan() && !most.is_nan()) {
                    best = Some((value, at as i64));
                }
            }
            best.map_or(-1, |best| best.1)
        })?;
        Ok(vec![Tensor::from_vec(ty.shape.dims(), positions)?])
    }
}
