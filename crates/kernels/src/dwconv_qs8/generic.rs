//! Bodies for any vector width.
#![expect(clippy::needless_range_loop, reason = "`th` and `tw` name outputs of all operands")]

use super::{FillTask, PIXEL, RowTask};
use crate::arch::dot::{SimdDot, SimdDot4};
use crate::gemm_qs8::Form;
use crate::quant::Quant8;
use crate::spatial::BLOCK;

/// What a tile multiplies: the rows of a group, by as many weights.
pub(super) trait Terms<S: SimdDot> {
    /// How rows lie in the ring.
    const FORM: Form;

    /// Products of all rows of a group, added to sums.
    fn dot(simd: S, sum: S::Sums, rows: S::Pairs, weights: S::Pairs) -> S::Sums;

    /// A pixel of rows, 16 channels.
    ///
    /// # Safety
    /// - 16 bytes from each of `rows` on are valid for reads, [`PIXEL`] bytes from `to` on for
    ///   writes.
    unsafe fn fill(simd: S, rows: [*const u8; 4], to: *mut u8, quant: Quant8);
}

/// Two rows of 16 bits.
pub(super) struct Words;
/// Four rows of 8 bits.
pub(super) struct Bytes;

impl<S: SimdDot> Terms<S> for Words {
    const FORM: Form = Form::Words;

    #[inline(always)]
    fn dot(simd: S, sum: S::Sums, rows: S::Pairs, weights: S::Pairs) -> S::Sums {
        simd.dot(sum, rows, weights)
    }

    #[inline(always)]
    unsafe fn fill(simd: S, [a, b, ..]: [*const u8; 4], to: *mut u8, quant: Quant8) {
        // SAFETY: as the caller promises; the ring lies on lines.
        unsafe { simd.widen_pairs(a, b, to.cast(), quant) };
    }
}

impl<S: SimdDot4> Terms<S> for Bytes {
    const FORM: Form = Form::Bytes { signed: S::SIGNED };

    #[inline(always)]
    fn dot(simd: S, sum: S::Sums, rows: S::Pairs, weights: S::Pairs) -> S::Sums {
        simd.dot4(sum, rows, weights)
    }

    #[inline(always)]
    unsafe fn fill(simd: S, rows: [*const u8; 4], to: *mut u8, quant: Quant8) {
        // SAFETY: as the caller promises.
        unsafe { simd.interleave(rows, to, <Bytes as Terms<S>>::FORM.flip(&quant)) };
    }
}

/// `TH` output rows.
///
/// # Safety
/// As [`RowTask`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn rows<S: SimdDot, T: Terms<S>, const TH: usize>(simd: S, task: &RowTask) {
    // SAFETY: as the caller promises.
    unsafe {
        match task.kw {
            3 => columns::<S, T, TH, 3>(simd, task),
            5 => columns::<S, T, TH, 5>(simd, task),
            _ => columns::<S, T, TH, 0>(simd, task),
        }
    }
}

/// All tiles of the rows; `KW` taps a row, or `task.kw` where it is 0.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
unsafe fn columns<S: SimdDot, T: Terms<S>, const TH: usize, const KW: usize>(
    simd: S,
    task: &RowTask,
) {
    // SAFETY: the columns of every tile lie in the task, and vectors in a block.
    unsafe {
        if task.ow < 4 {
            for ow in 0..task.ow {
                for lane in (0..BLOCK).step_by(S::LANES) {
                    tile::<S, T, TH, 1, 0>(simd, task, ow, lane);
                }
            }
            return;
        }
        for first in (0..task.ow).step_by(4) {
            // The last tile overlaps the one before.
            let ow = first.min(task.ow - 4);
            for lane in (0..BLOCK).step_by(S::LANES) {
                tile::<S, T, TH, 4, KW>(simd, task, ow, lane);
            }
        }
    }
}

/// `TW` outputs of `TH` rows, a vector of channels: the sums stay in registers, a weight meets all
/// columns, groups of input come from L1.
///
/// # Safety
/// - As [`RowTask`] says; `KW` is 0 or `task.kw`, `ow + TW <= task.ow` and `lane + S::LANES <= BLOCK`.
#[inline(always)]
unsafe fn tile<S: SimdDot, T: Terms<S>, const TH: usize, const TW: usize, const KW: usize>(
    simd: S,
    task: &RowTask,
    ow: usize,
    lane: usize,
) {
    // SAFETY: taps, columns and lanes of the task.
    unsafe {
        let mut acc = [[simd.load_sums(task.bias.add(lane)); TW]; TH];
        // The rows of a group, and their weights, take 4 bytes of a channel.
        let mut weights = task.weights.add(4 * lane);
        for p in 0..task.count {
            let mut x = (*task.groups.add(p)).add(ow * task.step + 4 * lane);
            for _ in 0..if KW > 0 { KW } else { task.kw } {
                let w: [S::Pairs; TH] =
                    std::array::from_fn(|th| simd.load_pairs(weights.add(th * PIXEL).cast()));
                for tw in 0..TW {
                    let group = simd.load_pairs(x.add(tw * task.step).cast());
                    for th in 0..TH {
                        acc[th][tw] = T::dot(simd, acc[th][tw], group, w[th]);
                    }
                }
                x = x.wrapping_add(task.tap);
                weights = weights.wrapping_add(2 * PIXEL);
            }
        }
        let m = simd.load_scales(task.multipliers.add(lane));
        let y = |th: usize, tw: usize| task.output[th].wrapping_add((ow + tw) * task.ld_out + lane);
        if TH == 2 {
            for tw in 0..TW {
                let v = [simd.scale(acc[0][tw], m), simd.scale(acc[TH - 1][tw], m)];
                simd.store_bytes([y(0, tw), y(1, tw)], v, &task.tail);
            }
        } else {
            for tw in (0..TW).step_by(2) {
                // A single column twice.
                let next = (tw + 1).min(TW - 1);
                let v = [simd.scale(acc[0][tw], m), simd.scale(acc[0][next], m)];
                simd.store_bytes([y(0, tw), y(0, next)], v, &task.tail);
            }
        }
    }
}

/// A group of rows.
///
/// # Safety
/// As [`FillTask`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn fill<S: SimdDot, T: Terms<S>>(simd: S, task: &FillTask) {
    let inside = task.to.wrapping_add(task.left * PIXEL);
    let padding = match T::FORM {
        Form::Words => 0,
        Form::Bytes { .. } => task.quant.zero_byte() ^ T::FORM.flip(&task.quant),
    };
    // SAFETY: as the caller promises.
    unsafe {
        task.to.write_bytes(padding, task.left * PIXEL);
        for j in 0..task.inside {
            let mut rows = task.rows;
            for i in 0..T::FORM.in_32_bits() {
                rows[i] = rows[i].wrapping_add(j * task.steps[i]);
            }
            let to = inside.wrapping_add(j * PIXEL);
            if task.multiplier == 1 {
                T::fill(simd, rows, to, task.quant);
            } else {
                let mut lines = [[0; BLOCK]; 4];
                for i in 0..T::FORM.in_32_bits() {
                    lines[i] = repeated(task, rows[i], i);
                }
                T::fill(simd, lines.each_ref().map(|line| line.as_ptr()), to, task.quant);
            }
        }
        inside.wrapping_add(task.inside * PIXEL).write_bytes(padding, task.right * PIXEL);
    }
}

/// The channels of a pixel of row `i` that the output channels of the block see.
///
/// # Safety
/// - `pixel` has the channels of the input, or is one of padding.
unsafe fn repeated(task: &FillTask, pixel: *const u8, i: usize) -> [u8; BLOCK] {
    let (first, channels) = task.channels;
    std::array::from_fn(|lane| {
        // Lanes past the last channel hold anything; a pixel of padding is the same in all of them.
        let channel = ((first + lane) / task.multiplier).min(channels - 1);
        // SAFETY: the channel lies in the pixel.
        unsafe { *pixel.add(if task.steps[i] == 0 { 0 } else { channel }) }
    })
}

/// Entries of one instruction set: a kernel of this name, and its functions.
macro_rules! kernel {
    ($(#[$doc:meta])* $id:ident: $name:literal, $isa:expr, $extension:expr, $token:ident $terms:ident,
     $module:ident $(, $feature:meta)*) => {
        $(#[$doc])*
        pub(super) static $id: super::Kernel = super::Kernel {
            name: $name,
            isa: $isa,
            extension: $extension,
            form: <generic::$terms as generic::Terms<$token>>::FORM,
            rows: [$module::rows::<1>, $module::rows::<2>],
            fill: $module::fill,
        };

        mod $module {
            use super::$token;
            use crate::dwconv_qs8::{FillTask, RowTask, generic};
            use generic::$terms;

            /// # Safety
            /// As [`generic::rows`].
            $(#[$feature])*
            pub(super) unsafe fn rows<const TH: usize>(task: &RowTask) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::rows::<$token, $terms, TH>($token, task) }
            }

            /// # Safety
            /// As [`generic::fill`].
            $(#[$feature])*
            pub(super) unsafe fn fill(task: &FillTask) {
                // SAFETY: as the caller promises; the kernel's level is that of the token.
                unsafe { generic::fill::<$token, $terms>($token, task) }
            }
        }
    };
}
pub(super) use kernel;
