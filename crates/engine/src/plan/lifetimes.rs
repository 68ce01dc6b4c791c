//! How long buffers live, which are one, and where they lie.

use super::builder::{BufId, Builder, Operand};
use super::memory::{self, Record};

impl Builder<'_> {
    /// Finds which steps touch each buffer, once their order stands, and gives each step its
    /// scratch memory. What is read after the last step, `kept`, lives to the end.
    pub(super) fn set_lifetimes(&mut self, kept: &[BufId]) {
        let end = self.drafts.len();
        for step in 0..end {
            let bytes = self.drafts[step].op.scratch_bytes();
            if bytes > 0 {
                self.drafts[step].scratch = Some(self.new_buffer(bytes));
            }
        }
        for buffer in &mut self.buffers {
            (buffer.first, buffer.last) = (end, 0);
        }
        for step in 0..end {
            let draft = &self.drafts[step];
            let read = draft.inputs.iter().filter_map(|operand| match operand {
                Operand::Buf(buf) => Some(buf),
                Operand::Const(_) => None,
            });
            for buf in read.chain(&draft.outputs).chain(&draft.scratch) {
                let buffer = &mut self.buffers[buf.0];
                (buffer.first, buffer.last) = (buffer.first.min(step), buffer.last.max(step));
            }
        }
        for buf in kept {
            self.buffers[buf.0].last = end;
        }
        // What no step touches any more.
        for buffer in self.buffers.iter_mut().filter(|b| b.first > b.last && !b.pinned) {
            (buffer.first, buffer.last, buffer.bytes) = (0, 0, 0);
        }
    }

    /// Lets steps write over an input that nothing reads afterwards.
    pub(super) fn merge_in_place(&mut self) {
        for step in 0..self.drafts.len() {
            let draft = &self.drafts[step];
            let Some(&output) = draft.outputs.first() else { continue };
            let output = self.root(output);
            let candidate = draft.inputs.iter().enumerate().find_map(|(i, operand)| {
                let Operand::Buf(buf) = operand else { return None };
                let buf = self.root(*buf);
                let buffer = &self.buffers[buf.0];
                let dies = buffer.last == step && !buffer.pinned && buf != output;
                let once = draft.inputs.iter().filter(|o| self.reads(o, buf)).count() == 1;
                let fits = buffer.bytes >= self.buffers[output.0].bytes;
                let born = self.buffers[output.0].first == step;
                (dies && once && fits && born && draft.op.in_place(i)).then_some(buf)
            });
            if let Some(buf) = candidate {
                self.buffers[buf.0].last = self.buffers[output.0].last;
                self.buffers[output.0].merged = Some(buf);
            }
        }
    }

    fn reads(&self, operand: &Operand, buf: BufId) -> bool {
        matches!(operand, Operand::Buf(b) if self.root(*b) == buf)
    }

    pub(super) fn root(&self, mut buf: BufId) -> BufId {
        while let Some(into) = self.buffers[buf.0].merged {
            buf = into;
        }
        buf
    }

    pub(super) fn lay_out(&self) -> memory::Layout {
        let end = self.drafts.len();
        let records: Vec<Record> = self
            .buffers
            .iter()
            .map(|b| Record {
                bytes: if b.merged.is_some() { 0 } else { b.bytes.next_multiple_of(64) },
                live: if b.pinned { 0..=end } else { b.first..=b.last },
            })
            .collect();
        memory::place(&records)
    }
}
