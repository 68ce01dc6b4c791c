//! Arithmetic, functions, reductions and products.

use super::{Gradients, Rule};
use crate::builder::Builder;
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Activation, Binary, BinaryFn, MatMul, Reduce, ReduceFn, Select, Softmax, UnaryFn,
};

impl Rule<'_> {
    pub(super) fn binary(&self, b: &mut Builder, layer: &Binary) -> Gradients {
        if layer.activation != Activation::Identity {
            return Err(self.none("its activation is not split off"));
        }
        let function = layer.function;
        if function.is_comparison() || function.is_logical() {
            return Ok(vec![]);
        }
        let (x, y) = (self.x(0), self.x(1));
        let operands = [x, y];
        let mut gradients = vec![None, None];
        for side in 0..2 {
            if self.wants(side) {
                let whole = self.binary_side(b, function, (x, y), side)?;
                let shape = b.shape(operands[side]);
                gradients[side] = Some(b.sum_to(whole, &shape)?);
            }
        }
        Ok(gradients)
    }

    /// The gradient of one operand, not summed to its shape yet.
    fn binary_side(
        &self,
        b: &mut Builder,
        function: BinaryFn,
        (x, y): (ValueId, ValueId),
        side: usize,
    ) -> Result<ValueId, crate::TrainError> {
        let dy = self.dy();
        match (function, side) {
            (BinaryFn::Add, _) | (BinaryFn::Sub, 0) => Ok(dy),
            (BinaryFn::Sub, _) => b.unary(UnaryFn::Neg, dy),
            (BinaryFn::Mul, 0) => b.mul(dy, y),
            (BinaryFn::Mul, _) => b.mul(dy, x),
            (BinaryFn::Div, 0) => b.binary(BinaryFn::Div, dy, y),
            (BinaryFn::Div, _) => {
                // -x / y^2 = -(x / y) / y
                let part = b.mul(dy, self.y())?;
                let part = b.binary(BinaryFn::Div, part, y)?;
                b.unary(UnaryFn::Neg, part)
            }
            (BinaryFn::Min | BinaryFn::Max, side) => {
                // Where both are equal the first operand has the gradient.
                let wins = match function {
                    BinaryFn::Min => b.binary(BinaryFn::LessOrEqual, x, y)?,
                    _ => b.binary(BinaryFn::GreaterOrEqual, x, y)?,
                };
                let zero = b.number(0.0, dy);
                let (a, c) = if side == 0 { (dy, zero) } else { (zero, dy) };
                b.emit(Select, &[wins, a, c])
            }
            (BinaryFn::Pow, 0) => {
                let one = b.number(1.0, y);
                let lower = b.sub(y, one)?;
                let power = b.binary(BinaryFn::Pow, x, lower)?;
                let slope = b.mul(power, y)?;
                b.mul(dy, slope)
            }
            (BinaryFn::Pow, _) => {
                let log = b.unary(UnaryFn::Log, x)?;
                let slope = b.mul(self.y(), log)?;
                b.mul(dy, slope)
            }
            _ => Err(self.none(format!("{function:?} has no gradient"))),
        }
    }

    pub(super) fn unary(&self, b: &mut Builder, function: UnaryFn) -> Gradients {
        let (x, y, dy) = (self.x(0), self.y(), self.dy());
        let dx = match function {
            UnaryFn::Neg => b.unary(UnaryFn::Neg, dy)?,
            UnaryFn::Abs => {
                let sign = b.unary(UnaryFn::Sign, x)?;
                b.mul(dy, sign)?
            }
            UnaryFn::Exp => b.mul(dy, y)?,
            UnaryFn::Log => b.binary(BinaryFn::Div, dy, x)?,
            UnaryFn::Sqrt => {
                let half = b.scale(dy, 0.5)?;
                b.binary(BinaryFn::Div, half, y)?
            }
            UnaryFn::Reciprocal => {
                let square = b.unary(UnaryFn::Square, y)?;
                let part = b.mul(dy, square)?;
                b.unary(UnaryFn::Neg, part)?
            }
            UnaryFn::Square => {
                let twice = b.scale(x, 2.0)?;
                b.mul(dy, twice)?
            }
            UnaryFn::Rsqrt => {
                // -y^3 / 2
                let square = b.unary(UnaryFn::Square, y)?;
                let cube = b.mul(square, y)?;
                let slope = b.scale(cube, -0.5)?;
                b.mul(dy, slope)?
            }
            UnaryFn::Erf => {
                let square = b.unary(UnaryFn::Square, x)?;
                let negative = b.unary(UnaryFn::Neg, square)?;
                let bell = b.unary(UnaryFn::Exp, negative)?;
                let slope = b.scale(bell, 2.0 / std::f64::consts::PI.sqrt())?;
                b.mul(dy, slope)?
            }
            UnaryFn::Sin => {
                let slope = b.unary(UnaryFn::Cos, x)?;
                b.mul(dy, slope)?
            }
            UnaryFn::Cos => {
                let sine = b.unary(UnaryFn::Sin, x)?;
                let slope = b.unary(UnaryFn::Neg, sine)?;
                b.mul(dy, slope)?
            }
            // Steps: flat wherever they have a slope.
            UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Round | UnaryFn::Sign => return Ok(vec![]),
            other => return Err(self.none(format!("{other:?} has no gradient"))),
        };
        Ok(vec![Some(dx)])
    }

    pub(super) fn prelu(&self, b: &mut Builder) -> Gradients {
        let (x, slope, dy) = (self.x(0), self.x(1), self.dy());
        let zero = b.number(0.0, x);
        let dx = match self.wants(0) {
            true => {
                let positive = b.binary(BinaryFn::Greater, x, zero)?;
                let below = b.mul(dy, slope)?;
                Some(b.emit(Select, &[positive, dy, below])?)
            }
            false => None,
        };
        if !self.wants(1) {
            return Ok(vec![dx]);
        }
        let negative = b.binary(BinaryFn::Min, x, zero)?;
        let part = b.mul(dy, negative)?;
        let shape = b.shape(slope);
        Ok(vec![dx, Some(b.sum_to(part, &shape)?)])
    }

    pub(super) fn select(&self, b: &mut Builder) -> Gradients {
        let (condition, dy) = (self.x(0), self.dy());
        let zero = b.number(0.0, dy);
        let mut gradients = vec![None];
        for side in 1..3 {
            let chosen = if side == 1 { [condition, dy, zero] } else { [condition, zero, dy] };
            gradients.push(match self.wants(side) {
                true => {
                    let whole = b.emit(Select, &chosen)?;
                    let shape = b.shape(self.x(side));
                    Some(b.sum_to(whole, &shape)?)
                }
                false => None,
            });
        }
        Ok(gradients)
    }

    pub(super) fn reduce(&self, b: &mut Builder, layer: &Reduce) -> Gradients {
        let x = self.x(0);
        let shape = b.shape(x);
        let (count, _) = layer.resolve(&shape).map_err(|e| self.none(e.to_string()))?;
        let kept: Vec<usize> = {
            let reduced: Vec<usize> =
                layer.axes.iter().filter_map(|&axis| shape.axis(axis)).collect();
            let gone = |axis: &usize| reduced.is_empty() || reduced.contains(axis);
            (0..shape.rank()).map(|axis| if gone(&axis) { 1 } else { shape[axis] }).collect()
        };
        let dy = b.reshape(self.dy(), &kept)?;
        let y = b.reshape(self.y(), &kept)?;
        let dx = match layer.function {
            ReduceFn::Sum => b.expand(dy, &shape)?,
            ReduceFn::Mean => {
                let part = b.scale(dy, 1.0 / count as f64)?;
                b.expand(part, &shape)?
            }
            ReduceFn::L1 => {
                let sign = b.unary(UnaryFn::Sign, x)?;
                b.mul(sign, dy)?
            }
            ReduceFn::SumSquare => {
                let twice = b.scale(dy, 2.0)?;
                b.mul(x, twice)?
            }
            ReduceFn::L2 => {
                let part = b.binary(BinaryFn::Div, dy, y)?;
                b.mul(x, part)?
            }
            ReduceFn::LogSum => {
                let sum = b.unary(UnaryFn::Exp, y)?;
                let part = b.binary(BinaryFn::Div, dy, sum)?;
                b.expand(part, &shape)?
            }
            ReduceFn::LogSumExp => {
                let below = b.sub(x, y)?;
                let part = b.unary(UnaryFn::Exp, below)?;
                b.mul(part, dy)?
            }
            ReduceFn::Max | ReduceFn::Min => extreme(b, x, y, dy)?,
            other => return Err(self.none(format!("{other:?} has no gradient"))),
        };
        Ok(vec![Some(dx)])
    }

    pub(super) fn softmax(&self, b: &mut Builder, layer: &Softmax) -> Gradients {
        let (y, dy) = (self.y(), self.dy());
        let Some(axis) = b.shape(y).axis(layer.axis) else {
            return Err(self.none(format!("axis {} is out of range", layer.axis)));
        };
        let dx = if layer.log {
            let p = b.unary(UnaryFn::Exp, y)?;
            let sum = b.reduce(ReduceFn::Sum, dy, &[axis])?;
            let part = b.mul(p, sum)?;
            b.sub(dy, part)?
        } else {
            let part = b.mul(dy, y)?;
            let sum = b.reduce(ReduceFn::Sum, part, &[axis])?;
            let rest = b.sub(dy, sum)?;
            b.mul(y, rest)?
        };
        Ok(vec![Some(dx)])
    }

    /// `da = dy . b^T`, `db = a^T . dy`, each summed over the dimensions it was repeated along.
    pub(super) fn matmul(&self, b: &mut Builder) -> Gradients {
        let (lhs, rhs, dy) = (self.x(0), self.x(1), self.dy());
        let (left, right) = (b.shape(lhs), b.shape(rhs));
        if left.rank() < 2 || right.rank() < 2 {
            return Err(self.none(format!("an operand is a vector ({left} by {right})")));
        }
        let swapped = |b: &mut Builder, id: ValueId| {
            let rank = b.shape(id).rank();
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            b.transpose(id, &perm)
        };
        let da = match self.wants(0) {
            true => {
                let turned = swapped(b, rhs)?;
                let whole = b.emit(MatMul, &[dy, turned])?;
                Some(b.sum_to(whole, &left)?)
            }
            false => None,
        };
        let db = match self.wants(1) {
            true => {
                let turned = swapped(b, lhs)?;
                let whole = b.emit(MatMul, &[turned, dy])?;
                Some(b.sum_to(whole, &right)?)
            }
            false => None,
        };
        Ok(vec![da, db])
    }
}

/// The gradient of an extreme `y` of `x`: equal ones share it.
fn extreme(
    b: &mut Builder,
    x: ValueId,
    y: ValueId,
    dy: ValueId,
) -> Result<ValueId, crate::TrainError> {
    let kept = b.shape(y);
    let wins = b.binary(BinaryFn::Equal, x, y)?;
    let (one, zero) = (b.number(1.0, x), b.number(0.0, x));
    let mask = b.emit(Select, &[wins, one, zero])?;
    let winners = b.sum_to(mask, &kept)?;
    let part = b.binary(BinaryFn::Div, dy, winners)?;
    b.mul(mask, part)
}
