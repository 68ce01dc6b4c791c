//! Weights rounded to half precision and put into panels.

use super::{FAMILY, KERNELS, Kernel};
use crate::isa::Cpu;
use crate::operator::KernelError;
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{AlignedBuf, Slab};
use half::f16;

/// The weights of a dense layer as IEEE 754 binary16, in the order that the kernels read: the bias
/// of all columns in `f32`, then panels of `[k][nr]`, columns past `n` zero.
#[derive(Debug)]
pub struct PackedDenseF16 {
    kernel: &'static Kernel,
    k: usize,
    n: usize,
    data: AlignedBuf,
}

impl PackedDenseF16 {
    /// Rounds weights `[n][k]` to nearest even and packs them, with a bias per column.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the lengths are not `n * k` and `n`,
    /// [`KernelError::Unsupported`] for a weight beyond the range of half precision (65504), and
    /// [`KernelError::Alloc`] where there is no memory.
    pub fn pack(
        cpu: &Cpu,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedDenseF16, KernelError> {
        let kernel = KERNELS.iter().find(|kernel| cpu.supports(kernel.isa));
        PackedDenseF16::with_kernel(kernel.expect("an entry for Isa::Scalar"), k, n, weights, bias)
    }

    /// As [`PackedDenseF16::pack`], for this kernel.
    ///
    /// # Errors
    /// As [`PackedDenseF16::pack`], and [`KernelError::Unsupported`] where this CPU lacks the
    /// kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedDenseF16, KernelError> {
        let invalid = |reason| Err(KernelError::Invalid { kernel: FAMILY, reason });
        let unsupported = |reason| Err(KernelError::Unsupported { kernel: FAMILY, reason });
        if !kernel.info().is_supported(&Cpu::detect()) {
            return unsupported(format!("{} on a CPU with {}", kernel.isa, Cpu::detect()));
        }
        // A depth of 0 would leave `n` without a bound.
        if k == 0 || n.checked_mul(k) != Some(weights.len()) {
            return invalid(format!("{} weights for {n} columns of depth {k}", weights.len()));
        }
        if let Some(bias) = bias.filter(|bias| bias.len() != n) {
            return invalid(format!("{} biases, not {n}", bias.len()));
        }
        if let Some(weight) = weights.iter().find(|w| !f16::from_f32(**w).is_finite()) {
            return unsupported(format!("a weight of {weight} in half precision"));
        }
        let width = n.next_multiple_of(kernel.nr);
        let bytes = bias_bytes(width) + width * k * size_of::<u16>();
        let mut data = AlignedBuf::zeroed(bytes.next_multiple_of(64))?;
        if let Some(bias) = bias {
            data.as_mut_slice::<f32>()[..n].copy_from_slice(bias);
        }
        let panels = &mut data.as_mut_slice::<u16>()[bias_bytes(width) / size_of::<u16>()..];
        for (j, column) in weights.chunks_exact(k).enumerate() {
            let panel = &mut panels[j / kernel.nr * kernel.nr * k..][..kernel.nr * k];
            for (row, &weight) in panel.chunks_exact_mut(kernel.nr).zip(column) {
                row[j % kernel.nr] = f16::from_f32(weight).to_bits();
            }
        }
        Ok(PackedDenseF16 { kernel, k, n, data })
    }

    /// Moves the weights into `memory`, to lie beside those of other layers.
    ///
    /// # Errors
    /// [`AllocError`] where there is no memory.
    pub fn move_into(&mut self, memory: &mut Slab) -> Result<(), AllocError> {
        self.data = memory.copy_of(self.data.bytes())?;
        Ok(())
    }

    /// Depth: elements of a row of `a`.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(super) fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Columns of all panels together, at most `n` rounded up to 16.
    pub(super) fn width(&self) -> usize {
        self.n.next_multiple_of(self.kernel.nr)
    }

    /// The bias of the panel that starts at column `col`: one value per column.
    pub(super) fn bias(&self, col: usize) -> *const f32 {
        self.data.as_slice::<f32>()[col..].as_ptr()
    }

    /// The weights of the panel that starts at column `col`: `[k][nr]`.
    pub(super) fn panel(&self, col: usize) -> *const u16 {
        let start = bias_bytes(self.width()) / size_of::<u16>() + col * self.k;
        self.data.as_slice::<u16>()[start..].as_ptr()
    }
}

/// Bytes of the biases of `width` columns, whole lines.
fn bias_bytes(width: usize) -> usize {
    (width * size_of::<f32>()).next_multiple_of(64)
}
