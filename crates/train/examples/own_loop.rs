//! A training loop by hand: all of MobileNet V1 on the pictures of a folder with a folder per class.
//! `cargo run --release -p depthwise-train --example own_loop -- flowers/`

use depthwise_train::data::{Dataset, PictureSource, PictureStore, Source};
use depthwise_train::{Augment, Head, Schedule, Target, TrainOptions, Trainer, replace_head};
use depthwise_vision::{Normalize, Preprocess};
use depthwise_zoo::{MobileNetV1, Network, Random};
use rand::{SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("give a folder of folders of pictures")?;
    let data = Dataset::open(Path::new(&folder))?;
    let preprocess = Preprocess::classifier(96, Normalize::SIGNED_UNIT);
    let store = PictureStore::new(&data, preprocess, 1 << 30);
    let augment: Augment = "flip,crop=0.7".parse()?;
    let pictures = PictureSource { augment, ..PictureSource::new(&data, store, &preprocess)? };
    let network = MobileNetV1::new(0.25).resolution(96).build(&Random { seed: 1 })?;
    let network = replace_head(&network, None, &Head::new(data.classes.len()))?;
    let schedule = Schedule::cosine(0.02, 10, 10 * data.samples.len().div_ceil(32) as u64);
    let mut trainer = Trainer::new(network, TrainOptions { schedule, ..TrainOptions::default() })?;
    let mut order: Vec<usize> = (0..data.samples.len()).collect();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for epoch in 0..10 {
        order.shuffle(&mut random);
        let mut loss = 0.0;
        pictures.batches(&order, 32, Some(epoch), &mut |batch| {
            loss = trainer.step(&[batch.input], Target::Values(&batch.targets))?.loss;
            Ok(())
        })?;
        println!("epoch {epoch}: loss {loss:.3}");
    }
    depthwise_engine::formats::save(&trainer.graph()?, "own.onnx", &Default::default())?;
    Ok(())
}
