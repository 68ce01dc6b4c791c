//! Weights put into panels of pairs.

use super::{FAMILY, Form, KERNELS, Kernel};
use crate::isa::Cpu;
use crate::operator::KernelError;
use crate::quant::{QWeights, Quant8};
use crate::spatial::{invalid, unsupported};
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{AlignedBuf, Slab};
use std::ops::Range;

/// Consecutive columns that one kernel computes.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// First column.
    pub col: usize,
    /// Has as many columns as the panel.
    pub kernel: &'static Kernel,
    /// Input channels that its columns see: those of their groups.
    pub channels: Range<usize>,
    /// Groups of four rows.
    pub quads: usize,
    /// First byte of the panel in the packed weights.
    start: usize,
}

/// The numbers that a packing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Taps of the window, 1 for a matrix product.
    pub taps: usize,
    /// Input channels.
    pub ic: usize,
    /// Columns: output channels.
    pub n: usize,
    /// Output channels `g * n / groups ..` see input channels `g * ic / groups ..`.
    pub groups: usize,
}

/// Weights `[n][taps][ic / groups]` in the order that the kernels read.
///
/// Panels of `[pairs of rows][nr][2]`, or of `[quads of rows][nr][4]` for kernels of bytes, rows being taps and in them input channels; each on a 64-byte
/// line, columns past `n` and rows past the last zero (there are 4, 8, ..); before them the bias of all columns. Where columns of
/// several groups share a panel, its rows are the channels of all of them, with zeros off the diagonal.
#[derive(Debug)]
pub(crate) struct PackedPanels {
    shape: Shape,
    panels: Vec<Panel>,
    /// Columns of all panels together.
    width: usize,
    /// Weights less their zero point take 16 bits.
    wide: bool,
    /// Sum of the weights of a column, less their zero points, where a kernel takes bytes.
    sums: Vec<i32>,
    data: AlignedBuf,
}

impl PackedPanels {
    pub(crate) fn pack(
        family: &'static str,
        kernels: &dyn Fn(usize, bool) -> Vec<&'static Kernel>,
        shape: Shape,
        weights: &QWeights<'_>,
    ) -> Result<PackedPanels, KernelError> {
        let Shape { taps, ic, n, groups } = shape;
        if groups == 0 || !ic.is_multiple_of(groups) || !n.is_multiple_of(groups) {
            return Err(invalid(family, format!("{groups} groups of {ic} to {n} channels")));
        }
        let depth = taps.checked_mul(ic / groups).filter(|&depth| depth > 0);
        let len = depth.and_then(|depth| depth.checked_mul(n));
        let (Some(depth), Some(len)) = (depth, len) else {
            return Err(invalid(family, format!("{n} columns of {taps} taps and {ic} channels")));
        };
        weights.check(family, n, len)?;
        let wide = check_values(family, n, depth, weights)?;
        let too_large = || AllocError { bytes: usize::MAX };
        let mut panels = Vec::new();
        let (mut col, mut bytes) = (0, n.next_multiple_of(16) * size_of::<i32>());
        for kernel in kernels(n, wide) {
            if wide && !kernel.takes_wide() {
                return Err(unsupported(kernel.name, "weights of 16 bits".into()));
            }
            let channels = channels_of(&shape, col..n.min(col + kernel.nr));
            let quads = (taps * channels.len()).div_ceil(4);
            let size = (4 * quads).checked_mul(kernel.nr << usize::from(wide));
            let start = bytes;
            bytes = size
                .and_then(|size| size.checked_next_multiple_of(64)?.checked_add(bytes))
                .ok_or_else(too_large)?;
            panels.push(Panel { col, kernel, channels, quads, start });
            col += kernel.nr;
        }
        let data = AlignedBuf::zeroed(bytes)?;
        let bytes = panels.iter().any(|p| p.kernel.form != Form::Words);
        let sums = vec![0; if bytes { col } else { 0 }];
        let mut packed = PackedPanels { shape, panels, width: col, wide, sums, data };
        packed.fill(weights, depth);
        Ok(packed)
    }

    fn fill(&mut self, weights: &QWeights<'_>, depth: usize) {
        let Shape { taps, ic, n, groups } = self.shape;
        for (j, bias) in self.data.as_mut_slice::<i32>()[..n].iter_mut().enumerate() {
            *bias = weights.bias(j);
        }
        let (icg, ocg) = (ic / groups, n / groups);
        for panel in &self.panels {
            let nr = panel.kernel.nr;
            for j in 0..nr.min(n - panel.col) {
                let column = panel.col + j;
                let zero = weights.zero_point(column);
                // Where the group of this column begins among the channels of the panel.
                let first = column / ocg * icg - panel.channels.start;
                for tap in 0..taps {
                    for c in 0..icg {
                        let value = weights.weights.get(column * depth + tap * icg + c) - zero;
                        let row = tap * panel.channels.len() + first + c;
                        let group = panel.kernel.form.in_32_bits();
                        let at = (row / group * nr + j) * group + row % group;
                        if let Some(sum) = self.sums.get_mut(column) {
                            *sum += value;
                        }
                        if self.wide {
                            let from = panel.start / 2;
                            self.data.as_mut_slice::<i16>()[from + at] = value as i16;
                        } else {
                            self.data.as_mut_slice::<i8>()[panel.start + at] = value as i8;
                        }
                    }
                }
            }
        }
    }

    /// Moves the weights into `memory`, to lie beside those of other layers.
    pub(crate) fn move_into(&mut self, memory: &mut Slab) -> Result<(), AllocError> {
        self.data = memory.copy_of(self.data.bytes())?;
        Ok(())
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn kernel_name(&self) -> &'static str {
        self.panels.first().map_or(FAMILY, |panel| panel.kernel.name)
    }

    /// One value per column, less what the elements of rows lie above their numbers.
    pub(crate) fn bias(&self, input: &Quant8) -> Vec<i32> {
        let mut bias = vec![0i32; self.width.max(self.shape.n)];
        bias[..self.shape.n].copy_from_slice(&self.data.as_slice::<i32>()[..self.shape.n]);
        for panel in &self.panels {
            let excess = panel.kernel.form.excess(input);
            let sums = self.sums.iter().skip(panel.col).take(panel.kernel.nr);
            for (bias, sum) in bias[panel.col..].iter_mut().zip(sums) {
                // The sum that it starts wraps in the same way.
                *bias = bias.wrapping_sub(excess.wrapping_mul(*sum));
            }
        }
        bias
    }

    /// The weights of a panel.
    pub(crate) fn panel(&self, panel: &Panel) -> *const u8 {
        self.data.bytes()[panel.start..].as_ptr()
    }
}

/// Input channels of the groups of these columns.
fn channels_of(shape: &Shape, columns: Range<usize>) -> Range<usize> {
    let (icg, ocg) = (shape.ic / shape.groups, shape.n / shape.groups);
    columns.start / ocg * icg..(columns.end - 1) / ocg * icg + icg
}

/// Whether a weight less its zero point takes 16 bits. Refuses sums past 32 bits.
fn check_values(
    family: &'static str,
    n: usize,
    depth: usize,
    weights: &QWeights<'_>,
) -> Result<bool, KernelError> {
    let mut wide = false;
    for j in 0..n {
        let zero = weights.zero_point(j);
        let mut magnitude = 0u64;
        for p in 0..depth {
            let value = weights.weights.get(j * depth + p) - zero;
            wide |= !(-128..=127).contains(&value);
            magnitude += u64::from(value.unsigned_abs());
        }
        weights.check_sum(family, j, magnitude)?;
    }
    Ok(wide)
}

/// The kernels for `n` columns of weights of 8 bits, or of 16 where `wide`, from left to right: the wider
/// one of the best level, and the narrower one where a rest fits it. Together they have at most `n`
/// rounded up to 16 columns.
pub(crate) fn widths(cpu: &Cpu, n: usize, wide: bool) -> Vec<&'static Kernel> {
    let fits = |kernel: &&Kernel| kernel.info().is_supported(cpu) && (!wide || kernel.takes_wide());
    let mut best = KERNELS.iter().copied().filter(fits);
    let (Some(wide), Some(narrow)) = (best.next(), best.next()) else { return Vec::new() };
    let (panels, rest) = (n / wide.nr, n % wide.nr);
    let mut kernels = vec![wide; panels];
    match rest {
        0 => {}
        rest if rest <= narrow.nr => kernels.push(narrow),
        _ => kernels.push(wide),
    }
    kernels
}

/// Columns of one kernel.
pub(crate) fn columns_of(
    kernel: &'static Kernel,
    n: usize,
) -> Result<Vec<&'static Kernel>, KernelError> {
    if kernel.info().is_supported(&Cpu::detect()) {
        return Ok(vec![kernel; n.div_ceil(kernel.nr)]);
    }
    Err(unsupported(kernel.name, format!("{} on a CPU with {}", kernel.isa, Cpu::detect())))
}

/// The weights of a pointwise convolution or dense layer, in the order that the kernels read. One
/// packing serves any number of rows, and inputs and outputs of any scale.
#[derive(Debug)]
pub struct PackedGemmQs8(PackedPanels);

impl PackedGemmQs8 {
    /// Packs weights `[n][k]`.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where lengths or zero points do not fit, [`KernelError::Unsupported`]
    /// where sums may leave 32 bits, [`KernelError::Alloc`] where there is no memory.
    pub fn pack(
        cpu: &Cpu,
        k: usize,
        n: usize,
        weights: &QWeights<'_>,
    ) -> Result<PackedGemmQs8, KernelError> {
        let shape = Shape { taps: 1, ic: k, n, groups: 1 };
        let kernels = |n: usize, wide: bool| widths(cpu, n, wide);
        PackedPanels::pack(FAMILY, &kernels, shape, weights).map(PackedGemmQs8)
    }

    /// As [`PackedGemmQs8::pack`], all panels for this kernel.
    ///
    /// # Errors
    /// As [`PackedGemmQs8::pack`], and [`KernelError::Unsupported`] where this CPU lacks the
    /// kernel's level, and for weights of 16 bits where the kernel does not take them.
    pub fn with_kernel(
        kernel: &'static Kernel,
        k: usize,
        n: usize,
        weights: &QWeights<'_>,
    ) -> Result<PackedGemmQs8, KernelError> {
        columns_of(kernel, 0)?;
        let shape = Shape { taps: 1, ic: k, n, groups: 1 };
        let kernels = |n: usize, _: bool| vec![kernel; n.div_ceil(kernel.nr)];
        PackedPanels::pack(FAMILY, &kernels, shape, weights).map(PackedGemmQs8)
    }

    /// Moves the weights into `memory`, to lie beside those of other layers.
    ///
    /// # Errors
    /// [`AllocError`] where there is no memory.
    pub fn move_into(&mut self, memory: &mut Slab) -> Result<(), AllocError> {
        self.0.move_into(memory)
    }

    /// Depth: elements of a row of `a`.
    pub fn k(&self) -> usize {
        self.0.shape.ic
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.0.shape.n
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Name of the kernel of the first panel, which computes most columns.
    pub fn kernel_name(&self) -> &'static str {
        self.0.kernel_name()
    }
}

impl AsRef<PackedPanels> for PackedGemmQs8 {
    fn as_ref(&self) -> &PackedPanels {
        &self.0
    }
}
