//! Transposed convolution.

use crate::check::{Inputs, invalid, nhwc};
use crate::layer::product;
use crate::reference::{Operands, collect, from_f64, position};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, Hw, Nhwc, Pad2d, Shape, Tensor};
use std::ops::Range;

/// A transposed 2-D convolution over NHWC pictures: each pixel of x adds its filters to a window of
/// y (the gradient of a convolution with respect to its input).
///
/// `y[n,oh,ow,oc] = act(b[oc] + sum over kh,kw,ic of x[n,ih,iw,g*C/groups + ic] * w[oc,kh,kw,ic])`
/// over all taps with `ih*sh + kh*dh - pt = oh` and `iw*sw + kw*dw - pl = ow`, where `g` is the
/// group of `oc`. The output has `(H - 1)*sh + dh*(KH - 1) + 1 - pt - pb + output_padding` rows.
///
/// | input | shape |
/// |---|---|
/// | x | `N,H,W,C` |
/// | w | `OC,KH,KW,C/groups` |
/// | b, may be left out | `OC` |
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose2d {
    /// Step from the window of one pixel to that of the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// Rows and columns of the result that are cut off.
    pub padding: Pad2d,
    /// Rows and columns added at the end, which only the bias reaches if no window does.
    pub output_padding: Hw,
    /// Channel groups.
    pub groups: usize,
    /// Applied last.
    pub activation: Activation,
}

impl Default for ConvTranspose2d {
    /// Stride 1, dilation 1, nothing cut off, one group, no activation.
    fn default() -> ConvTranspose2d {
        ConvTranspose2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Pad2d::ZERO,
            output_padding: Hw { h: 0, w: 0 },
            groups: 1,
            activation: Activation::Identity,
        }
    }
}

impl ConvTranspose2d {
    /// Extents of the output for a picture `x` and weights `w`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes, the groups and the window do not go together.
    pub fn output(&self, x: &Shape, w: &Shape) -> Result<Nhwc, LayerError> {
        let kind = self.kind();
        let input = nhwc(kind, 0, x)?;
        let [oc, kh, kw, depth] = *w.dims() else {
            return Err(invalid!(kind, "weights must have 4 dimensions, but have {}", w.rank()));
        };
        let groups = self.groups;
        if groups == 0 || !oc.is_multiple_of(groups) || depth.checked_mul(groups) != Some(input.c) {
            return Err(invalid!(
                kind,
                "weights {w} in {groups} groups do not fit {} input channels",
                input.c
            ));
        }
        let pad = self.padding;
        let axis = |input, kernel, stride, dilation, cut: (usize, usize), added| {
            self.extent(input, kernel, stride, dilation, cut, added)
        };
        let (s, d, more) = (self.stride, self.dilation, self.output_padding);
        let h = axis(input.h, kh, s.h, d.h, (pad.top, pad.bottom), more.h)?;
        let w = axis(input.w, kw, s.w, d.w, (pad.left, pad.right), more.w)?;
        nhwc(kind, 0, &Shape::new(&[input.n, h, w, oc])?)
    }

    /// Extent of the output along one axis.
    fn extent(
        &self,
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        cut: (usize, usize),
        added: usize,
    ) -> Result<usize, LayerError> {
        if input == 0 || kernel == 0 || stride == 0 || dilation == 0 {
            return Err(invalid!(
                self.kind(),
                "{input} pixels, {kernel} taps, stride {stride} and dilation {dilation}: none may \
                 be 0"
            ));
        }
        let wide = |n: usize| n as i128;
        let whole = wide(input - 1) * wide(stride) + wide(dilation) * wide(kernel - 1) + 1;
        let extent = whole + wide(added) - wide(cut.0) - wide(cut.1);
        usize::try_from(extent).map_err(|_| {
            invalid!(self.kind(), "{} and {} cannot be cut off an extent of {whole}", cut.0, cut.1)
        })
    }
}

impl Layer for ConvTranspose2d {
    fn kind(&self) -> &'static str {
        "ConvTranspose2d"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2 or 3", &[0, 1], 3)?;
        let (x, w) = (inputs.float(0)?, inputs.weight(1)?);
        let Nhwc { n, h, w, c } = self.output(&x.ty.shape, &w.ty.shape)?;
        inputs.opt_weight(2)?;
        inputs.expect_shape(2, &[c])?;
        Ok(vec![TensorType::new(x.ty.dtype, &[n, h, w, c])?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], _: &[TensorType]) -> u64 {
        let [Some(x), Some(w), ..] = inputs else { return 0 };
        // Every input pixel meets every tap.
        let pixels = x.shape.get(..3).unwrap_or_default();
        product(w.shape.elements(), pixels)
    }

    fn weights(&self) -> Range<usize> {
        1..3
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, w) = (operands.get(0), operands.get(1));
        let (xs, ws) = (x.to_f64(), w.to_f64());
        let bias = operands.opt(2).map(Tensor::to_f64);
        let [oc_all, kh_all, kw_all, depth] = [0, 1, 2, 3].map(|axis| w.shape()[axis]);
        let (s, d, pad) = (self.stride, self.dilation, self.padding);
        // The pixel whose tap k reaches position o.
        let pixel =
            |o: usize, k: usize, extent: usize, stride: usize, dilation: usize, before: usize| {
                let at = (o + before).checked_sub(k * dilation)?;
                (at % stride == 0 && at / stride < extent).then(|| at / stride)
            };
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, oc] = index else { unreachable!("a picture has four dimensions") };
            let first = oc / (oc_all / self.groups) * depth;
            let mut sum = bias.as_ref().map_or(0.0, |b| b[oc]);
            for kh in 0..kh_all {
                let Some(ih) = pixel(oh, kh, x.shape()[1], s.h, d.h, pad.top) else { continue };
                for kw in 0..kw_all {
                    let Some(iw) = pixel(ow, kw, x.shape()[2], s.w, d.w, pad.left) else {
                        continue;
                    };
                    let at = position(x.shape(), &[n, ih, iw, first]);
                    let taps = position(w.shape(), &[oc, kh, kw, 0]);
                    for ic in 0..depth {
                        sum += xs[at + ic] * ws[taps + ic];
                    }
                }
            }
            self.activation.eval(sum)
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}
