//! What lies between the layers of a chain, and which rows a band needs of it.

use super::stage::{Layout, Pixels, Rows};
use super::{FAMILY, MAX_STAGES, Stage};
use crate::operator::KernelError;
use crate::spatial::{invalid, unsupported};
use depthwise_tensor::Hw;
use std::ops::Range;

/// Rows between two layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Byte of the chunk's scratch memory.
    offset: usize,
    row_bytes: usize,
    /// Rows that there is room for.
    pub(super) rows: usize,
    /// Row `i` lies in slot `i % rows`, and stays for later bands. Otherwise the first row of the
    /// band lies in slot 0.
    pub(super) ring: bool,
}

impl Link {
    /// Where row `row` lies, if `first` is the first row of the band.
    pub(super) fn row(&self, scratch: *mut u8, row: usize, first: usize) -> *mut u8 {
        let slot = if self.ring { row % self.rows } else { row - first };
        debug_assert!(slot < self.rows);
        scratch.wrapping_add(self.offset + slot * self.row_bytes)
    }
}

/// Extents of a chain.
#[derive(Debug)]
pub(super) struct Links {
    layers: Vec<Layout>,
    /// Pictures.
    pub(super) pictures: usize,
    /// Rows and pixels of the input of the first layer, then of the output of each.
    pub(super) extents: Vec<Hw>,
    /// Likewise, bytes of a row.
    pub(super) row_bytes: Vec<usize>,
    /// What lies between the layers.
    pub(super) between: Vec<Link>,
    /// Bytes of scratch memory of one chunk. Before what lies between, it has room for what each
    /// layer needs while it runs.
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
        let layers: Vec<Layout> = stages.iter().map(Stage::layout).collect();
        check_kinds(&layers)?;
        let (pictures, extents) = extents(&layers)?;
        check_pixels(&layers)?;
        let row_bytes = row_bytes(&layers, &extents)?;
        let last = stages.len() - 1;
        let mut links = Links {
            pictures,
            row_bytes,
            between: Vec::with_capacity(last),
            chunk_bytes: 0,
            band: band.clamp(1, extents[last + 1].h.max(1)),
            unit: layers[last].least,
            extents,
            layers,
        };
        // Whole tiles of the last depthwise layer, or it would compute rows twice.
        let tile = links.layers.iter().rev().map(|layer| layer.tile).find(|&tile| tile > 1);
        links.band = links.band.next_multiple_of(tile.unwrap_or(1));
        // Rows that each layer computes at most at a time.
        let mut rows = vec![links.band; stages.len()];
        for i in (0..last).rev() {
            rows[i] = links.layers[i + 1]
                .most_input_rows(rows[i + 1])
                .min(links.extents[i + 1].h)
                .max(links.layers[i].least);
        }
        links.place(stages, &rows)?;
        Ok(links)
    }

    /// Lays out the scratch memory of a chunk for these numbers of rows.
    fn place(&mut self, stages: &[Stage], rows: &[usize]) -> Result<(), KernelError> {
        let too_large = || invalid(FAMILY, "scratch too large".into());
        let own = stages.iter().zip(rows).map(|(stage, &rows)| stage.scratch_bytes(rows));
        let mut end = own.max().unwrap_or(0);
        for (i, &rows) in rows[..stages.len() - 1].iter().enumerate() {
            let offset = end.checked_next_multiple_of(PAGE).ok_or_else(too_large)?;
            let offset = offset + (i + 1) * SKEW % PAGE;
            let row_bytes = self.row_bytes[i + 1];
            // Rows that a window slides over are kept from band to band.
            let ring = matches!(self.layers[i + 1].rows, Rows::Window(_));
            self.between.push(Link { offset, row_bytes, rows, ring });
            end = rows
                .checked_mul(row_bytes)
                .and_then(|bytes| bytes.checked_add(offset))
                .filter(|&end| end <= isize::MAX as usize / 2)
                .ok_or_else(too_large)?;
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
        band: Range<usize>,
        done: &mut [usize; MAX_STAGES],
    ) -> [Range<usize>; MAX_STAGES] {
        let mut todo = [const { 0..0 }; MAX_STAGES];
        let mut need = band;
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let ring = self.between.get(i).is_some_and(|link| link.ring);
            if ring {
                debug_assert!(need.len() <= self.between[i].rows);
                need.start = need.start.max(done[i]);
            }
            if need.start < need.end {
                need = at_least(need, layer.least);
                done[i] = need.end;
            } else {
                need = 0..0;
            }
            todo[i] = need.clone();
            need = layer.input_rows(need);
        }
        todo
    }
}

/// The rows, more of them before (else after) where they are fewer than a layer can compute.
fn at_least(rows: Range<usize>, least: usize) -> Range<usize> {
    let start = rows.start.min(rows.end.saturating_sub(least));
    start..rows.end.max(start + least)
}

/// Refuses numbers and orders of layers that no chain has.
fn check_kinds(layers: &[Layout]) -> Result<(), KernelError> {
    if !(2..=MAX_STAGES).contains(&layers.len()) {
        return Err(unsupported(FAMILY, format!("a chain of {} layers", layers.len())));
    }
    if !layers.iter().any(|layer| matches!(layer.rows, Rows::Window(_))) {
        return Err(unsupported(FAMILY, "a chain without a depthwise layer".into()));
    }
    for (i, layer) in layers.iter().enumerate() {
        let refuse = |what: &str| Err(unsupported(FAMILY, format!("layer {i}, {what},")));
        match (&layer.rows, layers.get(i + 1).map(|next| &next.rows)) {
            (Rows::Window(g), _) if g.output.c != g.input.c => {
                return refuse("a depthwise one with a multiplier");
            }
            (Rows::Window(_), Some(Rows::Window(_))) => {
                return refuse("a depthwise one before another");
            }
            (Rows::OfPicture(_), _) if i > 0 => return refuse("a stem behind another layer"),
            _ => {}
        }
    }
    Ok(())
}

/// Pictures, and the extents around each layer: a pointwise one has those of its neighbours.
fn extents(layers: &[Layout]) -> Result<(usize, Vec<Hw>), KernelError> {
    let mut spatial = layers.iter().filter_map(Layout::geometry);
    let first =
        spatial.next().ok_or_else(|| unsupported(FAMILY, "a chain without extents".into()))?;
    let mut extents = vec![first.input.hw()];
    for layer in layers {
        let before = extents[extents.len() - 1];
        extents.push(match &layer.rows {
            Rows::Same { pixels } if *pixels == first.input.n * before.area() => before,
            Rows::Window(g) | Rows::OfPicture(g)
                if g.input.hw() == before && g.input.n == first.input.n =>
            {
                g.output.hw()
            }
            _ => {
                let reason = format!("a layer behind pictures of {before} that reads others");
                return Err(invalid(FAMILY, reason));
            }
        });
    }
    Ok((first.input.n, extents))
}

/// Refuses layers that read other pixels than the layer before writes.
fn check_pixels(layers: &[Layout]) -> Result<(), KernelError> {
    for pair in layers.windows(2) {
        let (wrote, reads) = (pair[0].output, pair[1].input);
        if wrote != reads {
            return Err(invalid(FAMILY, format!("{wrote}, before a layer of {reads}")));
        }
    }
    Ok(())
}

/// Bytes of a row of the input of the first layer, then of the output of each.
fn row_bytes(layers: &[Layout], extents: &[Hw]) -> Result<Vec<usize>, KernelError> {
    let pixels = layers.iter().take(1).map(|layer| layer.input);
    let pixels = pixels.chain(layers.iter().map(|layer| layer.output));
    let bytes = |(pixel, extent): (Pixels, &Hw)| {
        let bytes = pixel.ld.checked_mul(pixel.dtype.size_bytes())?.checked_mul(extent.w)?;
        (bytes <= isize::MAX as usize / 2).then_some(bytes)
    };
    let all: Option<Vec<usize>> = pixels.zip(extents).map(bytes).collect();
    all.ok_or_else(|| invalid(FAMILY, "rows larger than memory".into()))
}
