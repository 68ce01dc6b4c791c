//! Inputs of changing size (CASES C25).

mod common;

use common::{mobile, numbers, relative_error};
use depthwise_engine::layers::ir::Dim;
use depthwise_engine::{EngineError, Model, Options, Shape, Tensor};

fn model(cached_plans: usize) -> Model {
    let free = |name: &str| Dim::Free(name.into());
    let graph = mobile(vec![free("N"), free("H"), free("W"), Dim::Fixed(3)]);
    Model::from_graph(graph, Options { threads: 1, cached_plans, ..Options::default() }).unwrap()
}

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

#[test]
fn a_row_of_a_batch_equals_the_single_run() {
    let model = model(2);
    let mut session = model.session_for(&[shape(&[1, 32, 32, 3])]).unwrap();
    let singles: Vec<Tensor> = (0..4).map(|i| numbers(&[1, 32, 32, 3], i + 1)).collect();
    let batch: Vec<f32> = singles.iter().flat_map(|t| t.to_f32().into_owned()).collect();
    let batch = Tensor::from_vec(&[4, 32, 32, 3], batch).unwrap();
    let want: Vec<Vec<Tensor>> =
        singles.iter().map(|t| session.run_tensors(std::slice::from_ref(t)).unwrap()).collect();
    let got = session.run_tensors(&[batch]).unwrap();
    for (i, want) in want.iter().enumerate() {
        for (got, want) in got.iter().zip(want) {
            // Not to the bit: one row of a dense layer is summed in another order than several.
            let row = &got.to_f32()[i * want.elements()..][..want.elements()];
            let row = Tensor::from_slice(want.shape(), row).unwrap();
            let error = relative_error(&row, want);
            assert!(error < 1e-6, "row {i}: {error}");
        }
    }
    assert_eq!(session.run_tensors(&singles[..1]).unwrap(), want[0], "back to one");
}

#[test]
fn memory_follows_the_present_size_and_plans_are_bounded() {
    let model = model(3);
    // Pixels grow by 11; chains that large pictures have fused need less than that.
    let mut session = model.session_for(&[shape(&[1, 96, 96, 3])]).unwrap();
    let small = session.plan().arena_bytes();
    let packed = model.packed_bytes();
    for side in (96..=320).step_by(32) {
        session.reshape(&[shape(&[1, side, side, 3])]).unwrap();
        session.run();
    }
    assert!(session.plan().arena_bytes() > 4 * small);
    session.reshape(&[shape(&[1, 96, 96, 3])]).unwrap();
    assert_eq!(session.plan().arena_bytes(), small);
    assert_eq!(model.packed_bytes(), packed, "weights are packed once for all sizes");
    assert_eq!(model.cached_plans(), 3);
    model.release_plans();
    assert_eq!(model.cached_plans(), 0);
    session.run();
}

#[test]
fn an_empty_batch_gives_empty_outputs() {
    let model = model(1);
    let empty = Tensor::from_vec::<f32>(&[0, 32, 32, 3], vec![]).unwrap();
    let outputs = model.session_for(&[*empty.shape()]).unwrap().run_tensors(&[empty]).unwrap();
    assert_eq!(outputs[0].shape(), &shape(&[0, 10]));
}

#[test]
fn free_and_wrong_shapes_are_named() {
    let model = model(1);
    let error = model.session().unwrap_err();
    assert!(matches!(&error, EngineError::FreeShape { name, .. } if name == "x"), "{error}");
    let error = model.session_for(&[shape(&[1, 32, 32, 4])]).unwrap_err().to_string();
    assert!(error.contains("\"x\"") && error.contains("1x32x32x4"), "{error}");
    let error = model.session_for(&[]).unwrap_err().to_string();
    assert!(error.contains("1 input"), "{error}");
}
