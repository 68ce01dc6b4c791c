//! Weights rounded to bfloat16 and put into panels of pairs.

use super::{FAMILY, KERNELS, Kernel};
use crate::arch::bf16::Pair;
use crate::gemm_f32::avx512_widths;
use crate::isa::{Cpu, Extension, Isa};
use crate::operator::KernelError;
use crate::spatial::{invalid, unsupported};
use depthwise_tensor::{AlignedBuf, Slab};

/// Consecutive columns that one kernel computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// First column.
    pub col: usize,
    /// Has as many columns as the panel.
    pub kernel: &'static Kernel,
    /// First pair of the panel in the packed weights.
    start: usize,
}

/// Elements of a cache line.
const LINE: usize = 16;

/// The weights of a product as bfloat16, in the order that the kernels read.
///
/// Panels of `[pairs of rows][nr]`, each on a 64-byte line, columns past `n` and the second of an odd last
/// pair zero; before them the bias of all columns in `f32`. The widths follow from `n` and the CPU alone,
/// so that one packing serves any number of rows.
#[derive(Debug)]
pub struct PackedGemmBf16 {
    k: usize,
    n: usize,
    panels: Vec<Panel>,
    /// Columns of all panels together.
    width: usize,
    data: AlignedBuf,
}

impl PackedGemmBf16 {
    /// Rounds weights `[n][k]` to nearest even and packs them, with a bias per column: for AVX512_BF16
    /// where the CPU has it, else for the kernels that spell it out.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the lengths are not `n * k` and `n`,
    /// [`KernelError::Alloc`] where there is no memory.
    pub fn pack(
        cpu: &Cpu,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedGemmBf16, KernelError> {
        PackedGemmBf16::pack_in(&mut Slab::default(), cpu, k, n, weights, bias)
    }

    /// As [`PackedGemmBf16::pack`], in `memory`, to lie beside the weights of other layers.
    ///
    /// # Errors
    /// As [`PackedGemmBf16::pack`].
    pub fn pack_in(
        memory: &mut Slab,
        cpu: &Cpu,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedGemmBf16, KernelError> {
        check_lengths(k, n, weights, bias)?;
        PackedGemmBf16::with_panels(memory, widths(cpu, n), k, n, weights, bias)
    }

    /// As [`PackedGemmBf16::pack`], all panels for this kernel.
    ///
    /// # Errors
    /// As [`PackedGemmBf16::pack`], and [`KernelError::Unsupported`] where this CPU lacks what the kernel
    /// needs.
    pub fn with_kernel(
        kernel: &'static Kernel,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedGemmBf16, KernelError> {
        let cpu = Cpu::detect();
        if !kernel.info().is_supported(&cpu) {
            return Err(unsupported(kernel.name, format!("a CPU with {cpu}")));
        }
        check_lengths(k, n, weights, bias)?;
        let kernels = vec![kernel; n.div_ceil(kernel.nr)];
        PackedGemmBf16::with_panels(&mut Slab::default(), kernels, k, n, weights, bias)
    }

    fn with_panels(
        memory: &mut Slab,
        kernels: Vec<&'static Kernel>,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedGemmBf16, KernelError> {
        let pairs = k.div_ceil(2);
        let width: usize = kernels.iter().map(|kernel| kernel.nr).sum();
        let (mut col, mut start) = (0, width.next_multiple_of(LINE));
        let mut panels = Vec::with_capacity(kernels.len());
        for kernel in kernels {
            panels.push(Panel { col, kernel, start });
            col += kernel.nr;
            // Panels together are not much larger than `weights`, which is in memory.
            start += (pairs * kernel.nr).next_multiple_of(LINE);
        }
        let mut data = memory.zeroed(start * size_of::<Pair>())?;
        if let Some(bias) = bias {
            data.as_mut_slice::<f32>()[..n].copy_from_slice(bias);
        }
        let packed = data.as_mut_slice::<Pair>();
        for panel in &panels {
            let nr = panel.kernel.nr;
            let target = &mut packed[panel.start..][..pairs * nr];
            // A line of each column at a time, into rows that the L1 cache holds.
            for (block, rows) in target.chunks_mut(LINE / 2 * nr).enumerate() {
                for j in 0..nr.min(n - panel.col) {
                    let column = &weights[(panel.col + j) * k..][..k];
                    let line = column[block * LINE..].chunks(2);
                    for (slot, pair) in rows[j..].iter_mut().step_by(nr).zip(line) {
                        *slot = Pair::of(pair[0], pair.get(1).copied().unwrap_or(0.0));
                    }
                }
            }
        }
        Ok(PackedGemmBf16 { k, n, panels, width, data })
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

    /// Name of the kernel of the first panel, which computes most columns.
    pub fn kernel_name(&self) -> &'static str {
        self.panels.first().map_or(FAMILY, |panel| panel.kernel.name)
    }

    pub(super) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Rows of a panel.
    pub(super) fn pairs(&self) -> usize {
        self.k.div_ceil(2)
    }

    /// The bias of a panel: one value per column.
    pub(super) fn bias(&self, panel: &Panel) -> *const f32 {
        self.data.as_slice::<f32>()[panel.col..].as_ptr()
    }

    /// The weights of a panel.
    pub(super) fn panel(&self, panel: &Panel) -> *const Pair {
        self.data.as_slice::<Pair>()[panel.start..].as_ptr()
    }
}

/// Checks that there is a weight for each of `k` rows and `n` columns. A depth of 0 is refused: it would
/// leave `n` without a bound.
fn check_lengths(
    k: usize,
    n: usize,
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Result<(), KernelError> {
    if k == 0 || n.checked_mul(k) != Some(weights.len()) {
        let reason = format!("{} weights for {n} columns of depth {k}", weights.len());
        return Err(invalid(FAMILY, reason));
    }
    match bias {
        Some(bias) if bias.len() != n => {
            Err(invalid(FAMILY, format!("{} biases, not {n}", bias.len())))
        }
        _ => Ok(()),
    }
}

/// The kernels for `n` columns, from left to right. Together they have at least `n` columns and at most
/// `n` rounded up to 16.
fn widths(cpu: &Cpu, n: usize) -> Vec<&'static Kernel> {
    let (isa, widths) = if cpu.has(Extension::Avx512Bf16) {
        (Isa::Avx512, avx512_widths(n))
    } else {
        let rest = match n % 8 {
            0 => None,
            rest => Some(if rest <= 4 { 4 } else { 8 }),
        };
        (Isa::Scalar, std::iter::repeat_n(8, n / 8).chain(rest).collect())
    };
    let find = |nr| KERNELS.iter().copied().find(|kernel| kernel.isa == isa && kernel.nr == nr);
    widths.into_iter().map(|nr| find(nr).expect("a kernel of each width above")).collect()
}
