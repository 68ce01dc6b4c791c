//! Gradient of a pool.

use crate::check::{Inputs, invalid, nhwc};
use crate::pool2d::declared;
use crate::reference::{Operands, from_f64, position, zeros};
use crate::{Arg, Layer, LayerError, Pool2d, PoolKind, TensorType};
use depthwise_tensor::{Hw, PoolGeometry, Shape, Tensor};

/// Gradient of a [`Pool2d`] with respect to its picture. A mean gives every cell of its window an
/// equal part; a maximum gives all to the cell that won, the first in row-major order where several
/// are equal.
///
/// Inputs: dy; x, the picture, where the pool is a maximum.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool2dGrad {
    /// The pool.
    pub pool: Pool2d,
    /// Rows and columns of the picture.
    pub input: Hw,
}

impl Pool2dGrad {
    /// All integers of the pool whose output gradient is `dy`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes do not go together.
    pub fn geometry(&self, dy: Shape) -> Result<PoolGeometry, LayerError> {
        let out = nhwc(self.kind(), 0, &dy)?;
        let geometry =
            self.pool.geometry(Shape::new(&[out.n, self.input.h, self.input.w, out.c])?)?;
        if geometry.output != out {
            let want = geometry.output.hw();
            return Err(invalid!(self.kind(), "dy is {dy}, but the pool gives pictures of {want}"));
        }
        Ok(geometry)
    }
}

impl Layer for Pool2dGrad {
    fn kind(&self) -> &'static str {
        "Pool2dGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let max = self.pool.kind == PoolKind::Max;
        let required: &[usize] = if max { &[0, 1] } else { &[0] };
        let inputs = Inputs::new(self.kind(), inputs, "1 or 2", required, 2)?;
        let dy = inputs.float(0)?.ty;
        let x = self.geometry(dy.shape)?.input;
        inputs.opt_like(1, 0)?;
        inputs.expect_shape(1, &[x.n, x.h, x.w, x.c])?;
        Ok(vec![TensorType::new(dy.dtype, &[x.n, x.h, x.w, x.c])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let dy = operands.get(0);
        let g = self.geometry(*dy.shape())?;
        let (dys, xs) = (dy.to_f64(), operands.opt(1).map(Tensor::to_f64));
        let ty = operands.output();
        let (rows, cols) = (g.rows(), g.cols());
        let mut dx = zeros(ty.shape.elements())?;
        for at in 0..dys.len() {
            let (pixel, c) = (at / g.output.c, at % g.output.c);
            let (oh, ow) = (pixel / g.output.w % g.output.h, pixel % g.output.w);
            let n = pixel / g.output.w / g.output.h;
            let (kh, kw) = (rows.taps(oh), cols.taps(ow));
            let cells: Vec<usize> = (kh.0..kh.1)
                .flat_map(|kh| (kw.0..kw.1).map(move |kw| (kh, kw)))
                .map(|(kh, kw)| [n, rows.position(oh, kh), cols.position(ow, kw), c])
                .map(|index| position(&ty.shape, &index))
                .collect();
            match (self.pool.kind, &xs) {
                (PoolKind::Max, Some(xs)) => {
                    let wins = |best: usize, cell: usize| {
                        let greater = xs[cell] > xs[best] || xs[cell].is_nan();
                        if greater && !xs[best].is_nan() { cell } else { best }
                    };
                    if let Some(best) = cells.iter().copied().reduce(wins) {
                        dx[best] += dys[at];
                    }
                }
                (kind, _) => {
                    let all = kind == PoolKind::Average { include_pad: true };
                    let divisor = match all {
                        true => {
                            declared(&rows, g.pad.bottom, oh) * declared(&cols, g.pad.right, ow)
                        }
                        false => cells.len(),
                    };
                    for &cell in &cells {
                        dx[cell] += dys[at] / divisor.max(1) as f64;
                    }
                }
            }
        }
        Ok(vec![from_f64(ty, dx)?])
    }
}
