//! The most that the arithmetic units of a core give: what the speed of kernels is held against.

use crate::isa::{Cpu, Isa};
use pulp::Simd;
use std::hint::black_box;

/// Independent sums. A fused multiply-add takes four cycles and two begin per cycle, a separate
/// product and sum take six: twelve hide either, and fit into 16 registers.
const CHAINS: usize = 12;

/// Does `steps` rounds of independent multiply-adds at the level of `cpu`, data in registers, and
/// returns the number of floating-point operations. The caller takes the time.
///
/// The scalar level multiplies and adds apart, as its kernels do.
pub fn multiply_add(cpu: &Cpu, steps: usize) -> f64 {
    let lanes = match cpu.isa() {
        // SAFETY: a `Cpu` of this level is proof that the CPU has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(steps) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(steps) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { neon(steps) },
        _ => scalar(steps),
    };
    (steps * CHAINS * lanes * 2) as f64
}

/// # Safety
/// - The CPU has the level.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")]
unsafe fn avx512(steps: usize) -> usize {
    // SAFETY: the CPU has the level.
    chains(unsafe { pulp::x86::V4::new_unchecked() }, steps)
}

/// # Safety
/// - The CPU has the level.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")]
unsafe fn avx2(steps: usize) -> usize {
    // SAFETY: the CPU has the level.
    chains(unsafe { pulp::x86::V3::new_unchecked() }, steps)
}

/// # Safety
/// - The CPU has the level.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon(steps: usize) -> usize {
    // SAFETY: the CPU has the level.
    chains(unsafe { pulp::aarch64::Neon::new_unchecked() }, steps)
}

/// Returns the lanes of a vector.
#[inline(always)]
fn chains<S: Simd>(simd: S, steps: usize) -> usize {
    let (a, b) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(1e-3)));
    let mut sums = [simd.splat_f32s(0.0); CHAINS];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = simd.splat_f32s(i as f32);
    }
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = simd.mul_add_e_f32s(*sum, a, b);
        }
    }
    black_box(sums);
    S::F32_LANES
}

fn scalar(steps: usize) -> usize {
    const LANES: usize = 4;
    let (a, b) = (black_box([0.999f32; LANES]), black_box([1e-3f32; LANES]));
    let mut sums = [[0.0f32; LANES]; CHAINS];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = [i as f32; LANES];
    }
    for _ in 0..steps {
        for sum in &mut sums {
            for lane in 0..LANES {
                sum[lane] = sum[lane] * a[lane] + b[lane];
            }
        }
    }
    black_box(sums);
    LANES
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
}
