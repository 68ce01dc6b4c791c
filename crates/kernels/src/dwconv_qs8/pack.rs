//! Weights in blocks of 16 channels, groups of taps.

use super::{FAMILY, KERNELS, Kernel, PIXEL, scalar};
use crate::gemm_qs8::Form;
use crate::isa::Cpu;
use crate::operator::KernelError;
use crate::quant::{QWeights, Quant8};
use crate::spatial::{BLOCK, invalid, unsupported};
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{AlignedBuf, Hw, Slab};

/// Groups of rows that two output rows see.
pub(super) fn groups(kernel: &Kernel, kernel_h: usize) -> usize {
    kernel_h / kernel.group() + 1
}

/// Packed depthwise weights, less their zero point: for each block of 16 channels
/// `[group of rows][kw][output row][16][rows of the group]`, two of `i16` or four of `i8`. The weights of
/// the second of two output rows stand one row lower; what a group has beyond the kernel is 0. One packing
/// serves every picture size, and inputs and outputs of any scale.
#[derive(Debug)]
pub struct PackedDwQs8 {
    data: AlignedBuf,
    kernel: &'static Kernel,
    taps: Hw,
    in_channels: usize,
    multiplier: usize,
    /// One per channel, whole blocks.
    bias: Vec<i32>,
    /// Sum of the weights of a channel, less their zero point.
    sums: Vec<i32>,
    /// Bytes of a block.
    block: usize,
}

impl PackedDwQs8 {
    /// Packs weights `[kh][kw][in_channels * multiplier]` for the best kernel of a CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where lengths or zero points do not fit, [`KernelError::Unsupported`]
    /// where sums may leave 32 bits, [`KernelError::Alloc`] where there is no memory.
    pub fn pack(
        cpu: &Cpu,
        taps: Hw,
        in_channels: usize,
        multiplier: usize,
        weights: &QWeights<'_>,
    ) -> Result<PackedDwQs8, KernelError> {
        let wide = is_wide(taps, in_channels, multiplier, weights)?;
        let fits = |k: &&&Kernel| k.info().is_supported(cpu) && (!wide || k.takes_wide());
        let kernel = KERNELS.iter().find(fits).copied().unwrap_or(&scalar::QUAD);
        PackedDwQs8::build(kernel, taps, (in_channels, multiplier), weights)
    }

    /// As [`PackedDwQs8::pack`], for this kernel.
    ///
    /// # Errors
    /// As [`PackedDwQs8::pack`], and [`KernelError::Unsupported`] where this CPU lacks what the kernel
    /// needs, and for weights of 16 bits where the kernel does not take them.
    pub fn with_kernel(
        kernel: &'static Kernel,
        taps: Hw,
        in_channels: usize,
        multiplier: usize,
        weights: &QWeights<'_>,
    ) -> Result<PackedDwQs8, KernelError> {
        if !kernel.info().is_supported(&Cpu::detect()) {
            return Err(unsupported(FAMILY, format!("{} on this CPU", kernel.name)));
        }
        if is_wide(taps, in_channels, multiplier, weights)? && !kernel.takes_wide() {
            return Err(unsupported(kernel.name, "weights of 16 bits".into()));
        }
        PackedDwQs8::build(kernel, taps, (in_channels, multiplier), weights)
    }

    /// Packs weights whose number [`is_wide`] has checked.
    fn build(
        kernel: &'static Kernel,
        taps: Hw,
        (in_channels, multiplier): (usize, usize),
        weights: &QWeights<'_>,
    ) -> Result<PackedDwQs8, KernelError> {
        let channels = in_channels * multiplier;
        let steps = groups(kernel, taps.h).checked_mul(taps.w).ok_or_else(too_large)?;
        let block = steps.checked_mul(2 * PIXEL).ok_or_else(too_large)?;
        let bytes = channels.div_ceil(BLOCK).checked_mul(block).ok_or_else(too_large)?;
        let data = AlignedBuf::zeroed(bytes)?;
        let bias = vec![0; channels.next_multiple_of(BLOCK)];
        let sums = bias.clone();
        let mut packed =
            PackedDwQs8 { data, kernel, taps, in_channels, multiplier, bias, sums, block };
        for channel in 0..channels {
            packed.fill(weights, channel, channels)?;
        }
        Ok(packed)
    }

    fn fill(
        &mut self,
        weights: &QWeights<'_>,
        channel: usize,
        channels: usize,
    ) -> Result<(), KernelError> {
        let (taps, group, lane) = (self.taps, self.kernel.group(), channel % BLOCK);
        let block = &mut self.data.bytes_mut()[channel / BLOCK * self.block..][..self.block];
        self.bias[channel] = weights.bias(channel);
        let mut magnitude = 0;
        for tap in 0..taps.area() {
            let value = weights.weights.get(tap * channels + channel) - weights.zero_point(channel);
            magnitude += u64::from(value.unsigned_abs());
            // Within 32 bits where the magnitude is, which is checked below.
            self.sums[channel] = self.sums[channel].wrapping_add(value);
            for output_row in 0..2 {
                let (row, kw) = (tap / taps.w + output_row, tap % taps.w);
                let step = (row / group * taps.w + kw) * 2 + output_row;
                let at = (step * BLOCK + lane) * group + row % group;
                match self.kernel.form {
                    // From -255 to 255.
                    Form::Words => bytemuck::cast_slice_mut::<u8, i16>(block)[at] = value as i16,
                    Form::Bytes { .. } => block[at] = value as u8,
                }
            }
        }
        weights.check_sum(FAMILY, channel, magnitude)
    }

    /// Moves the weights into `memory`, to lie beside those of other layers.
    ///
    /// # Errors
    /// [`AllocError`] where there is no memory.
    pub fn move_into(&mut self, memory: &mut Slab) -> Result<(), AllocError> {
        self.data = memory.copy_of(self.data.bytes())?;
        Ok(())
    }

    /// Taps.
    pub fn taps(&self) -> Hw {
        self.taps
    }

    /// The kernel that they are packed for.
    pub(super) fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Channels of the input.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Output channels per input channel.
    pub fn multiplier(&self) -> usize {
        self.multiplier
    }

    /// Size in memory.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Groups of rows that two output rows see.
    pub(super) fn groups(&self) -> usize {
        groups(self.kernel, self.taps.h)
    }

    /// Weights of a block of channels.
    pub(super) fn block(&self, block: usize) -> *const u8 {
        self.data.bytes()[block * self.block..].as_ptr()
    }

    /// One value per channel, less what the elements of the ring lie above their numbers.
    pub(super) fn bias(&self, input: &Quant8) -> Vec<i32> {
        let excess = self.kernel.form.excess(input);
        let bias = self.bias.iter().zip(&self.sums);
        // The sum that it starts wraps in the same way.
        bias.map(|(bias, sum)| bias.wrapping_sub(excess.wrapping_mul(*sum))).collect()
    }
}

/// Whether a weight less its zero point takes 16 bits. Refuses numbers that do not go together.
fn is_wide(
    taps: Hw,
    in_channels: usize,
    multiplier: usize,
    weights: &QWeights<'_>,
) -> Result<bool, KernelError> {
    let channels = in_channels.checked_mul(multiplier).ok_or_else(too_large)?;
    let area = taps.h.checked_mul(taps.w).ok_or_else(too_large)?;
    if area == 0 || channels == 0 {
        let reason = format!("no weights: kernel {taps}, {channels} channels");
        return Err(invalid(FAMILY, reason));
    }
    let len = area.checked_mul(channels).ok_or_else(too_large)?;
    weights.check(FAMILY, channels, len)?;
    let value = |i: usize| weights.weights.get(i) - weights.zero_point(i % channels);
    Ok((0..len).any(|i| !(-128..=127).contains(&value(i))))
}

fn too_large() -> AllocError {
    AllocError { bytes: usize::MAX }
}
