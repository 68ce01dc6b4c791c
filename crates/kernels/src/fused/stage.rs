//! The layers of a chain, and what it needs to know of each.

use crate::conv2d_qs8::ConvQs8;
use crate::dwconv_f32::DwConvF32;
use crate::dwconv_qs8::DwConvQs8;
use crate::gather::Source;
use crate::gemm_f32::GemmF32;
use crate::gemm_qs8::{GemmQs8, Product};
use crate::operator::Operator;
use crate::stem::StemF32;
use depthwise_tensor::{ConvGeometry, DType};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A layer of a chain.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A 1x1 convolution.
    Pointwise(Arc<GemmF32>),
    /// A depthwise convolution.
    Depthwise(Arc<DwConvF32>),
    /// The first convolution of a network; only the first of a chain.
    Stem(Arc<StemF32>),
    /// A 1x1 convolution of bytes.
    PointwiseQs8(Arc<GemmQs8>),
    /// A depthwise convolution of bytes.
    DepthwiseQs8(Arc<DwConvQs8>),
    /// Any convolution of bytes; only the first of a chain.
    StemQs8(Arc<ConvQs8>),
}

/// How the rows of a layer depend on those that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A row on the same row.
    Pointwise,
    /// A row on a window of rows, channel by channel.
    Depthwise,
    /// A row on a window of rows, all of which are there.
    Stem,
}

impl Stage {
    /// The operator of the layer alone.
    pub fn operator(&self) -> Arc<dyn Operator> {
        match self {
            Stage::Pointwise(op) => Arc::clone(op) as _,
            Stage::Depthwise(op) => Arc::clone(op) as _,
            Stage::Stem(op) => Arc::clone(op) as _,
            Stage::PointwiseQs8(op) => Arc::clone(op) as _,
            Stage::DepthwiseQs8(op) => Arc::clone(op) as _,
            Stage::StemQs8(op) => Arc::clone(op) as _,
        }
    }

    /// How its rows depend on those that it reads.
    pub fn kind(&self) -> Kind {
        match self {
            Stage::Pointwise(_) | Stage::PointwiseQs8(_) => Kind::Pointwise,
            Stage::Depthwise(_) | Stage::DepthwiseQs8(_) => Kind::Depthwise,
            Stage::Stem(_) | Stage::StemQs8(_) => Kind::Stem,
        }
    }

    pub(super) fn is_of_bytes(&self) -> bool {
        match self {
            Stage::Pointwise(_) | Stage::Depthwise(_) | Stage::Stem(_) => false,
            Stage::PointwiseQs8(_) | Stage::DepthwiseQs8(_) | Stage::StemQs8(_) => true,
        }
    }

    /// Whether it adds a second input.
    pub(super) fn has_residual(&self) -> bool {
        match self {
            Stage::Pointwise(op) => op.layout().1.residual_ld.is_some(),
            Stage::Depthwise(op) => op.spec().residual_ld.is_some(),
            Stage::Stem(_)
            | Stage::PointwiseQs8(_)
            | Stage::DepthwiseQs8(_)
            | Stage::StemQs8(_) => false,
        }
    }

    /// Bytes of scratch memory for `rows` output rows at a time.
    pub(super) fn scratch_bytes(&self, rows: usize) -> usize {
        match self {
            Stage::Pointwise(_) => 0,
            Stage::Depthwise(op) => op.band_scratch_bytes(rows),
            Stage::Stem(op) => op.line_scratch_bytes(),
            Stage::PointwiseQs8(op) => op.product().block_bytes(),
            Stage::DepthwiseQs8(op) => op.band_scratch_bytes(),
            Stage::StemQs8(op) => op.product().block_bytes(),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        let f32 = |c: usize, ld: usize| Pixels { c, ld, dtype: DType::F32 };
        match self {
            Stage::Pointwise(op) => {
                let (weights, spec) = op.layout();
                let (input, output) = (f32(weights.k(), spec.lda), f32(weights.n(), spec.ldc));
                Layout { rows: Rows::Same { pixels: spec.m }, input, output, least: 1, tile: 1 }
            }
            Stage::Depthwise(op) => {
                let (spec, unit) = (op.spec(), op.band_unit());
                let g = &spec.geometry;
                let (input, output) = (f32(g.input.c, spec.ld_in), f32(g.output.c, spec.ld_out));
                Layout { rows: Rows::Window(*g), input, output, least: unit, tile: unit }
            }
            Stage::Stem(op) => {
                let (&g, ld_in, ld_out) = op.layout();
                let (input, output) = (f32(g.input.c, ld_in), f32(g.output.c, ld_out));
                Layout { rows: Rows::OfPicture(g), input, output, least: 1, tile: 1 }
            }
            Stage::PointwiseQs8(op) => of_product(op.product()),
            Stage::StemQs8(op) => of_product(op.product()),
            Stage::DepthwiseQs8(op) => {
                let spec = op.spec();
                let g = spec.geometry;
                let pixels = |c, ld, dtype| Pixels { c, ld, dtype };
                Layout {
                    rows: Rows::Window(g),
                    input: pixels(g.input.c, spec.ld_in, spec.input.dtype()),
                    output: pixels(g.output.c, spec.ld_out, spec.output.quant.dtype()),
                    least: 1,
                    tile: op.rows_at_a_time(),
                }
            }
        }
    }
}

fn of_product(product: &Product) -> Layout {
    let (rows, ld) = match *product.source() {
        Source::Rows { rows, lda } => (Rows::Same { pixels: rows }, lda),
        Source::Window { geometry, ld } => (Rows::OfPicture(geometry), ld),
    };
    let [(ic, input), (oc, output)] = product.ends();
    Layout {
        rows,
        input: Pixels { c: ic, ld, dtype: input },
        output: Pixels { c: oc, ld: product.ldc(), dtype: output },
        least: 1,
        tile: 1,
    }
}

/// The memory of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pixels {
    /// Channels.
    pub c: usize,
    /// Elements from one pixel to the next.
    pub ld: usize,
    pub dtype: DType,
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} channels of {}, {} apart", self.c, self.dtype, self.ld)
    }
}

/// Which rows a layer sees.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rows {
    /// The row that it writes; extents are those of its neighbours.
    Same {
        /// Pixels of all pictures.
        pixels: usize,
    },
    /// A window.
    Window(ConvGeometry),
    /// Any of a whole picture.
    OfPicture(ConvGeometry),
}

/// A layer as one that makes rows of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub rows: Rows,
    pub input: Pixels,
    pub output: Pixels,
    /// Fewest output rows that it computes.
    pub least: usize,
    /// Output rows that it computes together.
    pub tile: usize,
}

impl Layout {
    pub(super) fn geometry(&self) -> Option<&ConvGeometry> {
        match &self.rows {
            Rows::Same { .. } => None,
            Rows::Window(g) | Rows::OfPicture(g) => Some(g),
        }
    }

    /// Input rows that have to be made for these output rows.
    pub(super) fn input_rows(&self, rows: Range<usize>) -> Range<usize> {
        let Rows::Window(g) = &self.rows else { return rows };
        if rows.is_empty() {
            return 0..0;
        }
        let start = (rows.start * g.stride.h).saturating_sub(g.pad.top);
        let reach = (rows.end - 1) * g.stride.h + (g.kernel.h - 1) * g.dilation.h + 1;
        let end = reach.saturating_sub(g.pad.top).min(g.input.h);
        start.min(end)..end
    }

    /// Most input rows that `rows` output rows see.
    pub(super) fn most_input_rows(&self, rows: usize) -> usize {
        let Rows::Window(g) = &self.rows else { return rows };
        let reach = (g.kernel.h - 1) * g.dilation.h + 1;
        (rows - 1).saturating_mul(g.stride.h).saturating_add(reach)
    }
}
