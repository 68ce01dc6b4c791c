//! Weights put into panels.

use super::{FAMILY, KERNELS, Kernel};
use crate::isa::{Cpu, Isa};
use crate::operator::KernelError;
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{AlignedBuf, Slab};

/// Consecutive columns that one kernel computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    /// First column.
    pub col: usize,
    /// Has as many columns as the panel.
    pub kernel: &'static Kernel,
    /// First element of the panel in the packed weights.
    start: usize,
}

/// Elements of a cache line.
const LINE: usize = 16;

/// The weights of a pointwise convolution or dense layer, in the order that the kernels read.
///
/// `panels` of `[k][nr]`, each on a 64-byte line, columns past `n` zero; before them the bias of
/// all columns. The widths follow from `n` and the CPU alone, so that one packing serves any number
/// of rows.
#[derive(Debug)]
pub struct PackedGemmF32 {
    k: usize,
    n: usize,
    panels: Vec<Panel>,
    /// Columns of all panels together.
    width: usize,
    data: AlignedBuf,
}

impl PackedGemmF32 {
    /// Packs weights `[n][k]` and a bias per column.
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
    ) -> Result<PackedGemmF32, KernelError> {
        PackedGemmF32::pack_in(&mut Slab::default(), cpu, k, n, weights, bias)
    }

    /// As [`PackedGemmF32::pack`], in `memory`, to lie beside the weights of other layers.
    ///
    /// # Errors
    /// As [`PackedGemmF32::pack`].
    pub fn pack_in(
        memory: &mut Slab,
        cpu: &Cpu,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedGemmF32, KernelError> {
        check_lengths(k, n, weights, bias)?;
        PackedGemmF32::with_panels(memory, widths(cpu, n), k, n, weights, bias)
    }

    /// As [`PackedGemmF32::pack`], all panels for this kernel.
    ///
    /// # Errors
    /// As [`PackedGemmF32::pack`], and [`KernelError::Unsupported`] where this CPU lacks the
    /// kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedGemmF32, KernelError> {
        require_support(kernel)?;
        check_lengths(k, n, weights, bias)?;
        let kernels = vec![kernel; n.div_ceil(kernel.nr)];
        PackedGemmF32::with_panels(&mut Slab::default(), kernels, k, n, weights, bias)
    }

    fn with_panels(
        memory: &mut Slab,
        kernels: Vec<&'static Kernel>,
        k: usize,
        n: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<PackedGemmF32, KernelError> {
        let (panels, width) = place(&kernels, 0);
        let mut elements = width.next_multiple_of(16);
        let panels: Vec<Panel> = panels
            .into_iter()
            .map(|panel| {
                let start = elements;
                // Panels are at most a third wider than `weights`, which is in memory.
                elements += (k * panel.kernel.nr).next_multiple_of(16);
                Panel { start, ..panel }
            })
            .collect();
        let mut data = memory.zeroed(elements * size_of::<f32>())?;
        let packed = data.as_mut_slice::<f32>();
        if let Some(bias) = bias {
            packed[..n].copy_from_slice(bias);
        }
        for panel in &panels {
            let nr = panel.kernel.nr;
            let target = &mut packed[panel.start..][..k * nr];
            // A line of each column at a time, into rows that the L1 cache holds.
            for (block, rows) in target.chunks_mut(LINE * nr).enumerate() {
                for j in 0..nr.min(n - panel.col) {
                    let column = &weights[(panel.col + j) * k..][..k];
                    let line = &column[block * LINE..];
                    for (slot, &weight) in rows[j..].iter_mut().step_by(nr).zip(line) {
                        *slot = weight;
                    }
                }
            }
        }
        Ok(PackedGemmF32 { k, n, panels, width, data })
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

    /// Name of the kernel of the first panel, which computes most columns.
    pub fn kernel_name(&self) -> &'static str {
        self.panels.first().map_or(FAMILY, |panel| panel.kernel.name)
    }

    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The bias of a panel: one value per column.
    pub(crate) fn bias(&self, panel: &Panel) -> *const f32 {
        self.data.as_slice::<f32>()[panel.col..].as_ptr()
    }

    /// The weights of a panel: `[k][nr]`.
    pub(crate) fn panel(&self, panel: &Panel) -> *const f32 {
        self.data.as_slice::<f32>()[panel.start..].as_ptr()
    }
}

/// Checks that there is a weight for each of `k` rows and `n` columns. A depth of 0 is refused: it
/// would leave `n` without a bound.
fn check_lengths(
    k: usize,
    n: usize,
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Result<(), KernelError> {
    let invalid = |reason| Err(KernelError::Invalid { kernel: FAMILY, reason });
    if k == 0 || n.checked_mul(k) != Some(weights.len()) {
        return invalid(format!("{} weights for {n} columns of depth {k}", weights.len()));
    }
    match bias {
        Some(bias) if bias.len() != n => invalid(format!("{} biases, not {n}", bias.len())),
        _ => Ok(()),
    }
}

/// Refuses kernels that would not run here.
pub(crate) fn require_support(kernel: &'static Kernel) -> Result<(), KernelError> {
    if kernel.info().is_supported(&Cpu::detect()) {
        return Ok(());
    }
    let reason = format!("{} on a CPU with {}", kernel.isa, Cpu::detect());
    Err(KernelError::Unsupported { kernel: kernel.name, reason })
}

/// Panels side by side from column `col` on, and the column behind the last.
pub(crate) fn place(kernels: &[&'static Kernel], col: usize) -> (Vec<Panel>, usize) {
    let mut col = col;
    let panels = kernels
        .iter()
        .map(|&kernel| {
            let panel = Panel { col, kernel, start: 0 };
            col += kernel.nr;
            panel
        })
        .collect();
    (panels, col)
}

/// The kernels for `n` columns, from left to right. Together they have at least `n` columns and at
/// most `n` rounded up to 16.
pub(crate) fn widths(cpu: &Cpu, n: usize) -> Vec<&'static Kernel> {
    let find = |nr: usize| {
        KERNELS.iter().copied().find(|kernel| kernel.isa == cpu.isa() && kernel.nr == nr)
    };
    let of = |nr| find(nr).expect("a kernel of each width that the rules below ask for");
    if cpu.isa() == Isa::Avx512 {
        return avx512_widths(n).into_iter().map(of).collect();
    }
    let lanes = cpu.isa().lanes_f32();
    let (pairs, rest) = (n / (2 * lanes), n % (2 * lanes));
    let pairs_of = |count| vec![of(2 * lanes); count];
    match (rest, find(3 * lanes)) {
        (0, _) => pairs_of(pairs),
        (rest, Some(triple)) if rest <= lanes && pairs > 0 => {
            [pairs_of(pairs - 1), vec![triple]].concat()
        }
        (rest, _) if rest <= lanes => [pairs_of(pairs), vec![of(lanes)]].concat(),
        _ => pairs_of(pairs + 1),
    }
}

/// zmm panels of 48, the last two or three vectors as evenly as they go; a ymm panel at the end
/// where half a zmm is left over: 40 = 16 + 24 instead of 48.
pub(crate) fn avx512_widths(n: usize) -> Vec<usize> {
    let (zmm, tail) = match n % 16 {
        1..=8 if n <= 8 => (0, Some(8)),
        1..=8 => (n / 16 - 1, Some(24)),
        _ => (n.div_ceil(16), None),
    };
    let mut widths = match zmm % 3 {
        1 if zmm > 1 => [vec![48; zmm / 3 - 1], vec![32, 32]].concat(),
        0 => vec![48; zmm / 3],
        rest => [vec![48; zmm / 3], vec![16 * rest]].concat(),
    };
    widths.extend(tail);
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn avx512_panels_waste_no_half_vector() {
        let cases: &[(usize, &[usize])] = &[
            (0, &[]),
            (1, &[8]),
            (8, &[8]),
            (9, &[16]),
            (16, &[16]),
            (24, &[24]),
            (32, &[32]),
            (33, &[16, 24]),
            (40, &[16, 24]),
            (48, &[48]),
            (64, &[32, 32]),
            (72, &[48, 24]),
            (80, &[48, 32]),
            (144, &[48, 48, 48]),
            (160, &[48, 48, 32, 32]),
            (200, &[48, 48, 48, 32, 24]),
        ];
        for &(n, want) in cases {
            assert_eq!(avx512_widths(n), want, "n = {n}");
        }
    }

    #[test]
    fn panels_cover_every_column_and_stay_inside_a_padded_row() {
        for cpu in Cpu::detect().levels() {
            for n in 0..300 {
                let (_, width) = place(&widths(&cpu, n), 0);
                assert!(width >= n && width <= n.next_multiple_of(16), "{cpu} {n}: {width}");
            }
        }
    }

    #[test]
    fn weights_of_a_wrong_length_are_refused() {
        let cpu = Cpu::detect();
        assert!(PackedGemmF32::pack(&cpu, 3, 2, &[0.0; 5], None).is_err());
        assert!(PackedGemmF32::pack(&cpu, 3, 2, &[0.0; 6], Some(&[0.0])).is_err());
        assert!(PackedGemmF32::pack(&cpu, usize::MAX, 2, &[0.0; 6], None).is_err());
        assert!(PackedGemmF32::pack(&cpu, 3, 2, &[0.0; 6], Some(&[0.0; 2])).is_ok());
        assert!(PackedGemmF32::pack(&cpu, 0, usize::MAX, &[], None).is_err());
    }
}
