//! Depthwise convolution.

use crate::check::{Inputs, invalid, nhwc};
use crate::layer::product;
use crate::reference::{Operands, collect, from_f64, position};
use crate::window::Window;
use crate::{Arg, Layer, LayerError, Padding, TensorType};
use depthwise_tensor::{Activation, ConvGeometry, Hw, Nhwc, Shape, Tensor};
use std::ops::Range;

/// A convolution in which every input channel has filters of its own.
///
/// `y[n,oh,ow,ic*m + j] = act(b[ic*m + j] + sum over kh,kw of x[n, oh*sh + kh*dh - pt,
/// ow*sw + kw*dw - pl, ic] * w[kh,kw,ic*m + j])`, with the depth multiplier `m = w.C / x.C`.
///
/// | input | shape |
/// |---|---|
/// | x | `N,H,W,C` |
/// | w | `KH,KW,C*m` |
/// | b, may be left out | `C*m` |
#[derive(Clone, Debug, PartialEq)]
pub struct DepthwiseConv2d {
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// The border.
    pub padding: Padding,
    /// Applied last.
    pub activation: Activation,
}

impl Default for DepthwiseConv2d {
    /// Stride 1, dilation 1, no padding, no activation.
    fn default() -> DepthwiseConv2d {
        DepthwiseConv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::Valid,
            activation: Activation::Identity,
        }
    }
}

impl DepthwiseConv2d {
    /// All integers of the depthwise convolution of a picture `x` with weights `w`; as many groups
    /// as input channels.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes and the window do not go together.
    pub fn geometry(&self, x: Shape, w: Shape) -> Result<ConvGeometry, LayerError> {
        let kind = self.kind();
        let input = nhwc(kind, 0, &x)?;
        let [kh, kw, oc] = *w.dims() else {
            return Err(invalid!(kind, "weights must have 3 dimensions, but have {}", w.rank()));
        };
        if input.c == 0 || oc == 0 || !oc.is_multiple_of(input.c) {
            return Err(invalid!(
                kind,
                "{oc} filters are no positive multiple of {} input channels",
                input.c
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
        let (stride, dilation, groups) = (self.stride, self.dilation, input.c);
        let output = nhwc(kind, 0, &output)?;
        Ok(ConvGeometry { input, output, kernel, stride, dilation, pad, groups })
    }
}

impl Layer for DepthwiseConv2d {
    fn kind(&self) -> &'static str {
        "DepthwiseConv2d"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2 or 3", &[0, 1], 3)?;
        let (x, w) = (inputs.float(0)?, inputs.weight(1)?);
        let Nhwc { n, h, w, c } = self.geometry(x.ty.shape, w.ty.shape)?.output;
        inputs.opt_weight(2)?;
        inputs.expect_shape(2, &[c])?;
        Ok(vec![TensorType::new(x.ty.dtype, &[n, h, w, c])?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        let (Some(Some(w)), [y]) = (inputs.get(1), outputs) else { return 0 };
        // One step per tap and output element.
        product(y.shape.elements(), w.shape.get(..2).unwrap_or_default())
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
        let (rows, cols) = (g.rows(), g.cols());
        let multiplier = g.output.c / g.input.c;
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, oc] = index else { unreachable!("a picture has four dimensions") };
            let mut sum = bias.as_ref().map_or(0.0, |b| b[oc]);
            for kh in rows.taps(oh).0..rows.taps(oh).1 {
                for kw in cols.taps(ow).0..cols.taps(ow).1 {
                    let (ih, iw) = (rows.position(oh, kh), cols.position(ow, kw));
                    sum += xs[position(x.shape(), &[n, ih, iw, oc / multiplier])]
                        * ws[position(w.shape(), &[kh, kw, oc])];
                }
            }
            self.activation.eval(sum)
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}
