//! Weights in blocks of 16 channels: bias, then pairs of taps.

use super::FAMILY;
use crate::isa::Cpu;
use crate::operator::KernelError;
use crate::quant::QWeights;
use crate::spatial::{BLOCK, invalid};
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{AlignedBuf, Hw, Slab};

/// Pairs of rows that two output rows see.
pub(super) fn pairs(kernel_h: usize) -> usize {
    kernel_h / 2 + 1
}

/// Packed depthwise weights, less their zero point: for each block of 16 channels the bias, then
/// `[pair of rows][kw][output row][16][2]` of `i16`. The weights of the second of two output rows stand
/// one row lower; what a pair has beyond the kernel is 0. The layout is the same for every instruction
/// set and every picture size.
#[derive(Debug)]
pub struct PackedDwQs8 {
    data: AlignedBuf,
    cpu: Cpu,
    kernel: Hw,
    in_channels: usize,
    multiplier: usize,
    /// Bytes of a block.
    block: usize,
}

impl PackedDwQs8 {
    /// Packs weights `[kh][kw][in_channels * multiplier]`.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where lengths or zero points do not fit, [`KernelError::Unsupported`]
    /// where sums may leave 32 bits, [`KernelError::Alloc`] where there is no memory.
    pub fn pack(
        cpu: &Cpu,
        kernel: Hw,
        in_channels: usize,
        multiplier: usize,
        weights: &QWeights<'_>,
    ) -> Result<PackedDwQs8, KernelError> {
        let too_large = || AllocError { bytes: usize::MAX };
        let channels = in_channels.checked_mul(multiplier).ok_or_else(too_large)?;
        let taps = kernel.h.checked_mul(kernel.w).ok_or_else(too_large)?;
        if taps == 0 || channels == 0 {
            let reason = format!("no weights: kernel {kernel}, {channels} channels");
            return Err(invalid(FAMILY, reason));
        }
        weights.check(FAMILY, channels, taps.checked_mul(channels).ok_or_else(too_large)?)?;
        let steps = pairs(kernel.h).checked_mul(kernel.w).ok_or_else(too_large)?;
        let block = steps.checked_mul(8).and_then(|n| n.checked_add(4)).ok_or_else(too_large)?;
        let block = block.checked_mul(BLOCK).ok_or_else(too_large)?;
        let bytes = channels.div_ceil(BLOCK).checked_mul(block).ok_or_else(too_large)?;
        let data = AlignedBuf::zeroed(bytes)?;
        let mut packed = PackedDwQs8 { data, cpu: *cpu, kernel, in_channels, multiplier, block };
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
        let (kernel, lane) = (self.kernel, channel % BLOCK);
        let block = &mut self.data.bytes_mut()[channel / BLOCK * self.block..][..self.block];
        let (bias, taps) = block.split_at_mut(BLOCK * size_of::<i32>());
        bytemuck::cast_slice_mut::<u8, i32>(bias)[lane] = weights.bias(channel);
        let taps = bytemuck::cast_slice_mut::<u8, i16>(taps);
        let mut magnitude = 0;
        for tap in 0..kernel.area() {
            let zero = weights.zero_point(channel);
            let value = weights.weights.get(tap * channels + channel) - zero;
            magnitude += u64::from(value.unsigned_abs());
            for output_row in 0..2 {
                let (row, kw) = (tap / kernel.w + output_row, tap % kernel.w);
                let step = (row / 2 * kernel.w + kw) * 2 + output_row;
                // From -255 to 255.
                taps[(step * BLOCK + lane) * 2 + row % 2] = value as i16;
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

    /// The CPU whose kernels an operator with these weights chooses from.
    pub fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// Taps.
    pub fn kernel(&self) -> Hw {
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

    /// Pairs of rows that two output rows see.
    pub(super) fn pairs(&self) -> usize {
        pairs(self.kernel.h)
    }

    /// Bias and weights of a block of channels.
    pub(super) fn block(&self, block: usize) -> *const i32 {
        self.data.bytes()[block * self.block..].as_ptr().cast()
    }
}
