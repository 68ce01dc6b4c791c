//! Weights put into panels, group by group.

use super::{FAMILY, KERNELS, Kernel};
use crate::gemm_f32::{PackedGemmF32, Panel};
use crate::isa::Cpu;
use crate::operator::KernelError;
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{Hw, Slab};

/// The weights of a convolution in the order that the kernels read: a matrix `[kh * kw * ic][oc]`
/// per group, each packed as [`PackedGemmF32`].
///
/// The layout follows from the shape of the weights and the CPU alone, so that one packing serves
/// any size of picture, and [`ConvF32`](super::ConvF32) as well as [`StemF32`](crate::stem::StemF32).
#[derive(Debug)]
pub struct PackedConvF32 {
    kernel: Hw,
    in_channels: usize,
    groups: Vec<PackedGemmF32>,
}

impl PackedConvF32 {
    /// Packs weights OHWI `[out_channels][kh][kw][in_channels / groups]` and a bias per output
    /// channel. `in_channels` counts the channels of all groups.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where groups do not divide the channels or the lengths do not fit,
    /// [`KernelError::Alloc`] where there is no memory.
    pub fn pack(
        cpu: &Cpu,
        kernel: Hw,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedConvF32, KernelError> {
        let pack = |k, n, weights: &[f32], bias: Option<&[f32]>| {
            PackedGemmF32::pack(cpu, k, n, weights, bias)
        };
        PackedConvF32::by_group(kernel, in_channels, out_channels, groups, weights, bias, pack)
    }

    /// Moves the weights into `memory`, to lie beside those of other layers.
    ///
    /// # Errors
    /// [`AllocError`] where there is no memory.
    pub fn move_into(&mut self, memory: &mut Slab) -> Result<(), AllocError> {
        self.groups.iter_mut().try_for_each(|group| group.move_into(memory))
    }

    /// As [`PackedConvF32::pack`], all panels for this kernel.
    ///
    /// # Errors
    /// As [`PackedConvF32::pack`], and [`KernelError::Unsupported`] where this CPU lacks the
    /// kernel's level.
    pub fn with_kernel(
        with: &'static Kernel,
        kernel: Hw,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedConvF32, KernelError> {
        let pack = |k, n, weights: &[f32], bias: Option<&[f32]>| {
            PackedGemmF32::with_kernel(with.tile, k, n, weights, bias)
        };
        PackedConvF32::by_group(kernel, in_channels, out_channels, groups, weights, bias, pack)
    }

    fn by_group(
        kernel: Hw,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
        pack: impl Fn(usize, usize, &[f32], Option<&[f32]>) -> Result<PackedGemmF32, KernelError>,
    ) -> Result<PackedConvF32, KernelError> {
        let invalid = |reason| Err(KernelError::Invalid { kernel: FAMILY, reason });
        if groups == 0
            || !in_channels.is_multiple_of(groups)
            || !out_channels.is_multiple_of(groups)
        {
            return invalid(format!(
                "{groups} groups do not divide {in_channels} input and {out_channels} output channels"
            ));
        }
        let depth =
            kernel.h.checked_mul(kernel.w).and_then(|taps| taps.checked_mul(in_channels / groups));
        let fits = |&d: &usize| d.checked_mul(out_channels) == Some(weights.len());
        let Some(depth) = depth.filter(fits).filter(|_| !weights.is_empty()) else {
            return invalid(format!(
                "{} weights for {out_channels} x {} x {} x {}",
                weights.len(),
                kernel.h,
                kernel.w,
                in_channels / groups
            ));
        };
        if bias.is_some_and(|bias| bias.len() != out_channels) {
            return invalid(format!("the bias does not have {out_channels} values"));
        }
        let per_group = out_channels / groups;
        let groups = (0..groups).map(|g| {
            let columns = g * per_group..(g + 1) * per_group;
            let rows = columns.start * depth..columns.end * depth;
            pack(depth, per_group, &weights[rows], bias.map(|bias| &bias[columns]))
        });
        Ok(PackedConvF32 { kernel, in_channels, groups: groups.collect::<Result<_, _>>()? })
    }

    /// Taps.
    pub fn kernel(&self) -> Hw {
        self.kernel
    }

    /// Input channels of all groups.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Output channels of all groups.
    pub fn out_channels(&self) -> usize {
        self.groups.iter().map(PackedGemmF32::n).sum()
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(PackedGemmF32::bytes).sum()
    }

    /// Name of the kernel of the first panel, which computes most channels.
    pub fn kernel_name(&self) -> &'static str {
        let panel = self.groups.first().and_then(|group| group.panels().first());
        let name = |panel: &Panel| {
            let kernel = KERNELS.iter().find(|kernel| std::ptr::eq(kernel.tile, panel.kernel));
            kernel.map(|kernel| kernel.name)
        };
        panel.and_then(name).unwrap_or(FAMILY)
    }

    pub(crate) fn group(&self, group: usize) -> &PackedGemmF32 {
        &self.groups[group]
    }

    /// Columns of the panels of one group.
    pub(crate) fn width(&self) -> usize {
        self.groups.first().map_or(0, PackedGemmF32::width)
    }

    pub(crate) fn widest_panel(&self) -> usize {
        let panels = self.groups.first().map_or(&[][..], PackedGemmF32::panels);
        panels.iter().map(|panel| panel.kernel.nr()).max().unwrap_or(0)
    }

    /// Whether whole panels would reach into the channels of the next group, or past the last.
    pub(crate) fn is_staged(&self) -> bool {
        self.groups.len() > 1 && self.width() != self.groups[0].n()
    }
}
