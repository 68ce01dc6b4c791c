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
//! and [`stem`](crate::stem), or of [`gemm_qs8`](crate::gemm_qs8), [`dwconv_qs8`](crate::dwconv_qs8)
//! and [`conv2d_qs8`](crate::conv2d_qs8); this family has no kernel of its own. What lies between
//! layers of bytes is bytes: each widens the rows that it reads in scratch memory, as it does alone.
//! Chunks are ranges of output rows; each computes again the few input rows that it shares with its
//! neighbours.
//!
//! Results are those of the layers one by one, bit for bit.

mod links;
mod stage;
#[cfg(test)]
mod tests;

use crate::gemm_qs8::{Operands, Product};
use crate::operator::{Io, KernelError, Operator};
use crate::spatial::{invalid, share, unsupported};
use links::{Link, Links};
pub use stage::{Kind, Stage};
use std::ops::Range;

const FAMILY: &str = "fused";

/// Longest chain.
pub const MAX_STAGES: usize = 4;

/// A chain of convolutions. Inputs `[x]` or `[x, residual of the last layer]`, output `[y]`.
#[derive(Debug)]
pub struct Fused {
    name: &'static str,
    stages: Vec<Stage>,
    links: Links,
    chunks: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

impl Fused {
    /// The chain of these layers, computed `band` rows of the last one at a time, in up to
    /// `threads` chunks.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where one layer does not read what the one before it writes;
    /// [`KernelError::Unsupported`] for chains of fewer than two or more than [`MAX_STAGES`] layers
    /// or without a depthwise one, for a depthwise layer that feeds another or has a multiplier or
    /// residual, and for a residual before the last layer.
    pub fn new(stages: Vec<Stage>, band: usize, threads: usize) -> Result<Fused, KernelError> {
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
        Ok(Fused { name: name(&stages), stages, links, chunks, input_bytes, output_bytes })
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
            let todo = self.links.todo(band, &mut done);
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
    /// - As [`Fused::run_rows`].
    /// - The input rows that these rows see are where [`Fused::source`] looks for them.
    unsafe fn run_stage(&self, io: &Io<'_>, i: usize, rows: Range<usize>, at: Position) {
        if rows.is_empty() {
            return;
        }
        let to = self.links.extents[i + 1];
        let row_in = |ih: usize| self.source(io, i, ih, at);
        let row_out = |oh: usize| self.target(io, i, oh, rows.start, at);
        match &self.stages[i] {
            Stage::Pointwise(op) => {
                let (_, spec) = op.layout();
                for run in self.runs(i, rows.clone()) {
                    let residual = spec.residual_ld.map_or(std::ptr::null(), |ld| {
                        let pixel = (at.n * to.h + run.start) * to.w;
                        io.input::<f32>(1).wrapping_add(pixel * ld)
                    });
                    let inputs = [row_in(run.start), residual.cast()];
                    let outputs = [row_out(run.start)];
                    let rows_io = Io::new(&inputs, &outputs, std::ptr::null_mut());
                    // SAFETY: the rows of input and output follow each other (`runs`, and rows
                    // that a 1x1 convolution reads always do).
                    unsafe { op.run_rows(&rows_io, 0..run.len() * to.w) };
                }
            }
            Stage::Depthwise(op) => {
                // SAFETY: the scratch memory of the chunk has room for the table of all rows of a
                // band; the output rows follow each other.
                unsafe {
                    let row = |ih| row_in(ih).cast();
                    op.run_band(at.scratch, rows.clone(), row, row_out(rows.start).cast());
                }
            }
            Stage::Stem(op) => {
                for oh in rows.clone() {
                    let line = at.n * to.h + oh;
                    // The stem counts its lines from the start of the output.
                    let start = row_out(oh).wrapping_sub(line * self.links.row_bytes[i + 1]);
                    let inputs = [io.input::<u8>(0)];
                    let outputs = [start];
                    let line_io = Io::new(&inputs, &outputs, std::ptr::null_mut());
                    debug_assert!(i == 0);
                    // SAFETY: the line goes to `row_out`, and the chunk has its scratch memory.
                    unsafe { op.run_line(&line_io, at.scratch, line) };
                }
            }
            Stage::PointwiseQs8(op) => {
                for run in self.runs(i, rows.clone()) {
                    let input = row_in(run.start);
                    let end = match i {
                        0 => io.input::<u8>(0).wrapping_add(self.input_bytes[0]),
                        _ => input.wrapping_add(run.len() * self.links.row_bytes[i]),
                    };
                    let output = row_out(run.start);
                    let operands = Operands { input, end, output, scratch: at.scratch };
                    // SAFETY: as for rows of `f32`; those between layers are whole.
                    unsafe { op.product().run_rows(operands, 0..run.len() * to.w) };
                }
            }
            Stage::DepthwiseQs8(op) => {
                // SAFETY: as for rows of `f32`; rows that are not made yet are slots of the ring.
                unsafe { op.run_band(at.scratch, rows.clone(), row_in, row_out(rows.start)) };
            }
            Stage::StemQs8(op) => {
                for run in self.runs(i, rows.clone()) {
                    // SAFETY: these rows go to `row_out`, one behind the other.
                    unsafe { self.run_stem(io, op.product(), run.clone(), row_out(run.start), at) };
                }
            }
        }
    }

    /// Rows `rows` of the first layer, a convolution of bytes, to `output`.
    ///
    /// # Safety
    /// - As [`Fused::run_rows`].
    /// - The rows from `output` on are valid for writes and nobody else touches them.
    unsafe fn run_stem(
        &self,
        io: &Io<'_>,
        product: &Product,
        rows: Range<usize>,
        output: *mut u8,
        at: Position,
    ) {
        let to = self.links.extents[1];
        let first = at.n * to.h + rows.start;
        let input = io.input::<u8>(0);
        let operands = Operands {
            input,
            end: input.wrapping_add(self.input_bytes[0]),
            // The product counts its rows from the first picture on.
            output: output.wrapping_sub(first * self.links.row_bytes[1]),
            scratch: at.scratch,
        };
        // SAFETY: the input is there as a whole, and the caller vouches for the output.
        unsafe { product.run_rows(operands, first * to.w..(first + rows.len()) * to.w) };
    }

    /// Where row `ih` of the input of layer `i` lies.
    fn source(&self, io: &Io<'_>, i: usize, ih: usize, at: Position) -> *const u8 {
        if i == 0 {
            let row = at.n * self.links.extents[0].h + ih;
            return io.input::<u8>(0).wrapping_add(row * self.links.row_bytes[0]);
        }
        self.links.between[i - 1].row(at.scratch, ih, at.before).cast_const()
    }

    /// Where row `oh` of the output of layer `i` goes, if `first` is the first row of the band.
    fn target(&self, io: &Io<'_>, i: usize, oh: usize, first: usize, at: Position) -> *mut u8 {
        match self.links.between.get(i) {
            Some(link) => link.row(at.scratch, oh, first),
            None => {
                let row = at.n * self.links.extents[i + 1].h + oh;
                io.output::<u8>(0).wrapping_add(row * self.links.row_bytes[i + 1])
            }
        }
    }

    /// The rows in runs that follow each other in the output of layer `i`.
    fn runs(&self, i: usize, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let slots = match self.links.between.get(i) {
            Some(Link { ring: true, rows, .. }) => Some(*rows),
            _ => None,
        };
        let mut start = rows.start;
        std::iter::from_fn(move || {
            let count = slots.map_or(usize::MAX, |slots| slots - start % slots);
            let run = start..rows.end.min(start.saturating_add(count));
            start = run.end;
            (!run.is_empty()).then_some(run)
        })
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
unsafe impl Operator for Fused {
    fn kernel(&self) -> &'static str {
        self.name
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
        let last = i + 1 == stages.len() && stage.kind() == Kind::Pointwise;
        if stage.has_residual() && !last {
            return Err(unsupported(FAMILY, format!("a residual of layer {i}")));
        }
    }
    Ok(())
}

/// The name of a chain of `f32`, and of one of bytes.
const NAMES: [(&[Kind], [&str; 2]); 7] = {
    use Kind::{Depthwise, Pointwise, Stem};
    [
        (&[Pointwise, Depthwise, Pointwise], ["fused_f32_pw_dw_pw", "fused_qs8_pw_dw_pw"]),
        (&[Pointwise, Depthwise], ["fused_f32_pw_dw", "fused_qs8_pw_dw"]),
        (&[Depthwise, Pointwise], ["fused_f32_dw_pw", "fused_qs8_dw_pw"]),
        (&[Depthwise, Pointwise, Pointwise], ["fused_f32_dw_pw_pw", "fused_qs8_dw_pw_pw"]),
        (&[Stem, Depthwise], ["fused_f32_stem_dw", "fused_qs8_stem_dw"]),
        (&[Stem, Depthwise, Pointwise], ["fused_f32_stem_dw_pw", "fused_qs8_stem_dw_pw"]),
        (
            &[Stem, Depthwise, Pointwise, Pointwise],
            ["fused_f32_stem_dw_pw_pw", "fused_qs8_stem_dw_pw_pw"],
        ),
    ]
};

fn name(stages: &[Stage]) -> &'static str {
    let kinds: Vec<Kind> = stages.iter().map(Stage::kind).collect();
    let bytes = stages.iter().any(Stage::is_of_bytes);
    let known = NAMES.iter().find(|(chain, _)| *chain == kinds);
    known.map_or(FAMILY, |(_, names)| names[usize::from(bytes)])
}
