//! Sums of products in integers.

use super::{Requantize, bytes};
use crate::check::{Inputs, invalid};
use crate::reference::{Operands, collect, from_i64, position};
use crate::{Arg, Conv2d, Dense, DepthwiseConv2d, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, ConvGeometry, DType, Shape, Tensor};
use std::ops::Range;

/// A convolution in integers:
/// `y[..,oc] = requantize(m[oc], b[oc] + sum of (x - x_zero) * (w - w_zero[oc]))` over the taps of
/// [`Conv2d`]; cells outside the picture are `x_zero`, which adds nothing.
///
/// | input | shape |
/// |---|---|
/// | x, `i8` or `u8` | `N,H,W,C` |
/// | w, `i8` or `u8` | `OC,KH,KW,C/groups` |
/// | b, `i32`, of scale `x_scale * w_scale`, may be left out | `OC` |
/// | m, `f32`, see [`Requantize::multiplier`] | `OC` |
/// | w_zero, `i32`, may be left out (0) | `OC` |
#[derive(Clone, Debug, PartialEq)]
pub struct QConv2d {
    /// Window and groups; its activation is the identity.
    pub conv: Conv2d,
    /// What stands for 0 in x.
    pub input_zero: i32,
    /// The result.
    pub output: Requantize,
}

/// A depthwise convolution in integers; as [`QConv2d`], over the taps of [`DepthwiseConv2d`].
///
/// | input | shape |
/// |---|---|
/// | x, `i8` or `u8` | `N,H,W,C` |
/// | w, `i8` or `u8` | `KH,KW,C*m` |
/// | b, m, w_zero | as in [`QConv2d`], of `C*m` |
#[derive(Clone, Debug, PartialEq)]
pub struct QDepthwiseConv2d {
    /// The window; its activation is the identity.
    pub conv: DepthwiseConv2d,
    /// What stands for 0 in x.
    pub input_zero: i32,
    /// The result.
    pub output: Requantize,
}

/// A fully connected layer in integers; as [`QConv2d`].
///
/// | input | shape |
/// |---|---|
/// | x, `i8` or `u8` | `.., I` |
/// | w, `i8` or `u8` | `O,I` |
/// | b, m, w_zero | as in [`QConv2d`], of `O` |
#[derive(Clone, Debug, PartialEq)]
pub struct QDense {
    /// What stands for 0 in x.
    pub input_zero: i32,
    /// The result.
    pub output: Requantize,
}

const WANT: &str = "4 or 5";

/// The operands that all three share, checked but for the weights' extents.
fn check<'a>(
    layer: &'static str,
    args: &'a [Option<Arg<'a>>],
    activation: Activation,
    output: &Requantize,
) -> Result<(Inputs<'a>, Shape, Shape), LayerError> {
    let inputs = Inputs::new(layer, args, WANT, &[0, 1, 3], 5)?;
    output.check(layer)?;
    if activation != Activation::Identity {
        return Err(invalid!(layer, "{activation} is no clamp of integers"));
    }
    let (x, w) = (bytes(&inputs, 0)?.ty.shape, bytes(&inputs, 1)?.ty.shape);
    for (i, dtype) in [(2, DType::I32), (3, DType::F32), (4, DType::I32)] {
        if inputs.opt(i).is_some() {
            inputs.typed(i, dtype.name(), |d| d == dtype)?;
        }
    }
    Ok((inputs, x, w))
}

/// Checks what there is one of per output channel.
fn check_channels(inputs: &Inputs<'_>, channels: usize) -> Result<(), LayerError> {
    (2..5).try_for_each(|i| inputs.expect_shape(i, &[channels]))
}

/// The operands of a reference as integers.
struct Terms {
    x: Vec<i64>,
    w: Vec<i64>,
    bias: Option<Vec<i64>>,
    multiplier: Vec<f32>,
    w_zero: Option<Vec<i64>>,
    output: Requantize,
}

impl Terms {
    fn new(operands: &Operands<'_>, input_zero: i32, output: Requantize) -> Terms {
        let list = |i: usize| operands.opt(i).map(|t| t.to_i64().into_owned());
        let x = operands.get(0).to_i64();
        Terms {
            x: x.iter().map(|x| x - i64::from(input_zero)).collect(),
            w: operands.get(1).to_i64().into_owned(),
            bias: list(2),
            multiplier: operands.get(3).to_f32().into_owned(),
            w_zero: list(4),
            output,
        }
    }

    fn bias(&self, oc: usize) -> i64 {
        self.bias.as_ref().map_or(0, |b| b[oc])
    }

    fn product(&self, x: usize, w: usize, oc: usize) -> i64 {
        self.x[x] * (self.w[w] - self.w_zero.as_ref().map_or(0, |z| z[oc]))
    }

    fn finish(&self, sum: i64, oc: usize) -> i64 {
        self.output.apply(sum, self.multiplier[oc])
    }
}

impl QConv2d {
    /// All integers of the convolution, as [`Conv2d::geometry`].
    ///
    /// # Errors
    /// As [`Conv2d::geometry`].
    pub fn geometry(&self, x: Shape, w: Shape) -> Result<ConvGeometry, LayerError> {
        self.conv.geometry(x, w)
    }
}

impl Layer for QConv2d {
    fn kind(&self) -> &'static str {
        "QConv2d"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let activation = self.conv.activation;
        let (inputs, x, w) = check(self.kind(), inputs, activation, &self.output)?;
        let out = self.geometry(x, w)?.output;
        check_channels(&inputs, out.c)?;
        Ok(vec![TensorType::new(self.output.dtype, &[out.n, out.h, out.w, out.c])?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        self.conv.macs(inputs, outputs)
    }

    fn weights(&self) -> Range<usize> {
        1..3
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, w) = (*operands.get(0).shape(), *operands.get(1).shape());
        let g = self.geometry(x, w)?;
        let terms = Terms::new(&operands, self.input_zero, self.output);
        let (rows, cols) = (g.rows(), g.cols());
        let depth = g.input.c / g.groups;
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, oc] = index else { unreachable!("a picture has four dimensions") };
            let first = oc / (g.output.c / g.groups) * depth;
            let mut sum = terms.bias(oc);
            for kh in rows.taps(oh).0..rows.taps(oh).1 {
                for kw in cols.taps(ow).0..cols.taps(ow).1 {
                    let (ih, iw) = (rows.position(oh, kh), cols.position(ow, kw));
                    let pixel = position(&x, &[n, ih, iw, first]);
                    let taps = position(&w, &[oc, kh, kw, 0]);
                    sum += (0..depth).map(|i| terms.product(pixel + i, taps + i, oc)).sum::<i64>();
                }
            }
            terms.finish(sum, oc)
        })?;
        Ok(vec![from_i64(ty, y)?])
    }
}

impl QDepthwiseConv2d {
    /// All integers of the convolution, as [`DepthwiseConv2d::geometry`].
    ///
    /// # Errors
    /// As [`DepthwiseConv2d::geometry`].
    pub fn geometry(&self, x: Shape, w: Shape) -> Result<ConvGeometry, LayerError> {
        self.conv.geometry(x, w)
    }
}

impl Layer for QDepthwiseConv2d {
    fn kind(&self) -> &'static str {
        "QDepthwiseConv2d"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let activation = self.conv.activation;
        let (inputs, x, w) = check(self.kind(), inputs, activation, &self.output)?;
        let out = self.geometry(x, w)?.output;
        check_channels(&inputs, out.c)?;
        Ok(vec![TensorType::new(self.output.dtype, &[out.n, out.h, out.w, out.c])?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        self.conv.macs(inputs, outputs)
    }

    fn weights(&self) -> Range<usize> {
        1..3
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, w) = (*operands.get(0).shape(), *operands.get(1).shape());
        let g = self.geometry(x, w)?;
        let terms = Terms::new(&operands, self.input_zero, self.output);
        let (rows, cols) = (g.rows(), g.cols());
        let multiplier = g.output.c / g.input.c;
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, oc] = index else { unreachable!("a picture has four dimensions") };
            let mut sum = terms.bias(oc);
            for kh in rows.taps(oh).0..rows.taps(oh).1 {
                for kw in cols.taps(ow).0..cols.taps(ow).1 {
                    let (ih, iw) = (rows.position(oh, kh), cols.position(ow, kw));
                    let pixel = position(&x, &[n, ih, iw, oc / multiplier]);
                    sum += terms.product(pixel, position(&w, &[kh, kw, oc]), oc);
                }
            }
            terms.finish(sum, oc)
        })?;
        Ok(vec![from_i64(ty, y)?])
    }
}

const DENSE: Dense = Dense { activation: Activation::Identity };

impl Layer for QDense {
    fn kind(&self) -> &'static str {
        "QDense"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let (inputs, x, w) = check(self.kind(), inputs, Activation::Identity, &self.output)?;
        let (&[outputs, depth], Some((&last, lead))) = (w.dims(), x.split_last()) else {
            return Err(invalid!(
                self.kind(),
                "x is {x} and the weights are {w}; they must have 1 or more and 2 dimensions"
            ));
        };
        if depth != last {
            return Err(invalid!(self.kind(), "weights {w} take {depth} features, x has {last}"));
        }
        check_channels(&inputs, outputs)?;
        let dims: Vec<usize> = lead.iter().copied().chain([outputs]).collect();
        Ok(vec![TensorType::new(self.output.dtype, &dims)?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        DENSE.macs(inputs, outputs)
    }

    fn weights(&self) -> Range<usize> {
        1..3
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let w = operands.get(1).shape();
        let (outputs, depth) = (w[0], w[1]);
        let terms = Terms::new(&operands, self.input_zero, self.output);
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let o = index[index.len() - 1];
            let row = position(&ty.shape, index) / outputs;
            let products = (0..depth).map(|i| terms.product(row * depth + i, o * depth + i, o));
            terms.finish(terms.bias(o) + products.sum::<i64>(), o)
        })?;
        Ok(vec![from_i64(ty, y)?])
    }
}
