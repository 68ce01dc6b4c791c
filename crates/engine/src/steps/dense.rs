//! Dense layers and matrix products.

use super::convolution::shared_weight;
use super::{operand, optional};
use crate::error::LowerError;
use crate::options::DenseWeights;
use crate::plan::{Builder, Packed};
use depthwise_kernels::dense_f16::{DenseF16, DenseSpec, PackedDenseF16};
use depthwise_kernels::gemm_bf16::GemmBf16;
use depthwise_kernels::gemm_f32::{GemmF32, GemmSpec, MatMulF32, MatMulSpec};
use depthwise_layers::Dense;
use depthwise_layers::ir::Node;
use depthwise_tensor::{Shape, broadcast};
use std::sync::Arc;

pub(super) fn dense(b: &mut Builder<'_>, node: &Node, layer: &Dense) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    b.need_f32(x)?;
    let (n, k) = match *b.shape(w).dims() {
        [n, k] => (n, k),
        _ => return Err(LowerError::Unsupported(format!("a weight of shape {}", b.shape(w)))),
    };
    let half = b.choices().dense_weights == DenseWeights::F16;
    let rounded = b.choices().rounds_to_bf16(b.cpu());
    let packed = b.packed(w, optional(node, 2), |packer, w, bias| {
        if half && let Ok(packed) = PackedDenseF16::pack(packer.cpu, k, n, w, bias) {
            return Ok(Packed::DenseF16(Arc::new(packed)));
        }
        Packed::product(packer, rounded, (k, n), w, bias)
    })?;
    let x = b.arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let (m, lda, ldc, activation) = (view.rows().rows, x.view.ld, view.ld, layer.activation);
    let outputs = [(buf, view)];
    match packed {
        Packed::DenseF16(weights) => {
            let spec = DenseSpec { m, lda, ldc, activation };
            b.push(DenseF16::new(weights, spec, b.threads())?, &[&x], &outputs);
        }
        Packed::Gemm(weights) => {
            let spec = GemmSpec { m, lda, ldc, residual_ld: None, activation };
            b.push(GemmF32::new(weights, spec, b.threads())?, &[&x], &outputs);
        }
        Packed::GemmBf16(weights) => {
            let spec = GemmSpec { m, lda, ldc, residual_ld: None, activation };
            b.push(GemmBf16::new(weights, spec, b.threads())?, &[&x], &outputs);
        }
        _ => return Err(shared_weight()),
    }
    Ok(())
}

pub(super) fn matmul(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let (a, rhs) = (operand(node, 0)?, operand(node, 1)?);
    b.need_f32(a)?;
    b.need_f32(rhs)?;
    let (a_shape, b_shape) = (b.shape(a), b.shape(rhs));
    if a_shape.rank() < 2 || b_shape.rank() < 2 {
        return Err(LowerError::Unsupported(format!("vectors ({a_shape} by {b_shape})")));
    }
    let (a, rhs) = (b.arg(a)?, b.arg(rhs)?);
    let (buf, view) = b.output(node.outputs[0]);
    let [m, k] = last_two(&a_shape);
    let [_, n] = last_two(&b_shape);
    let (lda, ldb, ldc) = (a.view.ld, rhs.view.ld, view.ld);
    let batches = batches(&a_shape, &b_shape, [m * lda, k * ldb, m * ldc])?;
    let spec = MatMulSpec { batches, m, k, n, lda, ldb, ldc, b_transposed: false };
    b.push(MatMulF32::new(b.cpu(), spec, b.threads())?, &[&a, &rhs], &[(buf, view)]);
    Ok(())
}

fn last_two(shape: &Shape) -> [usize; 2] {
    [shape[shape.rank() - 2], shape[shape.rank() - 1]]
}

/// Element offsets of a, b and c for every product, the leading dimensions broadcast. `sizes` are
/// the elements from one matrix to the next.
fn batches(a: &Shape, b: &Shape, sizes: [usize; 3]) -> Result<Vec<[usize; 3]>, LowerError> {
    let lead = |s: &Shape| Shape::new(&s[..s.rank() - 2]);
    let invalid = |e: depthwise_tensor::ShapeError| LowerError::Unsupported(e.to_string());
    let (a, b) = (lead(a).map_err(invalid)?, lead(b).map_err(invalid)?);
    let out = broadcast(&a, &b).map_err(invalid)?;
    let index = |s: &Shape, flat: usize| {
        let (strides, outs) = (s.strides(), out.strides());
        let skip = out.rank() - s.rank();
        (0..s.rank())
            .map(|d| (flat / outs[d + skip] % out[d + skip]) % s[d] * strides[d])
            .sum::<usize>()
    };
    Ok((0..out.elements())
        .map(|i| [index(&a, i) * sizes[0], index(&b, i) * sizes[1], i * sizes[2]])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_dimensions_broadcast() {
        let shape = |d: &[usize]| Shape::new(d).unwrap();
        let got = batches(&shape(&[2, 1, 3, 4]), &shape(&[3, 4, 5]), [100, 10, 1]).unwrap();
        let want = [[0, 0, 0], [0, 10, 1], [0, 20, 2], [100, 0, 3], [100, 10, 4], [100, 20, 5]];
        assert_eq!(got, want);
        assert_eq!(batches(&shape(&[3, 4]), &shape(&[4, 5]), [1, 1, 1]).unwrap(), [[0, 0, 0]]);
    }
}
