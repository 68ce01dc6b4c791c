//! What is minimised, apart from a teacher.

use anyhow::{Result, ensure};
use depthwise_train::Loss;
use std::fmt;
use std::str::FromStr;

/// What the options say of the loss.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LossArgs {
    /// What is minimised: cross-entropy, or focal=GAMMA, which counts easy samples less.
    #[arg(long, value_name = "LOSS", default_value = "cross-entropy")]
    loss: Kind,
    /// Factors of the classes in cross-entropy: balanced, as if all had the same number of samples, or
    /// a number per class in their order.
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "teacher")]
    class_weights: Option<ClassWeights>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    CrossEntropy,
    Focal(f32),
}

#[derive(Clone, Debug, PartialEq)]
enum ClassWeights {
    Balanced,
    Given(Vec<f32>),
}

impl LossArgs {
    /// The loss for classes of so many training samples.
    pub(super) fn loss(&self, label_smoothing: f32, counts: &[usize]) -> Result<Loss> {
        let class_weights = match &self.class_weights {
            None => Vec::new(),
            Some(ClassWeights::Balanced) => balanced(counts),
            Some(ClassWeights::Given(weights)) => {
                let (given, classes) = (weights.len(), counts.len());
                ensure!(given == classes, "--class-weights: {given} for {classes} classes");
                weights.clone()
            }
        };
        match self.loss {
            Kind::CrossEntropy => Ok(Loss::CrossEntropy { label_smoothing, class_weights }),
            Kind::Focal(gamma) => {
                ensure!(class_weights.is_empty(), "--class-weights are for cross-entropy");
                Ok(Loss::Focal { gamma })
            }
        }
    }
}

/// All samples over the number of classes, over those of the class (King and Zeng 2001, scikit-learn's
/// `balanced`); 1 for a class without samples.
fn balanced(counts: &[usize]) -> Vec<f32> {
    let total: usize = counts.iter().sum();
    let share = total as f32 / counts.len().max(1) as f32;
    counts.iter().map(|&count| if count == 0 { 1.0 } else { share / count as f32 }).collect()
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let gamma = text.strip_prefix("focal=").and_then(|gamma| gamma.parse().ok());
        match gamma {
            Some(gamma) if (0.0..=100.0).contains(&gamma) => Ok(Kind::Focal(gamma)),
            None if text == "cross-entropy" => Ok(Kind::CrossEntropy),
            _ => Err("it must be cross-entropy or focal=GAMMA, a number from 0 to 100".into()),
        }
    }
}

impl FromStr for ClassWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<ClassWeights, String> {
        if text == "balanced" {
            return Ok(ClassWeights::Balanced);
        }
        let weight =
            |text: &str| text.trim().parse().ok().filter(|&w: &f32| w > 0.0 && w.is_finite());
        let weights: Option<Vec<f32>> = text.split(',').map(weight).collect();
        let weights =
            weights.ok_or("it must be balanced, or numbers above 0 with commas between")?;
        Ok(ClassWeights::Given(weights))
    }
}

impl fmt::Display for LossArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.loss {
            Kind::CrossEntropy => f.write_str("cross-entropy")?,
            Kind::Focal(gamma) => write!(f, "focal loss with {gamma}")?,
        }
        match &self.class_weights {
            None => Ok(()),
            Some(ClassWeights::Balanced) => f.write_str(", classes balanced"),
            Some(ClassWeights::Given(weights)) => write!(f, ", classes times {weights:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_what_its_name_says() {
        let of = |loss: &str, weights: Option<&str>| LossArgs {
            loss: loss.parse().unwrap(),
            class_weights: weights.map(|text| text.parse().unwrap()),
        };
        let plain = |class_weights| Loss::CrossEntropy { label_smoothing: 0.1, class_weights };
        let counts = [30, 10, 0, 20];
        assert_eq!(of("cross-entropy", None).loss(0.1, &counts).unwrap(), plain(vec![]));
        let even = of("cross-entropy", Some("balanced"));
        assert_eq!(even.loss(0.1, &counts).unwrap(), plain(vec![0.5, 1.5, 1.0, 0.75]));
        let given = of("cross-entropy", Some("1, 2,0.5,3"));
        assert_eq!(given.loss(0.1, &counts).unwrap(), plain(vec![1.0, 2.0, 0.5, 3.0]));
        assert_eq!(
            given.loss(0.1, &[1, 1]).unwrap_err().to_string(),
            "--class-weights: 4 for 2 classes"
        );
        assert_eq!(of("focal=2", None).loss(0.1, &counts).unwrap(), Loss::Focal { gamma: 2.0 });
        assert!(of("focal=2", Some("balanced")).loss(0.1, &counts).is_err());
        assert!(
            ["focal", "focal=-1", "focal=x", "mse"].iter().all(|bad| bad.parse::<Kind>().is_err())
        );
        assert!(["", "1,0", "1,x", "nan"].iter().all(|bad| bad.parse::<ClassWeights>().is_err()));
    }
}
