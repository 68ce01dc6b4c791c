//! A new classifier on MobileNet V2, from a folder with a folder of pictures per class:
//! `cargo run --release -p depthwise-train --example new_classifier -- flowers/ mobilenet_v2.pth`

use depthwise_engine::{Options, formats, tensor::Hw};
use depthwise_train::data::{Dataset, FeatureSource, PictureSource, PictureStore};
use depthwise_train::{FitOptions, LinearHead, features::Extractor, fit, fit::evaluate, linear};
use depthwise_vision::{Normalize, Preprocess};
use depthwise_zoo::{Checkpoint, MobileNetV2, Network};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [data, weights] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("give a folder of folders of pictures, and weights of MobileNet V2".into());
    };
    let weights = formats::open_weights(weights)?;
    let network = MobileNetV2::new(1.0).resolution(96).build(&Checkpoint::new(&weights))?;
    let backbone = linear::cut(&network, None)?;
    let mut extractor = Extractor::new(&backbone, Hw::square(96), 16, &Options::default())?;

    let (train, validation) = Dataset::open(Path::new(data))?.split(0.2, 1)?;
    let classes = train.classes.len();
    let mut features = |part: &Dataset| -> Result<FeatureSource, Box<dyn std::error::Error>> {
        let preprocess = Preprocess::classifier(96, Normalize::IMAGENET);
        let store = PictureStore::new(part, preprocess, 1 << 30);
        let source = PictureSource::new(part, &store, &preprocess)?;
        let all = extractor.all(&source, &[None], &mut |_| ())?;
        Ok(FeatureSource::new(all, extractor.width(), source.labels, classes)?)
    };
    let (train, validation) = (features(&train)?, features(&validation)?);

    let mut head = LinearHead::new(train.width, classes);
    let options = FitOptions { epochs: 20, ..FitOptions::default() };
    let outcome = fit(&mut head, &train, &validation, &options, &mut ())?;
    let metrics = evaluate(&mut head, &validation, 32)?.metrics(classes);
    println!("epoch {}: accuracy {:.3}", outcome.best, metrics.accuracy);
    let trained = linear::attach(backbone, &head, linear::classifier_name(&network))?;
    println!("{} nodes", trained.nodes().len());
    Ok(())
}
