//! Chains of scalar arithmetic and clips in a normal form.

use super::Rewriter;
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, Binary, BinaryFn, Op, UnaryFn};

/// `min(max(scale * x + offset, min), max)`
///
/// Any chain of additions, multiplications and clips with constants has this form, in whatever
/// order a file writes them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ramp {
    pub(super) scale: f64,
    pub(super) offset: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Ramp {
    /// `x`
    pub(super) const IDENTITY: Ramp = Ramp::affine(1.0, 0.0);

    const fn affine(scale: f64, offset: f64) -> Ramp {
        Ramp { scale, offset, min: f64::NEG_INFINITY, max: f64::INFINITY }
    }

    const fn clip(min: f64, max: f64) -> Ramp {
        Ramp { scale: 1.0, offset: 0.0, min, max }
    }

    /// The factor, where the ramp only multiplies.
    pub(super) fn factor(&self) -> Option<f64> {
        (self.offset == 0.0 && !self.clips()).then_some(self.scale)
    }

    pub(super) fn clips(&self) -> bool {
        self.min > f64::NEG_INFINITY || self.max < f64::INFINITY
    }

    /// `self(inner(x))`; `None` where that has no such form (an empty range, a factor of 0).
    pub(super) fn after(self, inner: Ramp) -> Option<Ramp> {
        let usable = |r: &Ramp| r.scale != 0.0 && r.scale.is_finite() && r.offset.is_finite();
        if !usable(&self) || !usable(&inner) || self.min > self.max || inner.min > inner.max {
            return None;
        }
        let bound = |x: f64| (self.scale * x + self.offset).max(self.min).min(self.max);
        let (a, b) = (bound(inner.min), bound(inner.max));
        Some(Ramp {
            scale: self.scale * inner.scale,
            offset: self.scale * inner.offset + self.offset,
            min: a.min(b),
            max: a.max(b),
        })
    }

    /// The ramp times a factor.
    pub(super) fn times(self, factor: f64) -> Option<Ramp> {
        Ramp::affine(factor, 0.0).after(self)
    }

    /// As a clip, where the ramp does nothing else.
    pub(super) fn as_clip(&self) -> Option<Activation> {
        let plain = self.scale == 1.0 && self.offset == 0.0;
        plain.then_some(Activation::Clip { min: self.min as f32, max: self.max as f32 })
    }
}

/// Whether two numbers agree to the precision of `f32`.
pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1e-3)
}

/// The values that a value is a [`Ramp`] of, nearest first; the first is the value itself.
pub(super) fn chain(rw: &Rewriter<'_>, id: ValueId) -> Vec<(ValueId, Ramp)> {
    const MAX_LINKS: usize = 8;
    let mut links = vec![(id, Ramp::IDENTITY)];
    while links.len() <= MAX_LINKS {
        let &(last, outer) = links.last().expect("starts with one");
        let Some((base, inner)) = link(rw, last) else { break };
        let Some(ramp) = outer.after(inner) else { break };
        links.push((base, ramp));
    }
    links
}

/// The operand of the node that computes a value, and the ramp that the node is.
fn link(rw: &Rewriter<'_>, id: ValueId) -> Option<(ValueId, Ramp)> {
    let (node_id, node) = rw.producer(id)?;
    let x = rw.input(node_id, 0)?;
    match &node.op {
        Op::Activate(activate) => Some((x, activation(activate.activation)?)),
        Op::Unary(unary) if unary.function == UnaryFn::Neg => {
            // Integers wrap at the lowest number.
            rw.ty(x).is_none_or(|ty| ty.dtype.is_float()).then_some((x, Ramp::affine(-1.0, 0.0)))
        }
        Op::Binary(binary) => {
            let y = rw.input(node_id, 1)?;
            let (base, inner) = match (rw.scalar_beside(x, y), rw.scalar_beside(y, x)) {
                (None, Some(c)) => (x, with_scalar_right(binary, c)?),
                (Some(c), None) => (y, with_scalar_left(binary, c)?),
                _ => return None,
            };
            Some((base, activation(binary.activation)?.after(inner)?))
        }
        _ => None,
    }
}

fn activation(activation: Activation) -> Option<Ramp> {
    match activation {
        Activation::HardSigmoid { alpha, beta } => {
            Ramp::clip(0.0, 1.0).after(Ramp::affine(alpha.into(), beta.into()))
        }
        _ => activation.as_clamp().map(|(min, max)| Ramp::clip(min.into(), max.into())),
    }
}

/// `f(x, c)`
fn with_scalar_right(binary: &Binary, c: f64) -> Option<Ramp> {
    match binary.function {
        BinaryFn::Sub => Some(Ramp::affine(1.0, -c)),
        BinaryFn::Div => Some(Ramp::affine(1.0 / c, 0.0)),
        _ => with_scalar(binary, c),
    }
}

/// `f(c, x)`
fn with_scalar_left(binary: &Binary, c: f64) -> Option<Ramp> {
    match binary.function {
        BinaryFn::Sub => Some(Ramp::affine(-1.0, c)),
        _ => with_scalar(binary, c),
    }
}

/// `f(c, x) = f(x, c)`
fn with_scalar(binary: &Binary, c: f64) -> Option<Ramp> {
    match binary.function {
        BinaryFn::Add => Some(Ramp::affine(1.0, c)),
        BinaryFn::Mul => Some(Ramp::affine(c, 0.0)),
        BinaryFn::Max if !c.is_nan() => Some(Ramp::clip(c, f64::INFINITY)),
        BinaryFn::Min if !c.is_nan() => Some(Ramp::clip(f64::NEG_INFINITY, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_compose_as_functions_do() {
        let inner = Ramp::clip(0.0, 6.0).after(Ramp::affine(1.0, 3.0)).unwrap();
        let sixth = Ramp::affine(1.0 / 6.0, 0.0).after(inner).unwrap();
        assert_eq!((sixth.min, sixth.max), (0.0, 1.0));
        assert!(close(sixth.scale, 1.0 / 6.0) && close(sixth.offset, 0.5));
        let mirrored = Ramp::affine(-2.0, 1.0).after(inner).unwrap();
        assert_eq!((mirrored.min, mirrored.max), (-11.0, 1.0));
    }

    #[test]
    fn clips_of_clips_keep_the_last_word() {
        let outer = Ramp::clip(0.0, 6.0);
        let ramp = outer.after(Ramp::clip(8.0, 9.0)).unwrap();
        assert_eq!((ramp.min, ramp.max), (6.0, 6.0));
        assert_eq!(Ramp::clip(3.0, 1.0).after(outer), None);
    }
}
