//! The models under `../shared/models/keras`.

use crate::{keras, safetensors};
use depthwise_layers::ir::{Graph, infer_types, interpret};
use depthwise_tensor::Shape;
use std::path::PathBuf;

fn open(name: &str) -> Option<(Graph, PathBuf)> {
    let models = depthwise_testkit::shared_dir()?.join("models");
    Some((keras::open(models.join("keras").join(name)).unwrap(), models))
}

/// The converter made the TFLite twin of this file, LiteRT its golden.
#[test]
fn the_network_gives_what_its_tflite_twin_gives() {
    let Some((graph, models)) = open("vww_96.h5") else { return };
    let golden = safetensors::open(models.join("golden/vww_96_float.safetensors")).unwrap();
    let named = |list: &str| {
        let mut of_list = golden.iter().filter(|(name, _)| name.starts_with(list));
        of_list.next().unwrap().1.clone()
    };
    let y = interpret(&graph, &[named("in/")]).unwrap();
    let (y, want) = (y[0].to_f32().into_owned(), named("out/").to_f32().into_owned());
    assert_eq!(y.len(), want.len());
    assert!(y.iter().zip(&want).all(|(y, want)| (y - want).abs() <= 1e-4), "{y:?} {want:?}");
}

#[test]
fn a_model_in_a_model_has_its_weights() {
    let Some((graph, _)) = open("dog_breed_mobilenetv2.h5") else { return };
    let types = infer_types(&graph, &[Shape::new(&[2, 160, 160, 3]).unwrap()]).unwrap();
    assert_eq!(types.of(graph.outputs()[0]).shape.dims(), [2, 19]);
    assert!(graph.nodes().iter().any(|node| node.name == "mobilenetv2_1.00_160/Conv_1"));
}
