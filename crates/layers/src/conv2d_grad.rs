//! Gradients of a convolution.

use crate::check::{Inputs, invalid, nhwc};
use crate::layer::product;
use crate::reference::{Operands, from_f64, position, zeros};
use crate::window::each_tap;
use crate::{Arg, Conv2d, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, ConvGeometry, Hw, Shape, Tensor};

/// Gradient of a [`Conv2d`] with respect to its picture: every output gradient goes back, weighted,
/// to the cells of its window.
///
/// `dx[n,ih,iw,g*C/groups + ic] = sum over oc of group g, and over all oh,ow,kh,kw whose tap lies at
/// ih,iw, of dy[n,oh,ow,oc] * w[oc,kh,kw,ic]`
///
/// | input | shape |
/// |---|---|
/// | dy | `N,OH,OW,OC` |
/// | w | `OC,KH,KW,C/groups` |
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dInputGrad {
    /// The convolution; it has no activation.
    pub conv: Conv2d,
    /// Rows and columns of the picture.
    pub input: Hw,
}

/// Gradient of a [`Conv2d`] with respect to its weights.
///
/// `dw[oc,kh,kw,ic] = sum over n,oh,ow of dy[n,oh,ow,oc] * x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw -
/// pl, g*C/groups + ic]`
///
/// | input | shape |
/// |---|---|
/// | x | `N,H,W,C` |
/// | dy | `N,OH,OW,OC` |
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dWeightGrad {
    /// The convolution; it has no activation.
    pub conv: Conv2d,
    /// Taps.
    pub kernel: Hw,
}

impl Conv2dInputGrad {
    /// All integers of the convolution whose output gradient is `dy`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes do not go together.
    pub fn geometry(&self, dy: Shape, w: Shape) -> Result<ConvGeometry, LayerError> {
        let n = nhwc(self.kind(), 0, &dy)?.n;
        let depth = w.last().copied().unwrap_or(0);
        let channels = depth.saturating_mul(self.conv.groups);
        let x = Shape::new(&[n, self.input.h, self.input.w, channels])?;
        checked(self.kind(), &self.conv, x, w, dy)
    }
}

impl Conv2dWeightGrad {
    /// All integers of the convolution of `x` whose output gradient is `dy`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the shapes do not go together.
    pub fn geometry(&self, x: Shape, dy: Shape) -> Result<ConvGeometry, LayerError> {
        checked(self.kind(), &self.conv, x, self.weight_shape(x, dy)?, dy)
    }

    fn weight_shape(&self, x: Shape, dy: Shape) -> Result<Shape, LayerError> {
        let (input, output) = (nhwc(self.kind(), 0, &x)?, nhwc(self.kind(), 1, &dy)?);
        let depth = input.c.checked_div(self.conv.groups).unwrap_or(0);
        Ok(Shape::new(&[output.c, self.kernel.h, self.kernel.w, depth])?)
    }
}

/// The geometry of a convolution of `x` and `w`, if `dy` can be the gradient of its output.
fn checked(
    kind: &'static str,
    conv: &Conv2d,
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

impl Layer for Conv2dInputGrad {
    fn kind(&self) -> &'static str {
        "Conv2dInputGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let (dy, w) = (inputs.float(0)?, inputs.weight(1)?);
        let x = self.geometry(dy.ty.shape, w.ty.shape)?.input;
        Ok(vec![TensorType::new(dy.ty.dtype, &[x.n, x.h, x.w, x.c])?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], _outputs: &[TensorType]) -> u64 {
        let [Some(dy), Some(w)] = inputs else { return 0 };
        product(dy.shape.elements(), w.shape.get(1..).unwrap_or_default())
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (dy, w) = (operands.get(0), operands.get(1));
        let g = self.geometry(*dy.shape(), *w.shape())?;
        let (dys, ws) = (dy.to_f64(), w.to_f64());
        let ty = operands.output();
        let mut dx = zeros(ty.shape.elements())?;
        let (depth, per_group) = (g.input.c / g.groups, g.output.c / g.groups);
        each_tap(g.output, g.rows(), g.cols(), |n, (oh, ow), (kh, kw), (ih, iw)| {
            let pixel = position(dy.shape(), &[n, oh, ow, 0]);
            for oc in 0..g.output.c {
                let taps = position(w.shape(), &[oc, kh, kw, 0]);
                let to = position(&ty.shape, &[n, ih, iw, oc / per_group * depth]);
                for ic in 0..depth {
                    dx[to + ic] += dys[pixel + oc] * ws[taps + ic];
                }
            }
        });
        Ok(vec![from_f64(ty, dx)?])
    }
}

impl Layer for Conv2dWeightGrad {
    fn kind(&self) -> &'static str {
        "Conv2dWeightGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let (x, dy) = (inputs.float(0)?.ty, inputs.like_first(1)?.ty);
        self.geometry(x.shape, dy.shape)?;
        Ok(vec![TensorType { dtype: x.dtype, shape: self.weight_shape(x.shape, dy.shape)? }])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        let ([_, Some(dy)], [w]) = (inputs, outputs) else { return 0 };
        product(dy.shape.elements(), w.shape.get(1..).unwrap_or_default())
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, dy) = (operands.get(0), operands.get(1));
        let g = self.geometry(*x.shape(), *dy.shape())?;
        let (xs, dys) = (x.to_f64(), dy.to_f64());
        let ty = operands.output();
        let mut dw = zeros(ty.shape.elements())?;
        let (depth, per_group) = (g.input.c / g.groups, g.output.c / g.groups);
        each_tap(g.output, g.rows(), g.cols(), |n, (oh, ow), (kh, kw), (ih, iw)| {
            let pixel = position(dy.shape(), &[n, oh, ow, 0]);
            for oc in 0..g.output.c {
                let taps = position(&ty.shape, &[oc, kh, kw, 0]);
                let from = position(x.shape(), &[n, ih, iw, oc / per_group * depth]);
                for ic in 0..depth {
                    dw[taps + ic] += dys[pixel + oc] * xs[from + ic];
                }
            }
        });
        Ok(vec![from_f64(ty, dw)?])
    }
}
