//! Which chains of convolutions are computed band by band.

use super::FusedInfo;
use super::builder::{BufId, Buffer, Draft, Operand};
use crate::options::Fusion;
use depthwise_kernels::fused::{Fused, Kind, Stage};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes between two layers from which a chain is worth computing band by band. On Zen 3 (L2 of
/// 512 KiB) chains of 1.5 to 5 MiB gain 2 to 12%, those of 0.8 lose up to 5%. Chains of bytes take as
/// long as their layers, within 2%, at any size.
const LARGE: usize = 1 << 20;

/// The same on several threads, which share L3 and meet once per step: chains of 0.6 MiB gain 5%.
const LARGE_SHARED: usize = 512 << 10;

/// Bytes that a thread may work in, beside input and output: half an L2. From 64 to 512 KiB times
/// differ by 2%.
const BAND_BYTES: usize = 256 << 10;

/// Rows at a time that are tried, best first.
const BANDS: [usize; 6] = [8, 6, 4, 3, 2, 1];

/// Replaces chains of steps by one step each. What is in `kept` is read after the last step.
pub(super) fn chains(
    drafts: Vec<Draft>,
    buffers: &[Buffer],
    kept: &[BufId],
    fusion: Fusion,
    threads: usize,
) -> Vec<Draft> {
    if fusion == Fusion::Off {
        return drafts;
    }
    let finder = Finder { reads: count_reads(&drafts, buffers, kept), buffers, fusion, threads };
    let mut rest = VecDeque::from(drafts);
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        match finder.chain_at_start(rest.make_contiguous()) {
            Some((fused, info)) => {
                let layers: Vec<Draft> = rest.drain(..info.layers.len()).collect();
                out.push(merge(layers, fused, info));
            }
            None => out.extend(rest.pop_front()),
        }
    }
    out
}

/// How many steps, and the world after the last, read each buffer.
fn count_reads(drafts: &[Draft], buffers: &[Buffer], kept: &[BufId]) -> Vec<usize> {
    let mut reads = vec![0; buffers.len()];
    for buf in kept {
        reads[buf.index()] += 1;
    }
    for operand in drafts.iter().flat_map(|draft| &draft.inputs) {
        if let Operand::Buf(buf) = operand {
            reads[buf.index()] += 1;
        }
    }
    reads
}

struct Finder<'a> {
    /// Readers of each buffer.
    reads: Vec<usize>,
    buffers: &'a [Buffer],
    fusion: Fusion,
    threads: usize,
}

impl Finder<'_> {
    /// The longest chain of the first steps that is worth it.
    fn chain_at_start(&self, drafts: &[Draft]) -> Option<(Fused, FusedInfo)> {
        [3, 2].into_iter().find_map(|len| self.chain(drafts.get(..len)?))
    }

    fn chain(&self, drafts: &[Draft]) -> Option<(Fused, FusedInfo)> {
        let stages: Option<Vec<Stage>> = drafts.iter().map(|draft| draft.stage.clone()).collect();
        let stages = stages?;
        if !is_known(&stages) || !drafts.windows(2).all(|pair| self.is_link(&pair[0], &pair[1])) {
            return None;
        }
        let inside = drafts[..drafts.len() - 1].iter();
        let sizes: Vec<usize> =
            inside.map(|draft| self.buffers[draft.outputs[0].index()].bytes).collect();
        let large = if self.threads == 1 { LARGE } else { LARGE_SHARED };
        if self.fusion == Fusion::Auto && sizes.iter().all(|&bytes| bytes <= large) {
            return None;
        }
        let fused = self.banded(&stages)?;
        let layers = drafts.iter().map(|d| (d.node.clone(), d.op.kernel())).collect();
        let info = FusedInfo {
            layers,
            band: fused.band(),
            bytes_per_thread: fused.chunk_bytes(),
            bytes_saved: sizes.iter().sum(),
        };
        Some((fused, info))
    }

    /// The chain with the tallest band that stays in the cache; `None` where the kernels cannot.
    fn banded(&self, stages: &[Stage]) -> Option<Fused> {
        let mut fits = BANDS
            .into_iter()
            .map_while(|band| Fused::new(stages.to_vec(), band, self.threads).ok())
            .skip_while(|fused| fused.chunk_bytes() > BAND_BYTES);
        fits.next().or_else(|| Fused::new(stages.to_vec(), 1, self.threads).ok())
    }

    /// Whether `to` alone reads what `from` writes.
    fn is_link(&self, from: &Draft, to: &Draft) -> bool {
        let written = from.outputs[0];
        let read = to.inputs.first();
        matches!(read, Some(Operand::Buf(buf)) if *buf == written)
            && self.reads[written.index()] == 1
    }
}

/// Chains that [`Fused`] may help: a depthwise layer with what widens its input and what narrows
/// its output.
fn is_known(stages: &[Stage]) -> bool {
    use Kind::{Depthwise, Pointwise, Stem};
    let kinds: Vec<Kind> = stages.iter().map(Stage::kind).collect();
    matches!(
        kinds[..],
        [Pointwise | Stem, Depthwise, Pointwise]
            | [Pointwise | Stem, Depthwise]
            | [Depthwise, Pointwise]
    )
}

/// The step that computes all of `layers`.
fn merge(layers: Vec<Draft>, op: Fused, info: FusedInfo) -> Draft {
    let mut layers = layers.into_iter();
    let mut merged = layers.next().expect("a chain has layers");
    for next in layers {
        merged.inputs.extend(next.inputs.into_iter().skip(1));
        merged.shapes.0.extend(next.shapes.0.into_iter().skip(1));
        merged.absorbed.extend(next.absorbed);
        (merged.outputs, merged.shapes.1, merged.node) = (next.outputs, next.shapes.1, next.node);
    }
    merged.kind = "Fused";
    (merged.op, merged.stage, merged.fused) = (Arc::new(op), None, Some(info));
    merged
}
