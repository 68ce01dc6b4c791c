//! Operands without gaps between their rows, and values that come with every run: for training.

use super::builder::{Arg, BufId, Builder, Operand};
use crate::error::LowerError;
use depthwise_kernels::layout::{CopyRows, View};
use depthwise_layers::ir::{Def, ValueId};
use std::sync::Arc;

impl Arg {
    /// What a step has written.
    pub(crate) fn of((buf, view): (BufId, View)) -> Arg {
        Arg { operand: Operand::Buf(buf), view }
    }
}

impl Builder<'_> {
    /// Whether the elements of a value are known only when the network runs.
    pub(crate) fn is_streamed(&self, id: ValueId) -> bool {
        let def = &self.graph.value(id).def;
        matches!(def, Def::Input(_) | Def::Node { .. }) && self.constant(id).is_none()
    }

    /// An `f32` value as an operand without gaps between its rows; copied where it has some.
    pub(crate) fn dense_arg(&mut self, id: ValueId) -> Result<Arg, LowerError> {
        let arg = self.arg(id)?;
        if arg.view.is_contiguous() {
            return Ok(arg);
        }
        let view = View::dense(arg.view.shape);
        let op = CopyRows::new(4, arg.view.rows(), view.rows(), self.threads())?;
        let buf = self.new_buffer(view.rows().len() * 4);
        self.push_draft("Copy", Arc::new(op), None, &[&arg], &[(buf, view)]);
        Ok(Arg::of((buf, view)))
    }

    /// A fresh buffer for a result without gaps between its rows.
    pub(crate) fn dense_output(&mut self, id: ValueId) -> (BufId, View) {
        self.output_in(id, View::dense(self.shape(id)))
    }
}
