//! The Keras files of `formats` on the engine, against the numbers of Keras beside them.

mod common;

use common::relative_error;
use depthwise_engine::formats::{keras, safetensors};
use depthwise_engine::{Cpu, Model, Options, Shape, Tensor};
use std::path::Path;

/// Keras and the engine both compute in f32, in orders of their own.
const BOUND: f32 = 2e-5;

const FILES: [&str; 7] = [
    "activations.keras",
    "convolutions.keras",
    "merges.keras",
    "nested.keras",
    "pictures.keras",
    "signals.keras",
    "sequential_v2.h5",
];

#[test]
fn layers_of_keras_give_what_keras_gives() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/tests/generated/keras");
    for file in FILES {
        let graph = keras::open(folder.join(file)).unwrap();
        let stem = file.split('.').next().unwrap();
        let golden = safetensors::open(folder.join(format!("{stem}.safetensors"))).unwrap();
        let tensor = |which: &str, i: usize| golden.get(&format!("{which}/{i}")).unwrap().clone();
        let inputs: Vec<Tensor> = (0..graph.inputs().len()).map(|i| tensor("in", i)).collect();
        let shapes: Vec<Shape> = inputs.iter().map(|x| *x.shape()).collect();
        for cpu in Cpu::from_env().unwrap().levels() {
            let options = Options { threads: 2, isa: Some(cpu.isa()), ..Options::default() };
            let model = Model::from_graph(graph.clone(), options).unwrap();
            let y = model.session_for(&shapes).unwrap().run_tensors(&inputs).unwrap();
            for (i, y) in y.iter().enumerate() {
                let want = tensor("out", i);
                assert_eq!(y.shape(), want.shape(), "{file}: output {i}");
                let error = relative_error(y, &want);
                assert!(error < BOUND, "{file}: output {i} on {cpu}: {error}");
            }
        }
    }
}
