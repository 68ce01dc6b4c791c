//! Weights in blocks of 16 channels: bias, then the taps row by row.

use super::FAMILY;
use crate::isa::Cpu;
use crate::operator::{Io, KernelError, Operator};
use crate::spatial::{BLOCK, bytes_of, invalid};
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{AlignedBuf, Hw, Slab};

/// Packed depthwise weights: `[block of 16 channels][bias, taps][16]`, zero in the channels past
/// the last. The layout is the same for every instruction set and every picture size.
#[derive(Debug)]
pub struct PackedDwF32 {
    data: AlignedBuf,
    cpu: Cpu,
    kernel: Hw,
    in_channels: usize,
    multiplier: usize,
}

impl PackedDwF32 {
    /// Packs weights `[kh][kw][in_channels * multiplier]` and a bias of one value per output
    /// channel (zero where there is none).
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the lengths do not fit, [`KernelError::Alloc`] where there is
    /// no memory.
    pub fn pack(
        cpu: &Cpu,
        kernel: Hw,
        in_channels: usize,
        multiplier: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedDwF32, KernelError> {
        let too_large = || AllocError { bytes: usize::MAX };
        let channels = in_channels.checked_mul(multiplier).ok_or_else(too_large)?;
        let taps = kernel.h.checked_mul(kernel.w).ok_or_else(too_large)?;
        check("weights", weights.len(), taps.checked_mul(channels).ok_or_else(too_large)?)?;
        check("bias", bias.map_or(channels, <[f32]>::len), channels)?;
        if taps == 0 || channels == 0 {
            let reason = format!("no weights: kernel {kernel}, {channels} channels");
            return Err(KernelError::Invalid { kernel: FAMILY, reason });
        }
        let block_bytes = (taps + 1).checked_mul(BLOCK * size_of::<f32>()).ok_or_else(too_large)?;
        let bytes = channels.div_ceil(BLOCK).checked_mul(block_bytes).ok_or_else(too_large)?;
        let mut data = AlignedBuf::zeroed(bytes)?;
        let blocks = data.as_mut_slice::<f32>().chunks_exact_mut((taps + 1) * BLOCK);
        for (b, block) in blocks.enumerate() {
            let first = b * BLOCK;
            let n = BLOCK.min(channels - first);
            if let Some(bias) = bias {
                block[..n].copy_from_slice(&bias[first..][..n]);
            }
            for (tap, lanes) in block[BLOCK..].chunks_exact_mut(BLOCK).enumerate() {
                lanes[..n].copy_from_slice(&weights[tap * channels + first..][..n]);
            }
        }
        Ok(PackedDwF32 { data, cpu: *cpu, kernel, in_channels, multiplier })
    }

    /// The description of weights that come with every run, packed by [`PackDwF32`].
    pub(super) fn streamed(
        cpu: &Cpu,
        kernel: Hw,
        in_channels: usize,
        multiplier: usize,
    ) -> Result<PackedDwF32, KernelError> {
        let data = AlignedBuf::zeroed(0)?;
        Ok(PackedDwF32 { data, cpu: *cpu, kernel, in_channels, multiplier })
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

    /// Channels of the output.
    pub fn out_channels(&self) -> usize {
        self.in_channels * self.multiplier
    }

    /// Size in memory.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The first block.
    pub(super) fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr().cast::<f32>().cast_const()
    }
}

fn check(what: &str, got: usize, want: usize) -> Result<(), KernelError> {
    if got == want {
        return Ok(());
    }
    let reason = format!("{what} of {got} elements, expected {want}");
    Err(KernelError::Invalid { kernel: FAMILY, reason })
}

/// Packs weights that change from run to run, as [`PackedDwF32`] lays them out, without a bias. Input:
/// weights `[kh][kw][channels]`; output: blocks.
#[derive(Debug)]
pub struct PackDwF32 {
    taps: usize,
    channels: usize,
    /// Elements from one tap to the next.
    ld: usize,
    /// Take the taps in reverse: rows and columns of the kernel turned round.
    turned: bool,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl PackDwF32 {
    /// For weights whose taps lie `ld` elements apart; `turned` for the gradient of the picture.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for sizes that are 0 or overflow, and a stride below the channels.
    pub fn new(
        kernel: Hw,
        channels: usize,
        ld: usize,
        turned: bool,
    ) -> Result<PackDwF32, KernelError> {
        let taps = kernel.h.checked_mul(kernel.w).filter(|&taps| taps > 0 && channels > 0);
        let Some(taps) = taps.filter(|_| ld >= channels) else {
            let reason = format!("kernel {kernel} of {channels} channels, {ld} apart");
            return Err(invalid(FAMILY, reason));
        };
        Ok(PackDwF32 {
            taps,
            channels,
            ld,
            turned,
            input_bytes: [bytes_of(FAMILY, taps, ld)?],
            output_bytes: [packed_bytes(taps, channels)?],
        })
    }
}

/// Bytes of packed weights.
pub(super) fn packed_bytes(taps: usize, channels: usize) -> Result<usize, KernelError> {
    bytes_of(FAMILY, taps.saturating_add(1), channels.next_multiple_of(BLOCK))
}

// SAFETY: the only chunk reads `taps` rows of `channels` and writes all blocks.
unsafe impl Operator for PackDwF32 {
    fn kernel(&self) -> &'static str {
        "dwconv_f32_pack"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        1
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, _chunk: usize) {
        let (weights, blocks) = (io.input::<f32>(0), io.output::<f32>(0));
        let block_len = (self.taps + 1) * BLOCK;
        for b in 0..self.channels.div_ceil(BLOCK) {
            let first = b * BLOCK;
            let lanes = BLOCK.min(self.channels - first);
            // SAFETY: block `b` lies in the output, the channels of each tap in the input.
            unsafe {
                let block = blocks.add(b * block_len);
                block.write_bytes(0, block_len);
                for tap in 0..self.taps {
                    let from = if self.turned { self.taps - 1 - tap } else { tap };
                    weights
                        .add(from * self.ld + first)
                        .copy_to_nonoverlapping(block.add((1 + tap) * BLOCK), lanes);
                }
            }
        }
    }
}
