//! Gradients of a depthwise convolution.

use crate::check::{Inputs, invalid, nhwc};
use crate::layer::product;
use crate::reference::{Operands, from_f64, position, zeros};
use crate::window::each_tap;
use crate::{Arg, DepthwiseConv2d, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, ConvGeometry, Hw, Shape, Tensor};

/// Gradient of a [`DepthwiseConv2d`] with respect to its picture.
///
/// `dx[n,ih,iw,ic] = sum over j, and over all oh,ow,kh,kw whose tap lies at ih,iw, of
/// dy[n,oh,ow,ic*m + j] * w[kh,kw,ic*m + j]`, with the depth multiplier `m`.
///
/// | input | shape |
/// |---|---|
/// | dy | `N,OH,OW,C*m` |
/// | w | `KH,KW,C*m` |
#[derive(Clone, Debug, PartialEq)]
pub struct DepthwiseInputGrad {
    /// The convolution; it has no activation.
    pub conv: DepthwiseConv2d,
    /// Rows and columns of the picture.
    pub input: Hw,
    /// Channels of the picture.
    pub channels: usize,
}

/// Gradient of a [`DepthwiseConv2d`] with respect to its weights.
///
/// `dw[kh,kw,ic*m + j] = sum over n,oh,ow of dy[n,oh,ow,ic*m + j] * x[n, oh*sh + kh*dh - pt, ow*sw +
/// kw*dw - pl, ic]`
///
/// | input | shape |
/// |---|---|
/// | x | `N,H,W,C` |
/// | dy | `N,OH,OW,C*m` |
#[derive(Clone, Debug, PartialEq)]
pub struct DepthwiseWeightGrad {
    /// The convolution; it has no activation.
    pub conv: DepthwiseConv2d,
    /// Taps.
    pub kernel: Hw,
}

impl DepthwiseInputGrad {
    /// All integers of the convolution whose output gradient is `dy`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes do not go together.
    pub fn geometry(&self, dy: Shape, w: Shape) -> Result<ConvGeometry, LayerError> {
        let n = nhwc(self.kind(), 0, &dy)?.n;
        let x = Shape::new(&[n, self.input.h, self.input.w, self.channels])?;
        checked(self.kind(), &self.conv, x, w, dy)
    }
}

impl DepthwiseWeightGrad {
    /// All integers of the convolution of `x` whose output gradient is `dy`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes do not go together.
    pub fn geometry(&self, x: Shape, dy: Shape) -> Result<ConvGeometry, LayerError> {
        checked(self.kind(), &self.conv, x, self.weight_shape(dy)?, dy)
    }

    fn weight_shape(&self, dy: Shape) -> Result<Shape, LayerError> {
        Ok(Shape::new(&[self.kernel.h, self.kernel.w, nhwc(self.kind(), 1, &dy)?.c])?)
    }
}

/// The geometry of a convolution of `x` and `w`, if `dy` can be the gradient of its output.
fn checked(
    kind: &'static str,
    conv: &DepthwiseConv2d,
    x: Shape,
    w: Shape,
    dy: Shape,
) -> Result<ConvGeometry, LayerError> {
    if conv.activation != Activation::Identity {
        return Err(invalid!(kind, "has no activation, but is given {}", conv.activation));
    }
    let geometry = conv.geometry(x, w)?;
    let out = geometry.output;
    if dy.dims() != [out.n, out.h, out.w, out.c] {
        return Err(invalid!(
            kind,
            "dy is {dy}, but the convolution of {x} with {w} gives {}x{}x{}x{}",
            out.n,
            out.h,
            out.w,
            out.c
        ));
    }
    Ok(geometry)
}

impl Layer for DepthwiseInputGrad {
    fn kind(&self) -> &'static str {
        "DepthwiseInputGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let (dy, w) = (inputs.float(0)?, inputs.weight(1)?);
        let x = self.geometry(dy.ty.shape, w.ty.shape)?.input;
        Ok(vec![TensorType::new(dy.ty.dtype, &[x.n, x.h, x.w, x.c])?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], _outputs: &[TensorType]) -> u64 {
        let [Some(dy), Some(w)] = inputs else { return 0 };
        product(dy.shape.elements(), w.shape.get(..2).unwrap_or_default())
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (dy, w) = (operands.get(0), operands.get(1));
        let g = self.geometry(*dy.shape(), *w.shape())?;
        let (dys, ws) = (dy.to_f64(), w.to_f64());
        let ty = operands.output();
        let mut dx = zeros(ty.shape.elements())?;
        let multiplier = g.output.c / g.input.c;
        each_tap(g.output, g.rows(), g.cols(), |n, (oh, ow), (kh, kw), (ih, iw)| {
            let from = position(dy.shape(), &[n, oh, ow, 0]);
            let taps = position(w.shape(), &[kh, kw, 0]);
            let to = position(&ty.shape, &[n, ih, iw, 0]);
            for oc in 0..g.output.c {
                dx[to + oc / multiplier] += dys[from + oc] * ws[taps + oc];
            }
        });
        Ok(vec![from_f64(ty, dx)?])
    }
}

impl Layer for DepthwiseWeightGrad {
    fn kind(&self) -> &'static str {
        "DepthwiseWeightGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let (x, dy) = (inputs.float(0)?.ty, inputs.like_first(1)?.ty);
        self.geometry(x.shape, dy.shape)?;
        Ok(vec![TensorType { dtype: x.dtype, shape: self.weight_shape(dy.shape)? }])
    }

    fn macs(&self, inputs: &[Option<TensorType>], _outputs: &[TensorType]) -> u64 {
        let [_, Some(dy)] = inputs else { return 0 };
        product(dy.shape.elements(), &[self.kernel.h, self.kernel.w])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, dy) = (operands.get(0), operands.get(1));
        let g = self.geometry(*x.shape(), *dy.shape())?;
        let (xs, dys) = (x.to_f64(), dy.to_f64());
        let ty = operands.output();
        let mut dw = zeros(ty.shape.elements())?;
        let multiplier = g.output.c / g.input.c;
        each_tap(g.output, g.rows(), g.cols(), |n, (oh, ow), (kh, kw), (ih, iw)| {
            let pixel = position(dy.shape(), &[n, oh, ow, 0]);
            let from = position(x.shape(), &[n, ih, iw, 0]);
            let taps = position(&ty.shape, &[kh, kw, 0]);
            for oc in 0..g.output.c {
                dw[taps + oc] += dys[pixel + oc] * xs[from + oc / multiplier];
            }
        });
        Ok(vec![from_f64(ty, dw)?])
    }
}
