//! Filters in another order.

use depthwise_tensor::{AlignedBuf, Shape, Tensor, TensorError};

/// The tensor with dimension `order[i]` of the old at `i` of the new. Shares the bytes where only
/// dimensions of extent 1 move.
pub(crate) fn permute(tensor: &Tensor, order: &[usize]) -> Result<Tensor, TensorError> {
    let shape = tensor.shape();
    debug_assert_eq!(shape.rank(), order.len());
    let dims: Vec<usize> = order.iter().map(|&axis| shape.dims()[axis]).collect();
    if order.iter().filter(|&&axis| shape.dims()[axis] != 1).is_sorted() {
        return tensor.reshape(&dims);
    }
    let size = tensor.dtype().size_bytes();
    let mut buf = AlignedBuf::zeroed(tensor.bytes().len())?;
    let strides = order.iter().map(|&axis| shape.strides()[axis] * size).collect::<Vec<_>>();
    let mut index = vec![0; dims.len()];
    for out in buf.bytes_mut().chunks_exact_mut(size) {
        let from = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>();
        out.copy_from_slice(&tensor.bytes()[from..from + size]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Tensor::new(tensor.dtype(), Shape::new(&dims)?, buf.into_bytes())
}
