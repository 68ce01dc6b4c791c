//! Comparison with an error bound.

use depthwise_layers::{Activation, LayerError, Op};
use depthwise_tensor::{Shape, Tensor};
use std::fmt;

/// How far an element may be from what it should be.
#[derive(Clone, Debug)]
pub enum Bound {
    /// Equal, with 0.0 equal to -0.0.
    Exact,
    /// This far.
    Absolute(f64),
    /// This far, relative to the largest finite magnitude among the wanted elements.
    RelativeToMax(f64),
    /// This far, relative to a scale of each element: [`term_sums`] for sums of products, whose
    /// rounding errors grow with their terms and not with the result.
    RelativeTo {
        /// The factor.
        tolerance: f64,
        /// The scale of each element.
        scale: Vec<f64>,
    },
}

impl Bound {
    /// The allowed distance of every element.
    fn per_element(&self, want: &[f64]) -> Vec<f64> {
        match self {
            Bound::Exact => vec![0.0; want.len()],
            Bound::Absolute(tolerance) => vec![*tolerance; want.len()],
            Bound::RelativeToMax(tolerance) => {
                let finite = want.iter().map(|x| x.abs()).filter(|x| x.is_finite());
                vec![tolerance * finite.fold(0.0, f64::max); want.len()]
            }
            Bound::RelativeTo { tolerance, scale } => scale.iter().map(|s| s * tolerance).collect(),
        }
    }
}

/// The first element that is out of bounds, or a difference in type.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch {
    /// Dtype or extents differ.
    Type {
        /// What was computed.
        got: String,
        /// What it should be.
        want: String,
    },
    /// An element is too far off.
    Element {
        /// Multi-index of the element.
        index: Vec<usize>,
        /// What was computed.
        got: f64,
        /// What it should be.
        want: f64,
        /// How far it may be off.
        bound: f64,
        /// Elements out of bounds.
        wrong: usize,
        /// All elements.
        of: usize,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Type { got, want } => write!(f, "got {got}, want {want}"),
            Mismatch::Element { index, got, want, bound, wrong, of } => write!(
                f,
                "element {index:?}: got {got:e}, want {want:e}, off by {:e}, allowed {bound:e} \
                 ({wrong} of {of} elements are off)",
                (got - want).abs()
            ),
        }
    }
}

/// Compares element by element. NaN equals NaN and an infinity itself, nothing else.
///
/// # Errors
/// The first mismatch in row-major order.
pub fn compare(got: &Tensor, want: &Tensor, bound: &Bound) -> Result<(), Mismatch> {
    let text = |t: &Tensor| format!("{}[{}]", t.dtype(), t.shape());
    if got.dtype() != want.dtype() || got.shape() != want.shape() {
        return Err(Mismatch::Type { got: text(got), want: text(want) });
    }
    let shape = *want.shape();
    if !got.dtype().is_float() && matches!(bound, Bound::Exact) {
        // Integers past 2^53 would pass as equal in f64.
        let (got, want) = (got.to_i64(), want.to_i64());
        let off = |i: &usize| got[*i] != want[*i];
        return first_off(got.len(), off, |i| (got[i] as f64, want[i] as f64, 0.0), shape);
    }
    let (got, want) = (got.to_f64(), want.to_f64());
    let bounds = bound.per_element(&want);
    assert_eq!(bounds.len(), want.len(), "a scale for every element");
    let off = |i: &usize| {
        let (got, want) = (got[*i], want[*i]);
        let same = got == want || (got.is_nan() && want.is_nan());
        // False for a NaN on one side only.
        let near = (got - want).abs() <= bounds[*i];
        !same && !near
    };
    first_off(got.len(), off, |i| (got[i], want[i], bounds[i]), shape)
}

fn first_off(
    len: usize,
    off: impl Fn(&usize) -> bool,
    at: impl Fn(usize) -> (f64, f64, f64),
    shape: Shape,
) -> Result<(), Mismatch> {
    let Some(first) = (0..len).find(&off) else { return Ok(()) };
    let (got, want, bound) = at(first);
    let wrong = (first..len).filter(&off).count();
    let strides = shape.strides();
    let index =
        shape.iter().zip(strides).map(|(&extent, stride)| first / stride % extent).collect();
    Err(Mismatch::Element { index, got, want, bound, wrong, of: len })
}

/// [`compare`], for tests.
///
/// # Panics
/// With the first mismatch.
#[track_caller]
pub fn assert_close(got: &Tensor, want: &Tensor, bound: &Bound) {
    if let Err(mismatch) = compare(got, want, bound) {
        panic!("{mismatch}");
    }
}

/// [`assert_close`] of two lists.
///
/// # Panics
/// With the first mismatch.
#[track_caller]
pub fn assert_close_f32(got: &[f32], want: &[f32], bound: &Bound) {
    let tensor = |data: &[f32]| Tensor::from_slice(&[data.len()], data).expect("a list");
    assert_close(&tensor(got), &tensor(want), bound);
}

/// The sum of the magnitudes of the terms of every output element of a convolution, a dense layer
/// or a matrix product, bias and residual included: the scale of its rounding error. A product of
/// `K` terms in `f32` is off by at most about `K * 2^-24` times this, and by about `sqrt(K) * 2^-24`
/// times this in practice.
///
/// # Errors
/// [`LayerError`] where the layer refuses its operands.
pub fn term_sums(op: &Op, operands: &[Option<&Tensor>]) -> Result<Vec<f64>, LayerError> {
    let mut op = op.clone();
    match &mut op {
        Op::Conv2d(layer) => layer.activation = Activation::Identity,
        Op::DepthwiseConv2d(layer) => layer.activation = Activation::Identity,
        Op::Dense(layer) => layer.activation = Activation::Identity,
        _ => {}
    }
    let magnitude = |tensor: &Tensor| {
        let values = tensor.to_f64().iter().map(|x| x.abs()).collect();
        Tensor::from_vec::<f64>(tensor.shape(), values)
    };
    let operands: Vec<Option<Tensor>> =
        operands.iter().map(|t| t.map(magnitude).transpose()).collect::<Result<_, _>>()?;
    let operands: Vec<Option<&Tensor>> = operands.iter().map(Option::as_ref).collect();
    let sums = op.layer().reference(&operands)?;
    Ok(sums[0].to_f64().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_layers::Dense;

    fn list(data: &[f32]) -> Tensor {
        Tensor::from_slice(&[data.len()], data).unwrap()
    }

    #[test]
    fn the_first_element_out_of_bounds_is_reported() {
        let want = Tensor::from_slice(&[2, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap();
        let got = Tensor::from_slice(&[2, 2], &[1f32, 2.5, 3.0, 3.0]).unwrap();
        let message = compare(&got, &want, &Bound::RelativeToMax(0.1)).unwrap_err().to_string();
        let text = "element [0, 1]: got 2.5e0, want 2e0, off by 5e-1, allowed 4e-1 \
                    (2 of 4 elements are off)";
        assert_eq!(message, text);
        assert_close(&got, &want, &Bound::Absolute(1.0));
    }

    #[test]
    fn nan_equals_only_itself() {
        let (nan, one) = (list(&[f32::NAN]), list(&[1.0]));
        let any = Bound::Absolute(f64::INFINITY);
        assert!(compare(&nan, &nan, &Bound::Exact).is_ok());
        assert!(compare(&nan, &one, &any).is_err());
        assert!(compare(&one, &nan, &any).is_err());
        let infinite = list(&[f32::INFINITY]);
        assert!(compare(&infinite, &infinite, &Bound::Exact).is_ok());
        assert!(compare(&infinite, &one, &Bound::RelativeToMax(1e-3)).is_err());
    }

    #[test]
    fn zeros_of_either_sign_are_equal() {
        assert_close_f32(&[0.0], &[-0.0], &Bound::Exact);
    }

    #[test]
    fn types_must_agree() {
        let message = compare(&list(&[1.0]), &Tensor::scalar(1i64), &Bound::Exact).unwrap_err();
        assert_eq!(message.to_string(), "got f32[1], want i64[scalar]");
    }

    #[test]
    fn large_integers_are_compared_exactly() {
        let (a, b) = (Tensor::scalar(i64::MAX), Tensor::scalar(i64::MAX - 1));
        assert!(compare(&a, &b, &Bound::Exact).is_err());
    }

    #[test]
    fn term_sums_ignore_signs_and_activations() {
        let op = Op::from(Dense { activation: Activation::RELU });
        let x = list(&[1.0, -2.0]);
        let w = Tensor::from_slice(&[1, 2], &[3f32, 4.0]).unwrap();
        let b = list(&[-5.0]);
        assert_eq!(term_sums(&op, &[Some(&x), Some(&w), Some(&b)]).unwrap(), [16.0]);
    }
}
