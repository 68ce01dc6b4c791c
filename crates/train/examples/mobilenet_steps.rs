//! Trains MobileNet V2 on one made-up batch, all layers, and tells what a step takes.
//!
//! ```text
//! cargo run --release -p depthwise-train --example mobilenet_steps -- [threads] [batch] [side] [steps]
//! ```

use depthwise_tensor::Tensor;
use depthwise_train::{Target, TrainOptions, Trainer};
use depthwise_zoo::{MobileNetV2, Network, Random};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers = std::env::args().skip(1).map(|arg| arg.parse());
    let numbers: Vec<usize> = numbers.collect::<Result<_, _>>()?;
    let number = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (threads, batch, side, steps) = (number(0, 1), number(1, 16), number(2, 96), number(3, 10));
    let graph = MobileNetV2::new(1.0).resolution(side).build(&Random { seed: 1 })?;
    let mut trainer = Trainer::new(graph, TrainOptions { threads, ..TrainOptions::default() })?;
    let data = (0..batch * side * side * 3).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let x = Tensor::from_vec(&[batch, side, side, 3], data)?;
    let classes: Vec<usize> = (0..batch).collect();
    let mut best = f64::INFINITY;
    for step in 0..steps {
        let start = Instant::now();
        let report = trainer.step(std::slice::from_ref(&x), Target::Classes(&classes))?;
        let seconds = start.elapsed().as_secs_f64();
        // The first step plans the graph.
        if step > 0 {
            best = best.min(seconds);
        }
        println!("step {step}: loss {:.4}, {:.1} ms", report.loss, seconds * 1e3);
    }
    println!("best of {}: {:.1} ms with {threads} threads", steps.max(1) - 1, best * 1e3);
    Ok(())
}
