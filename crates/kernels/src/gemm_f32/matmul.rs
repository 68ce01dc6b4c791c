//! Products of two activations.

use super::pack::{place, widths};
use super::split::{Split, chunks_for_macs};
use super::{Kernel, Panel, Tail, TileArgs, padded_bytes, rows_bytes};
use crate::isa::Cpu;
use crate::operator::{Io, KernelError, Operator};

const FAMILY: &str = "matmul_f32";

/// The sums before the first product, for the widest panel.
static ZEROS: [f32; 48] = [0.0; 48];

/// Rows from which it pays to copy a panel of `b`, whose lines then follow each other.
const ROWS_FOR_PACKING: usize = 24;

/// Shape and layout of products `c = a . b` that differ only in where their operands start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatMulSpec {
    /// First elements of `a`, `b` and `c` of each product. `c` may not overlap: at least `m * ldc`
    /// lie between one and the next. `a` and `b` may, for broadcasting.
    pub batches: Vec<[usize; 3]>,
    /// Rows of `a` and `c`.
    pub m: usize,
    /// Columns of `a`, rows of `b`.
    pub k: usize,
    /// Columns of `b` and `c`.
    pub n: usize,
    /// Elements from one row of `a` to the next, at least `k`.
    pub lda: usize,
    /// Elements from one row of `b` to the next, at least `n` (`k` where it is transposed).
    pub ldb: usize,
    /// Elements from one row of `c` to the next: a multiple of 16, at least `n`.
    pub ldc: usize,
    /// Whether `b` lies as `n` rows of `k`.
    pub b_transposed: bool,
}

/// Matrix product of two activations. Inputs `[a, b]`, output `[c]`.
///
/// Each panel of `b` is copied into scratch memory in the order of
/// [`PackedGemmF32`](super::PackedGemmF32), but for few rows and a padded `b`, which is read as it
/// lies.
#[derive(Debug)]
pub struct MatMulF32 {
    spec: MatMulSpec,
    panels: Vec<Panel>,
    /// Columns of all panels of one product.
    width: usize,
    split: Split,
    macs: u64,
    packs: bool,
    /// Scratch memory of each chunk: one panel.
    scratch_bytes: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl MatMulF32 {
    /// Products in up to `threads` chunks.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the number of columns and for sizes that
    /// overflow, [`KernelError::Unsupported`] for a stride of `c` that is not a multiple of 16 and
    /// for products whose results overlap.
    pub fn new(cpu: &Cpu, spec: MatMulSpec, threads: usize) -> Result<MatMulF32, KernelError> {
        let &MatMulSpec { m, k, n, lda, ldb, ldc, b_transposed, .. } = &spec;
        let a = rows_bytes(FAMILY, "a", m, k, lda)?;
        let (b_rows, b_cols) = if b_transposed { (n, k) } else { (k, n) };
        let mut b = rows_bytes(FAMILY, "b", b_rows, b_cols, ldb)?;
        rows_bytes(FAMILY, "c", m, n, ldc)?;
        // Without rows nothing bounds the number of columns.
        let (panels, width) = place(&widths(cpu, if m == 0 { 0 } else { n }), 0);
        let c = padded_bytes(FAMILY, "c", m, n, width, ldc)?;
        check_apart(&spec)?;
        // A padded `b` has whole panels in each row; `b` of a product may start inside a row.
        let whole =
            |&[_, b, _]: &[usize; 3]| ldb > 0 && ldb.is_multiple_of(16) && b % ldb + width <= ldb;
        let packs = b_transposed || m >= ROWS_FOR_PACKING || !spec.batches.iter().all(whole);
        if !packs && !spec.batches.is_empty() {
            b = rows_bytes(FAMILY, "b", k, width, ldb)?;
        }
        let ends = |i: usize, bytes: usize| match bytes {
            0 => Ok(0),
            _ => end_bytes(spec.batches.iter().map(|starts| starts[i]), bytes),
        };
        let macs = [m, k, n]
            .into_iter()
            .fold(spec.batches.len() as u64, |product, d| product.saturating_mul(d as u64));
        let split = Split::new(m, width * spec.batches.len(), chunks_for_macs(macs, threads));
        let widest = panels.iter().map(|panel| panel.kernel.nr()).max().unwrap_or(0);
        let scratch = if packs { k.checked_mul(widest * size_of::<f32>()) } else { Some(0) };
        let scratch = scratch.and_then(|bytes| bytes.checked_next_multiple_of(64));
        let scratch_bytes = scratch.ok_or_else(|| invalid(format!("a depth of {k} overflows")))?;
        Ok(MatMulF32 {
            input_bytes: [ends(0, a)?, ends(1, b)?],
            output_bytes: [ends(2, c)?],
            spec,
            panels,
            width,
            split,
            macs,
            packs,
            scratch_bytes,
        })
    }

    /// Copies a panel of `b` into `[k][nr]`, zeros in columns past `n`.
    ///
    /// # Safety
    /// - `b` is valid for reads of the operand from the start of this product on.
    /// - `to` is valid for writes of `k * nr` elements.
    unsafe fn pack(&self, b: *const f32, panel: &Panel, to: *mut f32) {
        let &MatMulSpec { k, n, ldb, b_transposed, .. } = &self.spec;
        let nr = panel.kernel.nr();
        let valid = nr.min(n - panel.col);
        for p in 0..k {
            let row = to.wrapping_add(p * nr);
            // SAFETY: row `p` of the panel, column `panel.col + j` of `b`.
            unsafe {
                if b_transposed {
                    for j in 0..valid {
                        *row.add(j) = *b.add((panel.col + j) * ldb + p);
                    }
                } else {
                    b.add(p * ldb + panel.col).copy_to_nonoverlapping(row, valid);
                }
                row.add(valid).write_bytes(0, nr - valid);
            }
        }
    }
}

fn invalid(reason: String) -> KernelError {
    KernelError::Invalid { kernel: FAMILY, reason }
}

/// Bytes up to the end of the last operand, each of `bytes` bytes.
fn end_bytes(starts: impl Iterator<Item = usize>, bytes: usize) -> Result<usize, KernelError> {
    let Some(last) = starts.max() else { return Ok(0) };
    let end = last.checked_mul(size_of::<f32>()).and_then(|start| start.checked_add(bytes));
    end.filter(|&end| end <= isize::MAX as usize)
        .ok_or_else(|| invalid(format!("an operand at element {last} overflows")))
}

/// Checks that no two products write the same rows.
fn check_apart(spec: &MatMulSpec) -> Result<(), KernelError> {
    let mut starts: Vec<usize> = spec.batches.iter().map(|&[_, _, c]| c).collect();
    starts.sort_unstable();
    let len = spec.m * spec.ldc;
    match starts.windows(2).find(|pair| pair[1] - pair[0] < len) {
        Some(pair) => {
            let reason = format!("results of {len} elements at {} and {}", pair[0], pair[1]);
            Err(KernelError::Unsupported { kernel: FAMILY, reason })
        }
        None => Ok(()),
    }
}

// SAFETY: operands reach to the end of the last product (`end_bytes`), whose rows hold what is read
// and written; `split` gives each row of each panel of each product to one chunk, products write
// apart (`check_apart`), and each chunk has its own part of the scratch memory.
unsafe impl Operator for MatMulF32 {
    fn kernel(&self) -> &'static str {
        self.panels.first().map_or(FAMILY, |panel| panel.kernel.info().name)
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch_bytes * self.chunks()
    }

    fn chunks(&self) -> usize {
        self.split.chunks()
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks());
        let spec = &self.spec;
        let scratch = io.scratch::<u8>().wrapping_add(chunk * self.scratch_bytes).cast::<f32>();
        for (index, &[a, b, c]) in spec.batches.iter().enumerate() {
            let b = io.input::<f32>(1).wrapping_add(b);
            for panel in &self.panels {
                let kernel: &Kernel = panel.kernel;
                let col = index * self.width + panel.col;
                let rows = self.split.rows(chunk, col, kernel.nr(), kernel.mr());
                if rows.is_empty() {
                    continue;
                }
                let (panel_b, ldb) = if self.packs {
                    // SAFETY: `b` is an input, the scratch memory holds the widest panel.
                    unsafe { self.pack(b, panel, scratch) };
                    (scratch.cast_const(), kernel.nr())
                } else {
                    (b.wrapping_add(panel.col), spec.ldb)
                };
                let args = TileArgs {
                    tiles: 0,
                    k: spec.k,
                    a: io.input::<f32>(0).wrapping_add(a + rows.start * spec.lda),
                    lda: spec.lda,
                    b: panel_b,
                    ldb,
                    ahead: 0,
                    init: ZEROS.as_ptr(),
                    init_ld: 0,
                    residual: std::ptr::null(),
                    residual_ld: 0,
                    c: io.output::<f32>(0).wrapping_add(c + rows.start * spec.ldc + panel.col),
                    ldc: spec.ldc,
                    tail: Tail::IDENTITY,
                };
                // SAFETY: rows of this product lie in the operands; the panel is packed, or lies in
                // the rows of `b`; `widths` chooses kernels that the CPU supports.
                unsafe { kernel.run(args, rows.len()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm_f32::tests::{GUARD, assert_close, spread, values};
    use crate::operator::run_f32;
    use crate::par::Par;
    use depthwise_tensor::padded_ld;
    use proptest::prelude::*;

    /// Runs `count` products one behind the other on every level, with 1 and 3 threads.
    fn check(count: usize, (m, k, n): (usize, usize, usize), b_transposed: bool, padded: bool) {
        let (b_rows, b_cols) = if b_transposed { (n, k) } else { (k, n) };
        let (a, b) = (values(1, count * m * k), values(2, count * k * n));
        let (lda, ldc) = (k + 1, padded_ld(n));
        let ldb = if padded { padded_ld(b_cols) } else { b_cols };
        // The first product reads the last `b`.
        let at_b = |i: usize| (count - 1 - i) * b_rows * ldb;
        let batches: Vec<_> = (0..count).map(|i| [i * m * lda, at_b(i), i * m * ldc]).collect();
        let spec = MatMulSpec { batches, m, k, n, lda, ldb, ldc, b_transposed };
        let (in_a, in_b) = (spread(&a, k, lda), spread(&b, b_cols, ldb));
        let mut want = Vec::new();
        for i in 0..count {
            for (r, j) in (0..m).flat_map(|r| (0..n).map(move |j| (r, j))) {
                let b = &b[(count - 1 - i) * k * n..];
                let of_b = |p: usize| if b_transposed { b[j * k + p] } else { b[p * n + j] };
                let product = |p| f64::from(a[(i * m + r) * k + p]) * f64::from(of_b(p));
                want.push((0..k).map(product).sum::<f64>());
            }
        }
        for cpu in Cpu::detect().levels() {
            let mut first: Option<Vec<f32>> = None;
            for threads in [1, 3] {
                let op = MatMulF32::new(&cpu, spec.clone(), threads).unwrap();
                let mut c = vec![f32::NAN; count * m * ldc];
                c.extend([GUARD; 64]);
                let par = Par::new(threads).unwrap();
                run_f32(&op, &[&in_a, &in_b], &mut [&mut c], &par).unwrap();
                assert!(c[count * m * ldc..].iter().all(|&g| g == GUARD));
                let got: Vec<f32> = c[..count * m * ldc]
                    .chunks(ldc.max(1))
                    .flat_map(|row| row[..n].to_vec())
                    .collect();
                assert_close(&got, &want, k, &(&spec, cpu));
                assert_eq!(first.get_or_insert(got.clone()), &got, "bits depend on the threads");
            }
        }
    }

    #[test]
    fn products_of_activations_match_the_reference() {
        for (m, k, n) in [(1, 30, 50), (5, 8, 16), (40, 17, 33), (25, 64, 24), (0, 4, 4)] {
            for (b_transposed, padded) in [(false, false), (false, true), (true, true)] {
                check(3, (m, k, n), b_transposed, padded);
            }
        }
    }

    #[test]
    fn heads_side_by_side_in_a_row_are_read_in_place() {
        // Two products whose `b` are columns 0..16 and 16..32 of the same rows.
        let (a, b) = (values(1, 3 * 4), values(2, 4 * 32));
        let spec = MatMulSpec {
            batches: vec![[0, 0, 0], [0, 16, 48]],
            m: 3,
            k: 4,
            n: 16,
            lda: 4,
            ldb: 32,
            ldc: 16,
            b_transposed: false,
        };
        for cpu in Cpu::detect().levels() {
            let op = MatMulF32::new(&cpu, spec.clone(), 1).unwrap();
            assert!(!op.packs);
            let mut c = vec![f32::NAN; 96];
            run_f32(&op, &[&a, &b], &mut [&mut c], &Par::single()).unwrap();
            let mut want = Vec::new();
            for (head, r) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
                for j in 0..16 {
                    let product =
                        |p: usize| f64::from(a[r * 4 + p]) * f64::from(b[p * 32 + 16 * head + j]);
                    want.push((0..4).map(product).sum::<f64>());
                }
            }
            assert_close(&c, &want, 4, &cpu);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let good = MatMulSpec {
            batches: vec![[0, 0, 0], [0, 0, 64]],
            m: 4,
            k: 4,
            n: 4,
            lda: 4,
            ldb: 4,
            ldc: 16,
            b_transposed: false,
        };
        let build = |spec: MatMulSpec| MatMulF32::new(&Cpu::detect(), spec, 1).map(|op| op.macs);
        assert_eq!(build(good.clone()), Ok(128));
        for spec in [
            MatMulSpec { lda: 3, ..good.clone() },
            MatMulSpec { ldb: 3, ..good.clone() },
            MatMulSpec { ldc: 3, ..good.clone() },
            MatMulSpec { batches: vec![[usize::MAX, 0, 0]], ..good.clone() },
            MatMulSpec { k: usize::MAX, lda: usize::MAX, ..good.clone() },
        ] {
            assert!(matches!(build(spec.clone()), Err(KernelError::Invalid { .. })), "{spec:?}");
        }
        for spec in [
            MatMulSpec { ldc: 4, ..good.clone() },
            MatMulSpec { batches: vec![[0, 0, 0], [0, 0, 32]], ..good.clone() },
        ] {
            assert!(matches!(build(spec), Err(KernelError::Unsupported { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 4 } else { 40 }))]
        #[test]
        fn any_product_matches_the_reference(
            count in 0usize..4,
            shape in (0usize..40, 0usize..20, 0usize..60),
            b_transposed: bool,
            padded: bool,
        ) {
            check(count, shape, b_transposed, padded);
        }
    }
}
