//! Any bytes give a sound graph or an error, and a graph gives types or an error.
#![no_main]

use bytes::Bytes;
use depthwise_layers::ir::{Dim, infer_types};
use depthwise_tensor::Shape;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(graph) = depthwise_formats::keras::read(Bytes::copy_from_slice(data)) else {
        return;
    };
    graph.verify().unwrap();
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(n) => *n,
        Dim::Free(_) => 2,
    };
    let shapes: Option<Vec<Shape>> = graph
        .inputs()
        .iter()
        .map(|&id| {
            let dims: Vec<usize> = graph.input_type(id)?.dims.iter().map(extent).collect();
            Shape::new(&dims).ok()
        })
        .collect();
    if let Some(shapes) = shapes {
        let _ = infer_types(&graph, &shapes);
    }
});
