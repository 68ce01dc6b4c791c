//! Standard and grouped convolution.

use crate::check::{Inputs, invalid, nhwc};
use crate::layer::product;
use crate::reference::{Operands, collect, from_f64, position};
use crate::window::Window;
use crate::{Arg, Layer, LayerError, Padding, TensorType};
use depthwise_tensor::{Activation, ConvGeometry, Hw, Nhwc, Shape, Tensor};
use std::ops::Range;

/// A 2-D convolution (cross-correlation) over NHWC pictures.
///
/// `y[n,oh,ow,oc] = act(b[oc] + sum over kh,kw,ic of x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw - pl,
/// g*C/groups + ic] * w[oc,kh,kw,ic] + r[n,oh,ow,oc])`, where `g` is the group of `oc` and cells
/// outside the picture are zero.
///
/// | input | shape |
/// |---|---|
/// | x | `N,H,W,C` |
/// | w | `OC,KH,KW,C/groups` |
/// | b, may be left out | `OC` |
/// | r (residual), may be left out | as the output |
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// The border.
    pub padding: Padding,
    /// Channel groups.
    pub groups: usize,
    /// Applied last.
    pub activation: Activation,
}

impl Default for Conv2d {
    /// Stride 1, dilation 1, no padding, one group, no activation.
    fn default() -> Conv2d {
        Conv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::Valid,
            groups: 1,
            activation: Activation::Identity,
        }
    }
}

impl Conv2d {
    /// All integers of the convolution of a picture `x` with weights `w`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes, the groups and the window do not go together.
    pub fn geometry(&self, x: Shape, w: Shape) -> Result<ConvGeometry, LayerError> {
        let kind = self.kind();
        let input = nhwc(kind, 0, &x)?;
        let [oc, kh, kw, depth] = *w.dims() else {
            return Err(invalid!(kind, "weights must have 4 dimensions, but have {}", w.rank()));
        };
        let groups = self.groups;
        if groups == 0 || !input.c.is_multiple_of(groups) || !oc.is_multiple_of(groups) {
            return Err(invalid!(
                kind,
                "{groups} groups do not divide {} input and {oc} output channels",
                input.c
            ));
        }
        if input.c / groups != depth {
            return Err(invalid!(
                kind,
                "weights {w} take {depth} channels, but each of {groups} groups of the input has {}",
                input.c / groups
            ));
        }
        let kernel = Hw { h: kh, w: kw };
        let window = Window {
            layer: kind,
            input: input.hw(),
            kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: self.padding,
            ceil_mode: false,
        };
        let (pad, size) = window.resolve()?;
        let output = Shape::new(&[input.n, size.h, size.w, oc])?;
        let (stride, dilation) = (self.stride, self.dilation);
        let output = nhwc(kind, 0, &output)?;
        Ok(ConvGeometry { input, output, kernel, stride, dilation, pad, groups })
    }
}

impl Layer for Conv2d {
    fn kind(&self) -> &'static str {
        "Conv2d"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2 to 4", &[0, 1], 4)?;
        let (x, w) = (inputs.float(0)?, inputs.weight(1)?);
        let Nhwc { n, h, w, c } = self.geometry(x.ty.shape, w.ty.shape)?.output;
        inputs.opt_weight(2)?;
        inputs.expect_shape(2, &[c])?;
        inputs.opt_like(3, 0)?;
        inputs.expect_shape(3, &[n, h, w, c])?;
        Ok(vec![TensorType::new(x.ty.dtype, &[n, h, w, c])?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        let (Some(Some(w)), [y]) = (inputs.get(1), outputs) else { return 0 };
        // Every output channel has kernel * depth weights.
        product(y.shape.elements(), w.shape.get(1..).unwrap_or_default())
    }

    fn weights(&self) -> Range<usize> {
        1..3
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, w) = (operands.get(0), operands.get(1));
        let g = self.geometry(*x.shape(), *w.shape())?;
        let (xs, ws) = (x.to_f64(), w.to_f64());
        let bias = operands.opt(2).map(Tensor::to_f64);
        let residual = operands.opt(3).map(Tensor::to_f64);
        let (rows, cols) = (g.rows(), g.cols());
        let depth = g.input.c / g.groups;
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, oc] = index else { unreachable!("a picture has four dimensions") };
            let first = oc / (g.output.c / g.groups) * depth;
            let mut sum = bias.as_ref().map_or(0.0, |b| b[oc]);
            for kh in rows.taps(oh).0..rows.taps(oh).1 {
                for kw in cols.taps(ow).0..cols.taps(ow).1 {
                    let (ih, iw) = (rows.position(oh, kh), cols.position(ow, kw));
                    let pixel = position(x.shape(), &[n, ih, iw, first]);
                    let taps = position(w.shape(), &[oc, kh, kw, 0]);
                    for ic in 0..depth {
                        sum += xs[pixel + ic] * ws[taps + ic];
                    }
                }
            }
            sum += residual.as_ref().map_or(0.0, |r| r[position(&ty.shape, index)]);
            self.activation.eval(sum)
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}
