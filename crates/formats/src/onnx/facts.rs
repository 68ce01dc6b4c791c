//! What is known of a value while a graph is built: element type and rank, but no extents, which
//! may be free.

use depthwise_layers::{BinaryFn, Op};
use depthwise_tensor::{DType, Tensor};

/// What is known of a value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) dtype: Option<DType>,
    /// Number of dimensions.
    pub(super) rank: Option<usize>,
    /// Number of elements, where there is one dimension: the rank of what has this shape.
    pub(super) len: Option<usize>,
    /// It depends on a node that was not imported; what is not known of it is nobody's fault.
    pub(super) poisoned: bool,
}

impl Facts {
    /// Of the result of a node that was not imported.
    pub(super) const POISONED: Facts = Facts { dtype: None, rank: None, len: None, poisoned: true };

    pub(super) fn known(dtype: DType, rank: usize) -> Facts {
        Facts { dtype: Some(dtype), rank: Some(rank), ..Facts::default() }
    }

    pub(super) fn of_constant(tensor: &Tensor) -> Facts {
        let len = match *tensor.shape().dims() {
            [len] => Some(len),
            _ => None,
        };
        Facts { len, ..Facts::known(tensor.dtype(), tensor.shape().rank()) }
    }

    /// Adds what the file says, where nothing is known.
    pub(super) fn complete(&mut self, dtype: Option<DType>, rank: Option<usize>) {
        self.dtype = self.dtype.or(dtype);
        self.rank = self.rank.or(rank);
    }

    /// Of the results of an operation on such operands.
    pub(super) fn of_results(
        op: &Op,
        operands: &[Option<&Facts>],
        constants: &[Option<&Tensor>],
    ) -> Facts {
        let of = |index: usize| operands.get(index).copied().flatten().copied().unwrap_or_default();
        let len = result_len(op, operands);
        let rank = match len {
            Some(_) => Some(1),
            None => result_rank(op, &of, operands, constants),
        };
        Facts {
            dtype: result_dtype(op, &of),
            rank,
            len,
            poisoned: operands.iter().flatten().any(|facts| facts.poisoned),
        }
    }

    /// Of one of the results, where they differ.
    pub(super) fn of_result(self, op: &Op, output: usize) -> Facts {
        match op {
            Op::TopK(_) if output == 1 => Facts { dtype: Some(DType::I64), ..self },
            _ => self,
        }
    }
}

fn result_dtype(op: &Op, of: &impl Fn(usize) -> Facts) -> Option<DType> {
    match op {
        Op::Binary(binary) => match binary.function {
            BinaryFn::Equal
            | BinaryFn::Less
            | BinaryFn::LessOrEqual
            | BinaryFn::Greater
            | BinaryFn::GreaterOrEqual => Some(DType::Bool),
            _ => of(0).dtype.or(of(1).dtype),
        },
        Op::Cast(cast) => Some(cast.to),
        Op::Quantize(quantize) => Some(quantize.dtype),
        Op::Dequantize(_) => Some(DType::F32),
        Op::ShapeOf(_) | Op::ArgExtreme(_) | Op::MaxPositions(_) => Some(DType::I64),
        Op::ConstantOfShape(fill) => Some(fill.value.dtype()),
        Op::Select(_) => of(1).dtype.or(of(2).dtype),
        _ => of(0).dtype,
    }
}

/// The rank of the result; `None` also for operations whose rank is seldom asked for.
fn result_rank(
    op: &Op,
    of: &impl Fn(usize) -> Facts,
    operands: &[Option<&Facts>],
    constants: &[Option<&Tensor>],
) -> Option<usize> {
    let reduced = |axes: usize, keep_dims: bool| match (keep_dims, axes) {
        (true, _) => of(0).rank,
        (false, 0) => Some(0),
        (false, axes) => of(0).rank?.checked_sub(axes),
    };
    // The number of elements of a shape operand.
    let extents = |index: usize| {
        let constant = constants.get(index).copied().flatten().map(Tensor::elements);
        constant.or(of(index).len)
    };
    match op {
        Op::Conv2d(_) | Op::ConvTranspose2d(_) | Op::DepthwiseConv2d(_) | Op::Pool2d(_) => Some(4),
        Op::MaxPositions(_) => Some(4),
        Op::Flatten(_) => Some(2),
        Op::Range(_) | Op::ShapeOf(_) => Some(1),
        Op::Binary(_) | Op::Select(_) | Op::MatMul(_) => {
            let ranks: Option<Vec<usize>> = operands.iter().flatten().map(|f| f.rank).collect();
            let vector = matches!(op, Op::MatMul(_)) && ranks.as_ref()?.contains(&1);
            if vector { None } else { ranks?.into_iter().max() }
        }
        Op::Concat(_) => operands.iter().flatten().find_map(|facts| facts.rank),
        Op::Reduce(reduce) => reduced(reduce.axes.len(), reduce.keep_dims),
        Op::ArgExtreme(arg) => reduced(1, arg.keep_dims),
        Op::Squeeze(squeeze) if squeeze.axes.is_empty() => None,
        Op::Squeeze(squeeze) => of(0).rank?.checked_sub(squeeze.axes.len()),
        Op::Unsqueeze(unsqueeze) => Some(of(0).rank? + unsqueeze.axes.len()),
        Op::Gather(_) => (of(0).rank? + of(1).rank?).checked_sub(1),
        // The number of coordinates is an extent of the indices.
        Op::GatherNd(gather) => {
            let depth = *constants.get(1).copied().flatten()?.shape().last()?;
            (of(0).rank? + of(1).rank?).checked_sub(depth.checked_add(1 + gather.batch_dims)?)
        }
        Op::Reshape(_) => extents(1),
        Op::Expand(_) => Some(of(0).rank?.max(extents(1)?)),
        Op::ConstantOfShape(_) => extents(0),
        _ => of(0).rank,
    }
}

/// The length of a result of one dimension, in the chains of operations that compute shapes.
fn result_len(op: &Op, operands: &[Option<&Facts>]) -> Option<usize> {
    let first = operands.first().copied().flatten()?;
    match op {
        Op::ShapeOf(shape) if shape.start == 0 && shape.end.is_none() => first.rank,
        Op::Concat(_) => operands.iter().map(|facts| (*facts)?.len).sum(),
        Op::Unsqueeze(unsqueeze) if first.rank == Some(0) && unsqueeze.axes.len() == 1 => Some(1),
        Op::Cast(_) | Op::Unary(_) | Op::Activate(_) => first.len,
        Op::Binary(_) => {
            let second = operands.get(1).copied().flatten()?;
            match (first.len, second.len) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (Some(a), None) if second.rank == Some(0) => Some(a),
                (None, Some(b)) if first.rank == Some(0) => Some(b),
                _ => None,
            }
        }
        _ => None,
    }
}
