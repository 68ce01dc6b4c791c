//! Training and fine-tuning of depthwise-separable networks on CPUs.
//!
//! | module or item | what it does |
//! |---|---|
//! | [`Trainer`] | takes a graph, steps on batches, gives the trained graph back |
//! | [`TrainingGraph`], [`backward()`] | the gradients of a graph, as ordinary nodes |
//! | [`Loss`], [`Target`] | what is minimised |
//! | [`Optimizer`], [`Schedule`], [`Plateau`] | how parameters move |
//! | [`replace_head`], [`cut`], [`Head::graph`] | a new classifier on a backbone; either alone |
//! | [`features`] | what a frozen backbone says of every picture, computed once |
//! | [`initialize`] | fresh weights |
//! | [`fit()`], [`Step`], [`data`], [`augment`], [`text`] | the loop over pictures or texts with labels, and what it needs |
//! | [`Learner`] | a trainer in that loop, with a teacher or without |
//! | [`metrics`], [`report`] | how good it is, in numbers and as a page |
//! | [`Attack`] | pictures that mislead a network, through the gradient of its input |
//!
//! Parameters live in one buffer per name in the trainer. The gradient graph takes them as inputs
//! and runs like any other network: planned once, in one arena, without allocating.

#![forbid(unsafe_code)]

mod attack;
pub mod augment;
mod backward;
mod builder;
mod checkpoint;
pub mod data;
mod drop_path;
mod error;
pub mod features;
pub mod fit;
mod fit_error;
mod form;
mod head;
mod init;
mod learner;
mod loss;
pub mod metrics;
mod optimizer;
mod pattern;
pub mod report;
mod runner;
mod schedule;
mod slots;
mod state;
mod step;
mod streams;
pub mod text;
mod trainer;

pub use attack::{Adversary, Attack};
pub use augment::Augment;
pub use backward::{Backward, backward};
pub use error::TrainError;
pub use fit::{FitOptions, fit};
pub use fit_error::FitError;
pub use form::{BatchNormMode, FormOptions, Mask, Parameter, Statistics, TrainingGraph};
pub use head::{Head, classifier_name, copy_parameters, cut, replace_head, split_at};
pub use init::{Initializer, initialize};
pub use learner::Learner;
pub use loss::{Loss, Target};
pub use optimizer::{Optimizer, Rule};
pub use pattern::Pattern;
pub use schedule::{Decay, Plateau, Schedule};
pub use step::Step;
pub use trainer::{StepReport, TrainOptions, Trainer};
