//! What lies between the layers of a chain, and which rows a band needs of it.

use super::{FAMILY, MAX_STAGES, Stage};
use crate::operator::KernelError;
use crate::spatial::{bytes_of, invalid, unsupported};
use depthwise_tensor::{ConvGeometry, Hw};
use std::ops::Range;

/// Rows between two layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Byte of the chunk's scratch memory.
    offset: usize,
    /// Elements of a row.
    row_len: usize,
    /// Rows that there is room for.
    pub(super) rows: usize,
    /// Row `i` lies in slot `i % rows`, and stays for later bands. Otherwise the first row of the
    /// band lies in slot 0.
    pub(super) ring: bool,
}

impl Link {
    /// Where row `row` lies, if `first` is the first row of the band.
    pub(super) fn row(&self, scratch: *mut u8, row: usize, first: usize) -> *mut f32 {
        let slot = if self.ring { row % self.rows } else { row - first };
        debug_assert!(slot < self.rows);
        scratch.wrapping_add(self.offset).cast::<f32>().wrapping_add(slot * self.row_len)
    }
}

/// Extents of a chain.
#[derive(Debug)]
pub(super) struct Links {
    /// Pictures.
    pub(super) pictures: usize,
    /// Rows and pixels of the input of the first layer, then of the output of each.
    pub(super) extents: Vec<Hw>,
    /// Pixel stride of the input of the first layer.
    pub(super) ld_in: usize,
    /// Pixel stride of the output of the last layer.
    pub(super) ld_out: usize,
    /// What lies between the layers.
    pub(super) between: Vec<Link>,
    /// Byte of the chunk's scratch memory that is layer `i`'s own.
    pub(super) stage_scratch: Vec<usize>,
    /// Bytes of scratch memory of one chunk.
    pub(super) chunk_bytes: usize,
    /// Rows of the last layer at a time.
    pub(super) band: usize,
    /// Fewest rows that the last layer computes.
    pub(super) unit: usize,
}

/// Bytes of a page; buffers whose offsets agree modulo this slow each other down.
const PAGE: usize = 4096;
/// From buffer to buffer modulo [`PAGE`].
const SKEW: usize = 1344;

impl Links {
    pub(super) fn new(stages: &[Stage], band: usize) -> Result<Links, KernelError> {
        check_kinds(stages)?;
        let (pictures, extents) = extents(stages)?;
        check_strides(stages)?;
        let last = stages.len() - 1;
        let mut links = Links {
            pictures,
            ld_in: strides(&stages[0]).0,
            ld_out: strides(&stages[last]).1,
            between: Vec::with_capacity(last),
            stage_scratch: vec![0; stages.len()],
            chunk_bytes: 0,
            band: band.clamp(1, extents[last + 1].h.max(1)),
            unit: unit(&stages[last]),
            extents,
        };
        // Whole tiles of the last depthwise layer, or it would compute rows twice.
        let tile = stages.iter().rev().map(unit).find(|&unit| unit > 1).unwrap_or(1);
        links.band = links.band.next_multiple_of(tile);
        // Rows that each layer computes at most at a time.
        let mut rows = vec![links.band; stages.len()];
        for i in (0..last).rev() {
            rows[i] = most_input_rows(&stages[i + 1], rows[i + 1])
                .min(links.extents[i + 1].h)
                .max(unit(&stages[i]));
        }
        links.place(stages, &rows)?;
        Ok(links)
    }

    /// Lays out the scratch memory of a chunk for these numbers of rows.
    fn place(&mut self, stages: &[Stage], rows: &[usize]) -> Result<(), KernelError> {
        let too_large = || invalid(FAMILY, "scratch too large".into());
        let mut end = 0usize;
        for (i, stage) in stages.iter().enumerate() {
            self.stage_scratch[i] = end;
            let bytes = match stage {
                Stage::Pointwise(_) => 0,
                Stage::Depthwise(op) => op.band_scratch_bytes(rows[i]),
                Stage::Stem(op) => op.line_scratch_bytes(),
            };
            end = end.checked_add(bytes.next_multiple_of(64)).ok_or_else(too_large)?;
        }
        for (i, stage) in stages[..stages.len() - 1].iter().enumerate() {
            let row_len = self.extents[i + 1].w * strides(stage).1;
            let bytes = bytes_of(FAMILY, rows[i], row_len)?;
            let offset = end.next_multiple_of(PAGE) + (i + 1) * SKEW % PAGE;
            // Rows that a window slides over are kept from band to band.
            let ring = !matches!(stages[i + 1], Stage::Pointwise(_));
            self.between.push(Link { offset, row_len, rows: rows[i], ring });
            end = offset.checked_add(bytes).ok_or_else(too_large)?;
        }
        self.chunk_bytes = end.next_multiple_of(PAGE);
        Ok(())
    }

    /// Units of rows in a picture; the last one has the remainder, too.
    pub(super) fn units(&self) -> usize {
        (self.extents[self.extents.len() - 1].h / self.unit).max(1)
    }

    /// Rows that each layer computes so that the last can compute `band`, given that rows up to
    /// `done` of each ring are there already; updates `done`.
    pub(super) fn todo(
        &self,
        stages: &[Stage],
        band: Range<usize>,
        done: &mut [usize; MAX_STAGES],
    ) -> [Range<usize>; MAX_STAGES] {
        let mut todo = [const { 0..0 }; MAX_STAGES];
        let mut need = band;
        for i in (0..stages.len()).rev() {
            let ring = self.between.get(i).is_some_and(|link| link.ring);
            if ring {
                debug_assert!(need.len() <= self.between[i].rows);
                need.start = need.start.max(done[i]);
            }
            if need.start < need.end {
                need = at_least(need, unit(&stages[i]));
                done[i] = need.end;
            } else {
                need = 0..0;
            }
            todo[i] = need.clone();
            need = input_rows(&stages[i], need);
        }
        todo
    }
}

/// The rows, more of them before (else after) where they are fewer than a layer can compute.
fn at_least(rows: Range<usize>, unit: usize) -> Range<usize> {
    let start = rows.start.min(rows.end.saturating_sub(unit));
    start..rows.end.max(start + unit)
}

/// Fewest rows that a layer computes.
fn unit(stage: &Stage) -> usize {
    match stage {
        Stage::Depthwise(op) => op.band_unit(),
        Stage::Pointwise(_) | Stage::Stem(_) => 1,
    }
}

/// Input rows that these output rows see; the stem reads the arena, where all rows are.
fn input_rows(stage: &Stage, rows: Range<usize>) -> Range<usize> {
    let Stage::Depthwise(op) = stage else { return rows };
    let g = &op.spec().geometry;
    if rows.is_empty() {
        return 0..0;
    }
    let start = (rows.start * g.stride.h).saturating_sub(g.pad.top);
    let reach = (rows.end - 1) * g.stride.h + (g.kernel.h - 1) * g.dilation.h + 1;
    let end = reach.saturating_sub(g.pad.top).min(g.input.h);
    start.min(end)..end
}

/// Most input rows that `rows` output rows see.
fn most_input_rows(stage: &Stage, rows: usize) -> usize {
    let Stage::Depthwise(op) = stage else { return rows };
    let g = &op.spec().geometry;
    (rows - 1).saturating_mul(g.stride.h).saturating_add((g.kernel.h - 1) * g.dilation.h + 1)
}

/// Pixel strides of input and output.
fn strides(stage: &Stage) -> (usize, usize) {
    match stage {
        Stage::Pointwise(op) => (op.layout().1.lda, op.layout().1.ldc),
        Stage::Depthwise(op) => (op.spec().ld_in, op.spec().ld_out),
        Stage::Stem(op) => (op.layout().1, op.layout().2),
    }
}

fn geometry(stage: &Stage) -> Option<&ConvGeometry> {
    match stage {
        Stage::Pointwise(_) => None,
        Stage::Depthwise(op) => Some(&op.spec().geometry),
        Stage::Stem(op) => Some(op.layout().0),
    }
}

/// Channels of input and output.
fn channels(stage: &Stage) -> (usize, usize) {
    match (stage, geometry(stage)) {
        (_, Some(g)) => (g.input.c, g.output.c),
        (Stage::Pointwise(op), None) => (op.layout().0.k(), op.layout().0.n()),
        _ => (0, 0),
    }
}

fn check_kinds(stages: &[Stage]) -> Result<(), KernelError> {
    if !(2..=MAX_STAGES).contains(&stages.len()) {
        return Err(unsupported(FAMILY, format!("a chain of {} layers", stages.len())));
    }
    if !stages.iter().any(|stage| matches!(stage, Stage::Depthwise(_))) {
        return Err(unsupported(FAMILY, "a chain without a depthwise layer".into()));
    }
    for (i, stage) in stages.iter().enumerate() {
        let refuse = |what: &str| Err(unsupported(FAMILY, format!("layer {i}, {what},")));
        match stage {
            Stage::Depthwise(op) => {
                let g = &op.spec().geometry;
                if g.output.c != g.input.c {
                    return refuse("a depthwise one with a multiplier");
                }
                if matches!(stages.get(i + 1), Some(Stage::Depthwise(_))) {
                    return refuse("a depthwise one before another");
                }
            }
            Stage::Stem(_) if i > 0 => return refuse("a stem behind another layer"),
            Stage::Pointwise(_) | Stage::Stem(_) => {}
        }
    }
    Ok(())
}

/// Pictures, and the extents around each layer: a pointwise one has those of its neighbours.
fn extents(stages: &[Stage]) -> Result<(usize, Vec<Hw>), KernelError> {
    let mut spatial = stages.iter().filter_map(geometry);
    let first =
        spatial.next().ok_or_else(|| unsupported(FAMILY, "a chain without extents".into()))?;
    let mut extents = vec![first.input.hw()];
    for stage in stages {
        let before = extents[extents.len() - 1];
        extents.push(match (stage, geometry(stage)) {
            (Stage::Pointwise(op), _) if op.layout().1.m == first.input.n * before.area() => before,
            (_, Some(g)) if g.input.hw() == before && g.input.n == first.input.n => g.output.hw(),
            _ => {
                let reason = format!("a layer behind pictures of {before} that reads others");
                return Err(invalid(FAMILY, reason));
            }
        });
    }
    Ok((first.input.n, extents))
}

/// Refuses layers whose channels or strides differ from those of the layer before.
fn check_strides(stages: &[Stage]) -> Result<(), KernelError> {
    for pair in stages.windows(2) {
        let (wrote, reads) = (channels(&pair[0]).1, channels(&pair[1]).0);
        let (ld_out, ld_in) = (strides(&pair[0]).1, strides(&pair[1]).0);
        if (wrote, ld_out) != (reads, ld_in) {
            let reason = format!(
                "{wrote} channels, {ld_out} apart, before a layer of {reads}, {ld_in} apart"
            );
            return Err(invalid(FAMILY, reason));
        }
    }
    Ok(())
}
