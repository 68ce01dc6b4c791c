//! Random numbers that depend on what they are for, not on who asks first.

use rand::SeedableRng;
pub(crate) use rand::rngs::ChaCha8Rng as Rng;
use rand::{Rng as _, RngExt};

/// What random numbers are for. Every use has its own sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Split = 1,
    Shuffle = 2,
    Augment = 3,
    Mixup = 4,
    Dropout = 5,
    Initialize = 6,
}

/// The sequence of one use, epoch (or step, or name) and sample (or mask): the same whatever thread
/// asks, in whatever order.
pub(crate) fn rng(seed: u64, purpose: Use, epoch: u64, index: usize) -> Rng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, epoch, index as u64];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    Rng::from_seed(key)
}

/// Uniform in `-reach..=reach`.
pub(crate) fn symmetric(rng: &mut Rng, reach: f32) -> f32 {
    (2.0 * unit(rng) - 1.0) * reach
}

/// Uniform in `0..1`, of 24 bits.
pub(crate) fn unit(rng: &mut Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

/// Normal of mean 0 and variance 1: Box and Muller (1958).
pub(crate) fn normal(rng: &mut Rng) -> f32 {
    // 1 - u is above 0, so its logarithm is finite.
    let radius = (-2.0 * f64::from(1.0 - unit(rng)).ln()).sqrt();
    (radius * (std::f64::consts::TAU * f64::from(unit(rng))).cos()) as f32
}

/// Beta-distributed with both parameters `alpha`: Jöhnk's rejection (1964), for `alpha` up to
/// about 2.
pub(crate) fn beta(rng: &mut Rng, alpha: f32) -> f32 {
    let power = 1.0 / f64::from(alpha);
    loop {
        let (x, y) = (f64::from(unit(rng)).powf(power), f64::from(unit(rng)).powf(power));
        let sum = x + y;
        if sum > 0.0 && sum <= 1.0 {
            return (x / sum) as f32;
        }
    }
}

/// A number for a name (FNV-1a).
pub(crate) fn of_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Puts the items in random order: Fisher and Yates.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.random_range(0..=last as u64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_differ_by_each_part_of_their_key() {
        let first = |seed, purpose, epoch, index| rng(seed, purpose, epoch, index).next_u64();
        let base = first(1, Use::Split, 0, 0);
        assert_eq!(base, first(1, Use::Split, 0, 0));
        for other in [
            first(2, Use::Split, 0, 0),
            first(1, Use::Shuffle, 0, 0),
            first(1, Use::Split, 1, 0),
            first(1, Use::Split, 0, 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut rng = rng(7, Use::Augment, 0, 0);
        let n = 20_000;
        let mut moments = |draw: &mut dyn FnMut(&mut Rng) -> f32| {
            let values: Vec<f64> = (0..n).map(|_| f64::from(draw(&mut rng))).collect();
            let mean = values.iter().sum::<f64>() / f64::from(n);
            let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
            (mean, variance)
        };
        // Four standard errors of the mean of 20000 draws of variance 1 are 0.028.
        let (mean, variance) = moments(&mut normal);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        // Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
        for alpha in [0.2, 1.0, 2.0] {
            let (mean, variance) = moments(&mut |rng| beta(rng, alpha));
            let want = 0.25 / (2.0 * f64::from(alpha) + 1.0);
            assert!((mean - 0.5).abs() < 0.015 && (variance - want).abs() < 0.01, "{alpha}");
        }
        let (mean, variance) = moments(&mut |rng| symmetric(rng, 3.0));
        assert!(mean.abs() < 0.06 && (variance - 3.0).abs() < 0.1, "{mean} {variance}");
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        shuffle(&mut items, &mut rng(3, Use::Shuffle, 0, 0));
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
