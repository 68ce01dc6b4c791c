use super::*;
use crate::data::{Batch, FeatureSource};
use crate::streams::unit;
use crate::{Head, Learner, Optimizer, TrainOptions, Trainer};
use depthwise_tensor::Tensor;

/// Points around the corners of a triangle, three classes, two views.
fn points(count: usize, seed: u64) -> FeatureSource {
    let mut rng = rng(seed, Use::Augment, 0, 0);
    let labels: Vec<usize> = (0..count).map(|i| i % 3).collect();
    let corners = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]];
    let features = (0..2).flat_map(|_| labels.clone()).flat_map(|label| corners[label]);
    let features = features.map(|x| x + 2.0 * unit(&mut rng)).collect();
    FeatureSource::new(features, 2, labels, 3).unwrap()
}

fn options() -> FitOptions {
    FitOptions { epochs: 6, batch: 8, rate: 0.05, warmup: 0.1, seed: 4, ..FitOptions::default() }
}

/// A dense layer from 2 features to 3 classes.
fn head() -> Learner {
    let head = Head { dropout: 0.0, ..Head::new(3) };
    let optimizer = Optimizer::adamw(0.0);
    let options = TrainOptions { optimizer, threads: 1, ..TrainOptions::default() };
    Learner::new(Trainer::new(head.graph(2).unwrap(), options).unwrap())
}

fn bits(head: &Learner) -> Vec<u8> {
    let state = head.state().unwrap();
    state.iter().flat_map(|(_, tensor)| tensor.bytes().to_vec()).collect()
}

/// A head that fails after so many steps, as if the program were ended there.
struct Interrupted {
    head: Learner,
    left: usize,
}

impl Step for Interrupted {
    fn step(&mut self, batch: &Batch, rate: f32) -> Result<f32, FitError> {
        if self.left == 0 {
            return Err(FitError::Network("ended".into()));
        }
        self.left -= 1;
        self.head.step(batch, rate)
    }
    fn logits(&mut self, input: &Tensor) -> Result<Vec<f32>, FitError> {
        self.head.logits(input)
    }
    fn state(&self) -> Result<Weights, FitError> {
        self.head.state()
    }
    fn restore(&mut self, state: &Weights) -> Result<(), FitError> {
        self.head.restore(state)
    }
}

#[test]
fn a_run_ended_at_any_moment_resumes_to_the_same_bits() {
    let (train, validation) = (points(90, 1), points(30, 2));
    let mut whole = head();
    let outcome = fit(&mut whole, &train, &validation, &options(), &mut ()).unwrap();
    assert_eq!(outcome.history.len(), 6);
    let steps = 6 * 90usize.div_ceil(8);
    let mut rng = rng(8, Use::Split, 0, 0);
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Some(folder.path().join("checkpoint.safetensors"));
        let resumable = FitOptions { checkpoint, resume: true, ..options() };
        let mut taken = 0;
        // Ended twice, at random.
        for _ in 0..2 {
            let left = (unit(&mut rng) * (steps - taken) as f32) as usize;
            let mut step = Interrupted { head: head(), left };
            let _ = fit(&mut step, &train, &validation, &resumable, &mut ());
            taken += left / 12 * 12;
        }
        let mut resumed = head();
        let again = fit(&mut resumed, &train, &validation, &resumable, &mut ()).unwrap();
        assert_eq!(bits(&resumed), bits(&whole));
        let losses =
            |o: &Outcome| o.history.iter().map(|e| (e.loss, e.accuracy)).collect::<Vec<_>>();
        assert_eq!((again.best, losses(&again)), (outcome.best, losses(&outcome)));
    }
}

#[test]
fn what_is_left_is_the_best_epoch() {
    let (train, validation) = (points(90, 1), points(60, 2));
    let mut head = head();
    // A rate that is far too high, so that epochs differ.
    let wild = FitOptions { rate: 3.0, decay: Decay::Constant, ..options() };
    let outcome = fit(&mut head, &train, &validation, &wild, &mut ()).unwrap();
    let metrics = evaluate(&mut head, &validation, 7).unwrap().metrics(3);
    let best = outcome.history[outcome.best - 1];
    assert_eq!(Some(metrics.accuracy), best.accuracy);
    for epoch in &outcome.history {
        assert!(epoch.accuracy <= best.accuracy, "{epoch:?}");
    }
}

#[test]
fn patience_ends_a_run_that_gets_no_better() {
    // Labels that say nothing about the points.
    let train = points(60, 1);
    let noise = FeatureSource::new(vec![0.5; 120], 2, train.labels.clone(), 3).unwrap();
    let mut head = head();
    let options = FitOptions { epochs: 50, patience: Some(3), ..options() };
    let outcome = fit(&mut head, &train, &noise, &options, &mut ()).unwrap();
    assert!(outcome.stopped_early);
    assert_eq!(outcome.history.len(), outcome.best + 3);
}

#[test]
fn the_rate_warms_up_and_falls_along_a_cosine() {
    let options = FitOptions { rate: 1.0, warmup: 0.2, ..FitOptions::default() };
    let at = |step| options.rate_at(step, 100);
    assert!((at(0) - 1.0 / 20.0).abs() < 1e-6 && (at(19) - 1.0).abs() < 1e-6);
    assert!((at(20) - 1.0).abs() < 1e-6 && (at(60) - 0.5).abs() < 1e-6 && at(99) < 1e-3);
    let constant = FitOptions { decay: Decay::Constant, ..options };
    assert_eq!(constant.rate_at(99, 100), 1.0);
}

#[test]
fn the_rate_falls_by_epochs() {
    // Ten steps per epoch.
    let of = |text: &str| FitOptions {
        rate: 1.0,
        decay: text.parse().unwrap(),
        ..FitOptions::default()
    };
    let rates = |text: &str| [0, 19, 20, 40].map(|step| of(text).rate_at(step, 100));
    assert_eq!(rates("step=2:0.5"), [1.0, 1.0, 0.5, 0.25]);
    let [first, _, third, _] = rates("exponential=0.5");
    assert_eq!((first, third), (1.0, 0.25));
    let plateau = of("plateau=2:0.5");
    let epoch = |loss: f64| EpochRecord {
        epoch: 1,
        loss,
        validation_loss: None,
        accuracy: None,
        macro_f1: None,
        rate: 1.0,
        seconds: 0.0,
    };
    let losses = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0];
    let left: Vec<f32> = (0..=6)
        .map(|n| plateau.plateau(&losses[..n].iter().map(|&x| epoch(x)).collect::<Vec<_>>()))
        .collect();
    assert_eq!(left, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]);
    for bad in ["cosine=1", "step=2", "step=0:0.5", "step=1:2", "exponential=-1", "linear"] {
        assert!(bad.parse::<Decay>().is_err(), "{bad}");
    }
}

#[test]
fn an_overflowing_loss_is_an_error_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.safetensors");
    let good = FitOptions { checkpoint: Some(path.clone()), epochs: 1, ..options() };
    let train = points(30, 1);
    fit(&mut head(), &train, &points(9, 2), &good, &mut ()).unwrap();
    let before = std::fs::read(&path).unwrap();
    let mut bad = train.clone();
    bad.features[17] = f32::INFINITY;
    let error = fit(&mut head(), &bad, &points(9, 2), &good, &mut ()).unwrap_err();
    assert!(matches!(error, FitError::NotFinite { epoch: 1, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn checkpoints_of_other_runs_and_broken_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.safetensors");
    let (train, validation) = (points(30, 1), points(9, 2));
    let run = FitOptions { checkpoint: Some(path.clone()), resume: true, epochs: 2, ..options() };
    let go = |options: &FitOptions| fit(&mut head(), &train, &validation, options, &mut ());
    go(&run).unwrap();
    let error = go(&FitOptions { rate: 0.07, ..run.clone() }).unwrap_err().to_string();
    assert!(error.contains("another run") && error.contains("0.07"), "{error}");
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(go(&run).is_err(), "{cut} bytes");
    }
    for bad in [FitOptions { epochs: 0, ..options() }, FitOptions { rate: f32::NAN, ..options() }] {
        assert!(matches!(go(&bad), Err(FitError::Setting { .. })));
    }
}

#[test]
fn a_disk_that_is_full_says_so() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = FitError::io("run/checkpoint.safetensors")(full).to_string();
    assert!(error.contains("run/checkpoint.safetensors") && error.contains("resume"), "{error}");
}

#[test]
fn the_worst_mistakes_come_first() {
    let predictions = Predictions {
        probabilities: vec![0.9, 0.1, 0.2, 0.8, 0.05, 0.95, 0.4, 0.6],
        labels: vec![0, 0, 0, 1],
    };
    assert_eq!(predictions.worst(2, 5), [(2, 1, 0.05), (1, 1, 0.2)]);
    assert_eq!(predictions.worst(2, 1).len(), 1);
}
