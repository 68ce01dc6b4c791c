//! Numbers that are the same on every machine.

use depthwise_tensor::Tensor;

/// A small generator (SplitMix64, Steele et al. 2014): good enough for test data, and the same
/// sequence everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `-1.0..1.0`, a multiple of 2^-23.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// A number below `end`.
    ///
    /// # Panics
    /// Where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }
}

/// An `f32` tensor of numbers in `-1.0..1.0`.
///
/// # Panics
/// Where the extents make no shape.
pub fn random_tensor(dims: &[usize], seed: u64) -> Tensor {
    let mut random = Random::new(seed);
    let data: Vec<f32> = (0..dims.iter().product()).map(|_| random.unit()).collect();
    Tensor::from_vec(dims, data).expect("extents of a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_and_repeat() {
        let t = random_tensor(&[10, 100], 7);
        let data = t.data::<f32>().unwrap();
        assert!(data.iter().all(|x| (-1.0..1.0).contains(x)));
        let mean = data.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.1, "mean {mean}");
        assert_eq!(t, random_tensor(&[10, 100], 7));
        assert_ne!(t, random_tensor(&[10, 100], 8));
    }

    #[test]
    fn the_sequence_is_that_of_the_published_generator() {
        assert_eq!(Random::new(0).bits(), 0xe220_a839_7b1d_cdaf);
    }
}
