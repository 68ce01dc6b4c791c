//! A new classifier on MobileNet V2, from a folder with a folder of pictures per class:
//! `cargo run --release -p depthwise-train --example new_classifier -- flowers/ mobilenet_v2.pth`

use depthwise_engine::{Options, formats};
use depthwise_train::data::{Dataset, FeatureSource, PictureSource, PictureStore};
use depthwise_train::{FitOptions, Head, Learner, TrainOptions, Trainer};
use depthwise_train::{
    copy_parameters, cut, features::Extractor, fit, fit::evaluate, replace_head,
};
use depthwise_vision::{Normalize, Preprocess};
use depthwise_zoo::{Checkpoint, MobileNetV2, Network};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [data, weights] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("give a folder of folders of pictures, and weights of MobileNet V2".into());
    };
    let weights = formats::open_weights(weights)?;
    let network = MobileNetV2::new(1.0).resolution(96).build(&Checkpoint::new(&weights))?;
    let mut extractor = Extractor::new(&cut(&network, None)?, 16, &Options::default())?;

    let (train, validation) = Dataset::open(Path::new(data))?.split(0.2, 1)?;
    let head = Head::new(train.classes.len());
    let mut features = |part: &Dataset| -> Result<FeatureSource, Box<dyn std::error::Error>> {
        let preprocess = Preprocess::classifier(96, Normalize::IMAGENET);
        let store = PictureStore::new(part, preprocess, 1 << 30);
        let source = PictureSource::new(part, store, &preprocess)?;
        let all = extractor.all(&source, &[None], &mut |_| ())?;
        Ok(FeatureSource::new(all, extractor.width(), source.labels, head.classes)?)
    };
    let (train, validation) = (features(&train)?, features(&validation)?);

    let trainer = Trainer::new(head.graph(train.width)?, TrainOptions::default())?;
    let mut learner = Learner::new(trainer);
    let options = FitOptions { epochs: 20, rate: 0.05, ..FitOptions::default() };
    let outcome = fit(&mut learner, &train, &validation, &options, &mut ())?;
    let metrics = evaluate(&mut learner, &validation, 32)?.metrics(head.classes);
    println!("epoch {}: accuracy {:.3}", outcome.best, metrics.accuracy);
    let mut trained = replace_head(&network, None, &head)?;
    copy_parameters(&learner.trainer.graph()?, &mut trained)?;
    println!("{} nodes", trained.nodes().len());
    Ok(())
}
