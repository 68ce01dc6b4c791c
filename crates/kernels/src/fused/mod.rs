//! A chain of convolutions, computed band by band.
//!
//! An inverted residual block widens its input many times over, and what it widens is read once and
//! thrown away. Computed layer by layer, that tensor goes through L3 or memory twice. Here a few
//! output rows are computed at a time, through all layers:
//!
//! ```text
//!  x, in the arena      expanded: a ring of rows     filtered: one band     y, in the arena
//!  +-------------+ 1x1  +-------------+  depthwise   +-------------+ 1x1    +-------------+
//!  |/////////////| ---> | kept        | -----------> | rows of y   | -----> | band of y   |
//!  |/////////////|      | new         |              +-------------+        +-------------+
//!  |             |      +-------------+
//!  +-------------+       stays in L2                  stays in L2
//! ```
//!
//! The layers are the operators of [`gemm_f32`](crate::gemm_f32), [`dwconv_f32`](crate::dwconv_f32)
//! and [`stem`](crate::stem); this family has no kernel of its own. Chunks are ranges of output
//! rows; each computes again the few input rows that it shares with its neighbours.
//!
//! Results are those of the layers one by one, bit for bit.

mod links;
#[cfg(test)]
mod tests;

use crate::dwconv_f32::DwConvF32;
use crate::gemm_f32::GemmF32;
use crate::operator::{Io, KernelError, Operator};
use crate::spatial::{invalid, share, unsupported};
use crate::stem::StemF32;
use links::{Link, Links};
use std::ops::Range;
use std::sync::Arc;

const FAMILY: &str = "fused_f32";

/// Longest chain.
pub const MAX_STAGES: usize = 4;

/// A layer of a chain.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A 1x1 convolution.
    Pointwise(Arc<GemmF32>),
    /// A depthwise convolution.
    Depthwise(Arc<DwConvF32>),
    /// The first convolution of a network; only the first of a chain.
    Stem(Arc<StemF32>),
}

/// A chain of convolutions. Inputs `[x]` or `[x, residual of the last layer]`, output `[y]`.
#[derive(Debug)]
pub struct FusedF32 {
    stages: Vec<Stage>,
    links: Links,
    chunks: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

impl Stage {
    /// The operator of the layer alone.
    pub fn operator(&self) -> &dyn Operator {
        match self {
            Stage::Pointwise(op) => &**op,
            Stage::Depthwise(op) => &**op,
            Stage::Stem(op) => &**op,
        }
    }

    const fn letters(&self) -> &'static str {
        match self {
            Stage::Pointwise(_) => "pw",
            Stage::Depthwise(_) => "dw",
            Stage::Stem(_) => "stem",
        }
    }
}

impl FusedF32 {
    /// The chain of these layers, computed `band` rows of the last one at a time, in up to
    /// `threads` chunks.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where one layer does not read what the one before it writes;
    /// [`KernelError::Unsupported`] for chains of fewer than two or more than [`MAX_STAGES`] layers
    /// or without a depthwise one, for a depthwise layer that feeds another or has a multiplier or
    /// residual, and for a residual before the last layer.
    pub fn new(stages: Vec<Stage>, band: usize, threads: usize) -> Result<FusedF32, KernelError> {
        check_residuals(&stages)?;
        let links = Links::new(&stages, band)?;
        let units = links.pictures * links.units();
        let (first, last) = (stages[0].operator(), stages[stages.len() - 1].operator());
        let mut input_bytes = vec![first.input_bytes()[0]];
        input_bytes.extend(last.input_bytes().get(1));
        let output_bytes = [last.output_bytes()[0]];
        let chunks = threads.min(units).max(1);
        if links.chunk_bytes.checked_mul(chunks).is_none() {
            return Err(invalid(FAMILY, "scratch too large".into()));
        }
        Ok(FusedF32 { stages, links, chunks, input_bytes, output_bytes })
    }

    /// Rows of the last layer that are computed at a time.
    pub fn band(&self) -> usize {
        self.links.band
    }

    /// The layers.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Bytes that one thread works in, beside input and output.
    pub fn chunk_bytes(&self) -> usize {
        self.links.chunk_bytes
    }

    /// Output rows `rows` of picture `n`.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`]; the rows belong to the chunk, and so does `scratch`.
    unsafe fn run_rows(&self, io: &Io<'_>, scratch: *mut u8, n: usize, rows: Range<usize>) {
        let mut done = [0; MAX_STAGES];
        for start in rows.clone().step_by(self.links.band) {
            let band = start..rows.end.min(start + self.links.band);
            let todo = self.links.todo(&self.stages, band, &mut done);
            for (i, rows) in todo.iter().enumerate().take(self.stages.len()) {
                let before = if i == 0 { 0 } else { todo[i - 1].start };
                let at = Position { scratch, n, before };
                // SAFETY: `todo` gives the rows of a layer after those that they are made of.
                unsafe { self.run_stage(io, i, rows.clone(), at) };
            }
        }
    }

    /// Rows `rows` of what layer `i` writes.
    ///
    /// # Safety
    /// - As [`FusedF32::run_rows`].
    /// - The input rows that these rows see are where [`FusedF32::source`] looks for them.
    unsafe fn run_stage(&self, io: &Io<'_>, i: usize, rows: Range<usize>, at: Position) {
        if rows.is_empty() {
            return;
        }
        let (from, to) = (self.links.extents[i], self.links.extents[i + 1]);
        let row_in = |ih: usize| self.source(io, i, ih, at);
        let row_out = |oh: usize| self.target(io, i, oh, rows.start, at);
        match &self.stages[i] {
            Stage::Pointwise(op) => {
                let (_, spec) = op.layout();
                let mut start = rows.start;
                while start < rows.end {
                    let count = self.contiguous(i, start).min(rows.end - start);
                    let residual = spec.residual_ld.map_or(std::ptr::null(), |ld| {
                        let pixel = (at.n * to.h + start) * to.w;
                        io.input::<f32>(1).wrapping_add(pixel * ld)
                    });
                    let inputs = [row_in(start).cast(), residual.cast()];
                    let outputs = [row_out(start).cast()];
                    let rows_io = Io::new(&inputs, &outputs, std::ptr::null_mut());
                    // SAFETY: `count` rows of input and output follow each other (`contiguous`,
                    // and rows that a 1x1 convolution reads always do).
                    unsafe { op.run_rows(&rows_io, 0..count * to.w) };
                    start += count;
                }
            }
            Stage::Depthwise(op) => {
                // SAFETY: the offset lies in the scratch memory of the chunk, which has room for
                // the table of all rows of a band; the output rows follow each other.
                unsafe {
                    let table = at.scratch.add(self.links.stage_scratch[i]);
                    op.run_band(table, rows.clone(), row_in, row_out(rows.start));
                }
            }
            Stage::Stem(op) => {
                let (_, _, ld) = op.layout();
                for oh in rows.clone() {
                    let line = at.n * to.h + oh;
                    // The stem counts its lines from the start of the output.
                    let start = row_out(oh).wrapping_sub(line * to.w * ld);
                    let inputs = [io.input::<u8>(0)];
                    let outputs = [start.cast()];
                    let line_io = Io::new(&inputs, &outputs, std::ptr::null_mut());
                    debug_assert!(i == 0 && from.w > 0);
                    // SAFETY: the line goes to `row_out`; its scratch lies in that of the chunk.
                    unsafe {
                        let scratch = at.scratch.add(self.links.stage_scratch[i]);
                        op.run_line(&line_io, scratch, line);
                    }
                }
            }
        }
    }

    /// Where row `ih` of the input of layer `i` lies.
    fn source(&self, io: &Io<'_>, i: usize, ih: usize, at: Position) -> *const f32 {
        if i == 0 {
            let extent = self.links.extents[0];
            let pixel = (at.n * extent.h + ih) * extent.w;
            return io.input::<f32>(0).wrapping_add(pixel * self.links.ld_in);
        }
        self.links.between[i - 1].row(at.scratch, ih, at.before).cast_const()
    }

    /// Where row `oh` of the output of layer `i` goes, if `first` is the first row of the band.
    fn target(&self, io: &Io<'_>, i: usize, oh: usize, first: usize, at: Position) -> *mut f32 {
        match self.links.between.get(i) {
            Some(link) => link.row(at.scratch, oh, first),
            None => {
                let extent = self.links.extents[i + 1];
                let pixel = (at.n * extent.h + oh) * extent.w;
                io.output::<f32>(0).wrapping_add(pixel * self.links.ld_out)
            }
        }
    }

    /// Rows from `start` on that follow each other in the output of layer `i`.
    fn contiguous(&self, i: usize, start: usize) -> usize {
        match self.links.between.get(i) {
            Some(Link { ring: true, rows, .. }) => rows - start % rows,
            _ => usize::MAX,
        }
    }
}

/// Where a band is computed.
#[derive(Clone, Copy)]
struct Position {
    scratch: *mut u8,
    /// Number of the picture.
    n: usize,
    /// First row that the layer before has computed for this band.
    before: usize,
}

// SAFETY: reads and writes are those of the layers: the first reads its input, the last its residual
// and writes its output, for rows that belong to the chunk alone; all between goes through scratch
// memory, of which every chunk has its own part. `Links` sizes that part for the rows that a band
// needs.
unsafe impl Operator for FusedF32 {
    fn kernel(&self) -> &'static str {
        let letters = |i: usize| self.stages.get(i).map_or("", Stage::letters);
        match (letters(0), letters(1), letters(2), letters(3)) {
            ("pw", "dw", "pw", "") => "fused_f32_pw_dw_pw",
            ("pw", "dw", "", "") => "fused_f32_pw_dw",
            ("dw", "pw", "", "") => "fused_f32_dw_pw",
            ("dw", "pw", "pw", "") => "fused_f32_dw_pw_pw",
            ("stem", "dw", "", "") => "fused_f32_stem_dw",
            ("stem", "dw", "pw", "") => "fused_f32_stem_dw_pw",
            ("stem", "dw", "pw", "pw") => "fused_f32_stem_dw_pw_pw",
            _ => FAMILY,
        }
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.links.chunk_bytes * self.chunks
    }

    fn in_place(&self, i: usize) -> bool {
        // The last layer reads a row of the residual just before it writes that row.
        i == 1 && self.stages[self.stages.len() - 1].operator().in_place(1)
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    fn macs(&self) -> u64 {
        self.stages.iter().map(|stage| stage.operator().macs()).sum()
    }

    fn packed_bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.operator().packed_bytes()).sum()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks);
        let links = &self.links;
        let out = links.extents[self.stages.len()];
        if links.pictures * out.h * out.w == 0 {
            return;
        }
        // SAFETY: every chunk has `chunk_bytes` of scratch memory.
        let scratch = unsafe { io.scratch::<u8>().add(chunk * links.chunk_bytes) };
        let per_picture = links.units();
        let units = share(links.pictures * per_picture, self.chunks, chunk);
        let mut at = units.start;
        while at < units.end {
            let n = at / per_picture;
            let last = units.end.min((n + 1) * per_picture) - n * per_picture;
            // The last unit of a picture has the remainder, too.
            let end = if last == per_picture { out.h } else { last * links.unit };
            let rows = (at - n * per_picture) * links.unit..end;
            // SAFETY: no other chunk has these rows.
            unsafe { self.run_rows(io, scratch, n, rows) };
            at = n * per_picture + last;
        }
    }
}

/// Refuses a residual that is not added by the last layer, a pointwise one.
fn check_residuals(stages: &[Stage]) -> Result<(), KernelError> {
    for (i, stage) in stages.iter().enumerate() {
        let residual = match stage {
            Stage::Pointwise(op) => op.layout().1.residual_ld.is_some() && i + 1 < stages.len(),
            Stage::Depthwise(op) => op.spec().residual_ld.is_some(),
            Stage::Stem(_) => false,
        };
        if residual {
            return Err(unsupported(FAMILY, format!("a residual of layer {i}")));
        }
    }
    Ok(())
}
