//! Learning rates over time.

use crate::TrainError;

/// How the rate falls after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Decay {
    /// It does not.
    #[default]
    Constant,
    /// Times `factor` every `every` steps.
    Step {
        /// Steps between two falls.
        every: u64,
        /// What is left.
        factor: f32,
    },
    /// Times `factor` per `every` steps, smoothly.
    Exponential {
        /// Steps for one factor.
        every: u64,
        /// What is left.
        factor: f32,
    },
    /// Half a cosine from the base to `floor` times the base in `steps` steps, then constant
    /// (Loshchilov and Hutter 2017).
    Cosine {
        /// Steps of the fall, the warm-up not counted.
        steps: u64,
        /// What is left at the end.
        floor: f32,
    },
}

/// A learning rate per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The rate at its highest.
    pub base: f32,
    /// Steps in which it rises to that, evenly.
    pub warm_up: u64,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// Always the same rate.
    pub fn constant(base: f32) -> Schedule {
        Schedule { base, warm_up: 0, decay: Decay::Constant }
    }

    /// Warm-up, then half a cosine to 0; `steps` of both together.
    pub fn cosine(base: f32, warm_up: u64, steps: u64) -> Schedule {
        let decay = Decay::Cosine { steps: steps.saturating_sub(warm_up), floor: 0.0 };
        Schedule { base, warm_up, decay }
    }

    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f32 {
        if step < self.warm_up {
            return (f64::from(self.base) * (step + 1) as f64 / self.warm_up as f64) as f32;
        }
        let at = (step - self.warm_up) as f64;
        let factor = match self.decay {
            Decay::Constant => 1.0,
            Decay::Step { every, factor } => {
                f64::from(factor).powf((at / every.max(1) as f64).floor())
            }
            Decay::Exponential { every, factor } => {
                f64::from(factor).powf(at / every.max(1) as f64)
            }
            Decay::Cosine { steps, floor } => {
                let part = (at / steps.max(1) as f64).min(1.0);
                let wave = 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
                f64::from(floor) + (1.0 - f64::from(floor)) * wave
            }
        };
        (f64::from(self.base) * factor) as f32
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        match self.base.is_finite() && self.base >= 0.0 {
            true => Ok(()),
            false => Err(TrainError::setting("learning rate", self.base, "finite, 0 or more")),
        }
    }
}

/// Lowers the rate where a measure (a loss: lower is better) has not improved for a while. Its
/// factor multiplies that of the [`Schedule`]; see [`Trainer::scale_rate`](crate::Trainer::scale_rate).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// What is left of the rate.
    pub factor: f32,
    /// Observations without improvement that are borne.
    pub patience: u32,
    /// Improvement that counts.
    pub least: f32,
    /// The best so far.
    pub best: f32,
    /// Observations since.
    pub waited: u32,
}

impl Plateau {
    /// Times `factor` after more than `patience` observations without improvement.
    pub fn new(factor: f32, patience: u32) -> Plateau {
        Plateau { factor, patience, least: 1e-4, best: f32::INFINITY, waited: 0 }
    }

    /// Takes note of a measure, and says what to multiply the rate with: 1 or the factor.
    pub fn observe(&mut self, measure: f32) -> f32 {
        if measure < self.best - self.least {
            (self.best, self.waited) = (measure, 0);
            return 1.0;
        }
        self.waited += 1;
        if self.waited <= self.patience {
            return 1.0;
        }
        self.waited = 0;
        self.factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_by_hand() {
        let rates = |s: Schedule, steps: [u64; 4]| steps.map(|step| s.rate(step));
        let cosine = Schedule::cosine(1.0, 2, 6);
        assert_eq!(rates(cosine, [0, 1, 2, 4]), [0.5, 1.0, 1.0, 0.5]);
        assert_eq!([6, 9].map(|step| cosine.rate(step)), [0.0, 0.0]);
        let step =
            Schedule { decay: Decay::Step { every: 3, factor: 0.5 }, ..Schedule::constant(1.0) };
        assert_eq!(rates(step, [0, 2, 3, 6]), [1.0, 1.0, 0.5, 0.25]);
        let exponential = Schedule {
            decay: Decay::Exponential { every: 2, factor: 0.25 },
            ..Schedule::constant(2.0)
        };
        assert_eq!(rates(exponential, [0, 1, 2, 4]), [2.0, 1.0, 0.5, 0.125]);
    }

    #[test]
    fn a_plateau_lowers_the_rate_after_its_patience() {
        let mut plateau = Plateau::new(0.5, 1);
        let got = [1.0, 1.0, 1.0, 1.0, 0.5, 0.6].map(|loss| plateau.observe(loss));
        assert_eq!(got, [1.0, 1.0, 0.5, 1.0, 1.0, 1.0]);
    }
}
