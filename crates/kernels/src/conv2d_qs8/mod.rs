//! Convolution of bytes: any window, stride, dilation and number of groups, the first layer of a
//! picture network among them.
//!
//! `sum[n,oh,ow,oc] = bias[oc] + sum over kh,kw,ic of (x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw - pl, ic] - z_x) *
//! (w[oc,kh,kw,ic] - z_w[oc])`, `z` being zero points; then as [`gemm_qs8`](crate::gemm_qs8), whose
//! kernels compute it.
//!
//! The rows of the product are windows, widened into a block in scratch memory (a matrix of the whole
//! picture never exists). Where columns of several groups share a panel, the window holds the channels
//! of these groups. Padding stands for the real number 0, whatever the zero point.

#[cfg(test)]
pub(crate) mod tests;

use crate::gather::Source;
use crate::gemm_qs8::{
    Kernel, PackedPanels, PanelShape, Product, columns_of, panel_widths, product_operator,
};
use crate::isa::Cpu;
use crate::operator::KernelError;
use crate::quant::{Output, QWeights, Quant8};
use crate::spatial::invalid;
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{ConvGeometry, Hw, Slab};
use std::sync::Arc;

const FAMILY: &str = "conv2d_qs8";

/// Packed weights of a convolution. One packing serves any picture size, and inputs and outputs of any
/// scale.
#[derive(Debug)]
pub struct PackedConvQs8 {
    kernel: Hw,
    panels: PackedPanels,
}

impl AsRef<PackedPanels> for PackedConvQs8 {
    fn as_ref(&self) -> &PackedPanels {
        &self.panels
    }
}

impl PackedConvQs8 {
    /// Packs weights `[oc][kh][kw][ic / groups]`.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where lengths, groups or zero points do not fit,
    /// [`KernelError::Unsupported`] where sums may leave 32 bits, [`KernelError::Alloc`] where there is
    /// no memory.
    pub fn pack(
        cpu: &Cpu,
        kernel: Hw,
        (ic, oc, groups): (usize, usize, usize),
        weights: &QWeights<'_>,
    ) -> Result<PackedConvQs8, KernelError> {
        let choose = |n: usize, wide: bool| panel_widths(cpu, n, wide);
        PackedConvQs8::with(kernel, (ic, oc, groups), weights, &choose)
    }

    /// As [`PackedConvQs8::pack`], all panels for this kernel.
    ///
    /// # Errors
    /// As [`PackedConvQs8::pack`], and [`KernelError::Unsupported`] where this CPU lacks the
    /// kernel's level, and for weights of 16 bits where the kernel does not take them.
    pub fn with_kernel(
        tile: &'static Kernel,
        kernel: Hw,
        (ic, oc, groups): (usize, usize, usize),
        weights: &QWeights<'_>,
    ) -> Result<PackedConvQs8, KernelError> {
        columns_of(tile, 0)?;
        let choose = |n: usize, _: bool| vec![tile; n.div_ceil(tile.nr())];
        PackedConvQs8::with(kernel, (ic, oc, groups), weights, &choose)
    }

    fn with(
        kernel: Hw,
        (ic, n, groups): (usize, usize, usize),
        weights: &QWeights<'_>,
        choose: &dyn Fn(usize, bool) -> Vec<&'static Kernel>,
    ) -> Result<PackedConvQs8, KernelError> {
        let taps = kernel
            .h
            .checked_mul(kernel.w)
            .ok_or_else(|| invalid(FAMILY, format!("a window of {kernel}")))?;
        let shape = PanelShape { taps, ic, n, groups };
        let panels = PackedPanels::pack(FAMILY, choose, shape, weights)?;
        Ok(PackedConvQs8 { kernel, panels })
    }

    /// Moves the weights into `memory`, to lie beside those of other layers.
    ///
    /// # Errors
    /// [`AllocError`] where there is no memory.
    pub fn move_into(&mut self, memory: &mut Slab) -> Result<(), AllocError> {
        self.panels.move_into(memory)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }
}

/// A convolution of resolved shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvQSpec {
    /// Extents, taps, strides, padding, groups.
    pub geometry: ConvGeometry,
    /// Pixel stride of the input, at least its channels.
    pub ld_in: usize,
    /// Pixel stride of the output, a multiple of 16.
    pub ld_out: usize,
    /// Type and zero point of the input.
    pub input: Quant8,
    /// What becomes of the sums.
    pub output: Output,
}

/// Convolution of bytes. Input `[x]`, output `[y]`, both NHWC.
#[derive(Debug)]
pub struct ConvQs8(Product);

impl ConvQs8 {
    /// The operator, in up to `threads` chunks. There is one multiplier, or one for each output
    /// channel.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where weights, multipliers and shapes do not go together,
    /// [`KernelError::Unsupported`] for an output stride that is not a multiple of 16.
    pub fn new(
        weights: Arc<PackedConvQs8>,
        multipliers: &[f32],
        spec: ConvQSpec,
        threads: usize,
    ) -> Result<ConvQs8, KernelError> {
        let (g, shape) = (spec.geometry, weights.panels.shape());
        let got = (g.kernel, g.input.c, g.output.c, g.groups);
        if got != (weights.kernel, shape.ic, shape.n, shape.groups) {
            let reason = format!("{g:?}, but weights {} {shape:?}", weights.kernel);
            return Err(invalid(FAMILY, reason));
        }
        if g.input.n != g.output.n {
            return Err(invalid(FAMILY, format!("{} pictures in, {} out", g.input.n, g.output.n)));
        }
        let source = Source::Window { geometry: g, ld: spec.ld_in };
        let (input, output) = ((source, spec.input), (spec.ld_out, spec.output));
        Product::new(FAMILY, weights, multipliers, input, output, threads).map(ConvQs8)
    }
}

product_operator!(ConvQs8);
