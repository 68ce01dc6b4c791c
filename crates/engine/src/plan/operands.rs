//! What steps ask of their operands.

use super::builder::{Arg, Builder, Operand};
use crate::error::LowerError;
use depthwise_kernels::layout::View;
use depthwise_layers::ir::ValueId;
use depthwise_tensor::{AlignedBuf, DType};

impl Builder<'_> {
    /// A constant whose rows start on whole vectors.
    pub(super) fn padded_constant(&mut self, id: ValueId) -> Result<Arg, LowerError> {
        let tensor = self.need_constant(id)?;
        let data = tensor.to_f32();
        let view = View::padded(*tensor.shape());
        let rows = view.rows();
        let mut buf = AlignedBuf::zeroed(rows.len() * 4)?;
        if !rows.is_empty() {
            let padded = buf.as_mut_slice::<f32>();
            for (to, from) in padded.chunks_exact_mut(rows.ld).zip(data.chunks_exact(rows.c)) {
                to[..rows.c].copy_from_slice(from);
            }
        }
        Ok(Arg { operand: Operand::Const(buf.into_bytes()), view })
    }

    /// Refuses a value that is not `f32`, or a constant that cannot become it.
    pub(crate) fn need_f32(&self, id: ValueId) -> Result<(), LowerError> {
        let ty = self.ty(id);
        if ty.dtype == DType::F32 || (self.constant(id).is_some() && ty.dtype.is_float()) {
            return Ok(());
        }
        let name = &self.graph.value(id).name;
        Err(LowerError::Unsupported(format!("\"{name}\" is {}, not f32", ty.dtype)))
    }
}
