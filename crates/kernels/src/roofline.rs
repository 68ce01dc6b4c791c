//! What a core can do at most: arithmetic in registers, and bytes from each level of memory. The
//! speed of kernels is held against both.
//!
//! Every function does work and returns how much; the caller takes the time.

use crate::arch::{Scalar, SimdF32};
use crate::isa::{Cpu, Isa};
use std::hint::black_box;

/// Independent sums. A fused multiply-add takes four cycles and two begin per cycle, a separate
/// product and sum take six: twelve hide either, and fit into 16 registers.
const CHAINS: usize = 12;

/// Does `steps` rounds of independent multiply-adds at the level of `cpu`, data in registers, and
/// returns the number of floating-point operations.
///
/// The scalar level multiplies and adds apart, as its kernels do.
pub fn multiply_add(cpu: &Cpu, steps: usize) -> f64 {
    at_level(cpu, MultiplyAdd { steps })
}

/// Reads `data` `passes` times, whole vectors in order, and returns the number of bytes read.
/// Elements beyond the last group of `CHAINS` vectors are left out.
pub fn read(cpu: &Cpu, data: &[f32], passes: usize) -> f64 {
    at_level(cpu, Read { data, passes })
}

/// Copies the first half of `data` to the second `passes` times, and returns the number of bytes
/// read and written. Elements beyond the last whole group of vectors are left out.
pub fn copy(cpu: &Cpu, data: &mut [f32], passes: usize) -> f64 {
    at_level(cpu, Copy { data, passes })
}

/// Work that can be done at any level.
trait Work {
    /// Does it, and returns how much it was. `#[inline(always)]`, as all that takes a token.
    fn run<S: SimdF32>(self, simd: S) -> f64;
}

/// Runs `work` in a function compiled for the level of `cpu`.
fn at_level(cpu: &Cpu, work: impl Work) -> f64 {
    match cpu.isa() {
        // SAFETY: a `Cpu` of this level is proof that the CPU has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => vectorized(unsafe { pulp::x86::V4::new_unchecked() }, work),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => vectorized(unsafe { pulp::x86::V3::new_unchecked() }, work),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => vectorized(unsafe { pulp::aarch64::Neon::new_unchecked() }, work),
        _ => vectorized(Scalar, work),
    }
}

fn vectorized<S: SimdF32>(simd: S, work: impl Work) -> f64 {
    simd.vectorize(
        #[inline(always)]
        || work.run(simd),
    )
}

struct MultiplyAdd {
    steps: usize,
}

impl Work for MultiplyAdd {
    #[inline(always)]
    fn run<S: SimdF32>(self, simd: S) -> f64 {
        let (a, b) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(1e-3)));
        let mut sums = [simd.splat_f32s(0.0); CHAINS];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = simd.splat_f32s(i as f32);
        }
        for _ in 0..self.steps {
            for sum in &mut sums {
                *sum = simd.fma(*sum, a, b);
            }
        }
        black_box(sums);
        (self.steps * CHAINS * S::F32_LANES * 2) as f64
    }
}

struct Read<'a> {
    data: &'a [f32],
    passes: usize,
}

impl Work for Read<'_> {
    #[inline(always)]
    fn run<S: SimdF32>(self, simd: S) -> f64 {
        let (vectors, _) = S::as_simd_f32s(self.data);
        let mut maxima = [simd.splat_f32s(0.0); CHAINS];
        for _ in 0..self.passes {
            for group in black_box(vectors).chunks_exact(CHAINS) {
                for (max, &vector) in maxima.iter_mut().zip(group) {
                    // One cycle of latency at most levels, and the operand comes from memory.
                    *max = simd.max_f32s(*max, vector);
                }
            }
        }
        black_box(maxima);
        (self.passes * (vectors.len() / CHAINS * CHAINS) * size_of::<S::f32s>()) as f64
    }
}

struct Copy<'a> {
    data: &'a mut [f32],
    passes: usize,
}

impl Work for Copy<'_> {
    #[inline(always)]
    fn run<S: SimdF32>(self, simd: S) -> f64 {
        const GROUP: usize = 4;
        let half = self.data.len() / 2;
        let (from, to) = self.data.split_at_mut(half);
        let (from, _) = S::as_simd_f32s(from);
        let (to, _) = S::as_mut_simd_f32s(to);
        // Unknown to the compiler, so that the loop stays one instead of a call of `memcpy`.
        let zero = simd.splat_f32s(black_box(0.0));
        for _ in 0..self.passes {
            let groups = black_box(&mut *to).chunks_exact_mut(GROUP);
            for (to, from) in groups.zip(from.chunks_exact(GROUP)) {
                for (to, &from) in to.iter_mut().zip(from) {
                    *to = simd.add_f32s(from, zero);
                }
            }
        }
        (2 * self.passes * (from.len() / GROUP * GROUP) * size_of::<S::f32s>()) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_counts_its_operations() {
        for cpu in Cpu::detect().levels() {
            let want = 10 * CHAINS * cpu.isa().lanes_f32() * 2;
            assert_eq!(multiply_add(&cpu, 10), want as f64, "{cpu}");
        }
    }

    #[test]
    fn every_level_counts_its_bytes() {
        for cpu in Cpu::detect().levels() {
            let lanes = cpu.isa().lanes_f32();
            let mut data: Vec<f32> = (0..2 * CHAINS * lanes).map(|i| i as f32).collect();
            assert_eq!(read(&cpu, &data, 3), (3 * 2 * CHAINS * lanes * 4) as f64, "{cpu}");
            assert_eq!(copy(&cpu, &mut data, 2), (2 * 2 * CHAINS * lanes * 4) as f64, "{cpu}");
            assert_eq!(data[..CHAINS * lanes], data[CHAINS * lanes..], "{cpu}");
            assert_eq!(data[1], 1.0);
        }
    }
}
