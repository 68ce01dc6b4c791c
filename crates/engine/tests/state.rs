//! Networks that keep something from run to run.

mod common;

use common::{numbers, relative_error};
use depthwise_engine::layers::ir::{Dim, InputType, State, ValueId, interpret, interpret_stateful};
use depthwise_engine::layers::{Binary, BinaryFn, Concat, Conv2d, DepthwiseConv2d, Slice};
use depthwise_engine::tensor::Hw;
use depthwise_engine::{Activation, DType, EngineError, Graph, Model, Options, Shape, Tensor};

const CHANNELS: usize = 24;

/// Taps along the time of the two layers, and the lines between them.
const LAYERS: [(usize, usize); 2] = [(3, 1), (5, 2)];

/// Lines before the present one that a layer looks at.
fn past(layer: usize) -> usize {
    (LAYERS[layer].0 - 1) * LAYERS[layer].1
}

/// Two separable convolutions along the time, which look back. `before` gives each what it sees.
fn causal(
    graph: &mut Graph,
    x: ValueId,
    mut before: impl FnMut(&mut Graph, usize, ValueId) -> ValueId,
) -> ValueId {
    let mut value = x;
    for (i, (taps, dilation)) in LAYERS.into_iter().enumerate() {
        value = before(graph, i, value);
        let w = graph.add_const("dw.w", numbers(&[taps, 1, CHANNELS], i as u64 + 1));
        let dilation = Hw { h: dilation, w: 1 };
        let depthwise = DepthwiseConv2d { dilation, ..DepthwiseConv2d::default() };
        value = graph.add(&format!("dw{i}"), depthwise, &[value, w]);
        let w = graph.add_const("pw.w", numbers(&[CHANNELS, 1, 1, CHANNELS], i as u64 + 11));
        let pointwise = Conv2d { activation: Activation::HardSwish, ..Conv2d::default() };
        value = graph.add(&format!("pw{i}"), pointwise, &[value, w]);
    }
    value
}

/// All lines at once, the past of each layer zero.
fn whole(lines: usize) -> Graph {
    let mut graph = Graph::new("whole");
    let ty = InputType::fixed(DType::F32, &[1, lines, 1, CHANNELS]);
    let x = graph.add_input("x", ty);
    let y = causal(&mut graph, x, |graph, layer, value| {
        let zeros =
            Tensor::from_vec(&[1, past(layer), 1, CHANNELS], vec![0f32; past(layer) * CHANNELS]);
        let zeros = graph.add_const("zeros", zeros.unwrap());
        graph.add(&format!("pad{layer}"), Concat { axis: 1 }, &[zeros, value])
    });
    graph.add_output(y);
    graph
}

/// Some lines at a time; each layer keeps the last it has seen.
fn streaming(lines: Dim) -> Graph {
    let mut graph = Graph::new("streaming");
    let dims = vec![Dim::Fixed(1), lines, Dim::Fixed(1), Dim::Fixed(CHANNELS)];
    let x = graph.add_input("x", InputType { dtype: DType::F32, dims });
    let mut kept = Vec::new();
    let y = causal(&mut graph, x, |graph, layer, value| {
        let dims = [1, past(layer), 1, CHANNELS];
        let old = graph.add_input(format!("past{layer}"), InputType::fixed(DType::F32, &dims));
        let seen = graph.add(&format!("seen{layer}"), Concat { axis: 1 }, &[old, value]);
        let one = |graph: &mut Graph, x: i64| {
            graph.add_const("at", Tensor::from_slice(&[1], &[x]).unwrap())
        };
        let (start, end, axis) =
            (one(graph, -(past(layer) as i64)), one(graph, i64::MAX), one(graph, 1));
        let new = graph.add(&format!("past{layer}.next"), Slice, &[seen, start, end, axis]);
        let initial = Tensor::from_vec(&dims, vec![0f32; dims.iter().product()]).unwrap();
        kept.push((new, initial));
        seen
    });
    for (layer, (new, initial)) in kept.into_iter().enumerate() {
        // The states' outputs stand before the caller's.
        graph.add_output(new);
        graph.add_state(State { input: layer + 1, output: layer, initial });
    }
    graph.add_output(y);
    graph
}

/// Lines `from..to`.
fn lines(x: &Tensor, from: usize, to: usize) -> Tensor {
    let data = x.data::<f32>().unwrap()[from * CHANNELS..to * CHANNELS].to_vec();
    Tensor::from_vec(&[1, to - from, 1, CHANNELS], data).unwrap()
}

#[test]
fn a_stream_gives_what_the_whole_gives() {
    let x = numbers(&[1, 12, 1, CHANNELS], 99);
    let want = interpret(&whole(12), std::slice::from_ref(&x)).unwrap().remove(0);
    let graph = streaming(Dim::Free("T".into()));
    let mut states = Vec::new();
    for threads in [1, 2] {
        let model = Model::from_graph(graph.clone(), Options::with_threads(threads)).unwrap();
        assert_eq!(model.inputs().len(), 1);
        assert_eq!(model.outputs().collect::<Vec<_>>(), ["pw1"]);
        let shape = Shape::new(&[1, 2, 1, CHANNELS]).unwrap();
        let mut session = model.session_for(&[shape]).unwrap();
        assert_eq!(session.plan().states().count(), 2);
        // Twice, to see that the past is forgotten in between; by two lines, then by one, then by
        // five: another shape does not lose the past.
        for _ in 0..2 {
            for (from, to) in [(0, 2), (2, 4), (4, 5), (5, 6), (6, 7), (7, 12)] {
                let part = lines(&x, from, to);
                let got = session.run_tensors(std::slice::from_ref(&part)).unwrap().remove(0);
                let error = relative_error(&got, &lines(&want, from, to));
                // Sums of 24 and 5 terms in another order.
                assert!(error < 1e-5, "lines {from} to {to}: {error}");
                if threads == 1 {
                    let oracle = interpret_stateful(&graph, &mut states, &[part]).unwrap();
                    assert!(relative_error(&got, &oracle[0]) < 1e-5);
                }
            }
            session.reset_state();
            states.clear();
        }
    }
}

#[test]
fn the_caller_sees_its_own_inputs_and_outputs_only() {
    let model = Model::from_graph(streaming(Dim::Fixed(1)), Options::with_threads(1)).unwrap();
    let mut session = model.session().unwrap();
    assert!(session.input_mut::<f32>(0).is_ok() && session.output::<f32>(0).is_ok());
    let error = session.input_mut::<f32>(1).unwrap_err();
    assert!(matches!(error, EngineError::NoSuchValue { count: 1, .. }), "{error}");
    assert!(session.output::<f32>(1).is_err());
    let error = model.session_for(&[Shape::SCALAR; 2]).unwrap_err().to_string();
    assert!(error.contains("1 input"), "{error}");
}

#[test]
fn runs_in_place_and_profiles_go_on_too() {
    // A counter: its state is input and output of one step.
    let mut graph = Graph::new("counter");
    let x = graph.add_input("x", InputType::fixed(DType::F32, &[3]));
    let old = graph.add_input("old", InputType::fixed(DType::F32, &[3]));
    let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
    let new = graph.add("new", add, &[old, x]);
    graph.add_output(new);
    // The caller reads the same value as the state does.
    graph.add_output(old);
    let initial = Tensor::from_slice(&[3], &[1f32, 2.0, 3.0]).unwrap();
    graph.add_state(State { input: 1, output: 0, initial });
    let model = Model::from_graph(graph, Options::with_threads(1)).unwrap();
    let mut session = model.session().unwrap();
    session.input_mut::<f32>(0).unwrap().fill(10.0);
    let read = |session: &depthwise_engine::Session| session.output::<f32>(0).unwrap().to_vec();
    session.run();
    assert_eq!(read(&session), [1.0, 2.0, 3.0]);
    session.profile(3);
    assert_eq!(read(&session), [31.0, 32.0, 33.0]);
    session.run();
    assert_eq!(read(&session), [41.0, 42.0, 43.0]);
    session.reset_state();
    session.run();
    assert_eq!(read(&session), [1.0, 2.0, 3.0]);
}

#[test]
fn a_state_that_changes_its_extents_is_refused() {
    let mut graph = Graph::new("grows");
    let old = graph.add_input("old", InputType::fixed(DType::F32, &[2]));
    let new = graph.add("new", Concat { axis: 0 }, &[old, old]);
    graph.add_output(new);
    let initial = Tensor::from_slice(&[2], &[0f32; 2]).unwrap();
    graph.add_state(State { input: 0, output: 0, initial });
    let error = Model::from_graph(graph, Options::default()).unwrap().session().unwrap_err();
    assert!(matches!(error, EngineError::State { .. }), "{error}");
    assert!(error.to_string().contains("\"old\" is f32[2]"), "{error}");
}
