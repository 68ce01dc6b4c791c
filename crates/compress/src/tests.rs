//! Whole networks.

use super::*;
use depthwise_engine::passes::{PassOptions, prepare};
use depthwise_engine::{Graph, Model};
use depthwise_layers::ir::{Dim, InputType, interpret};
use depthwise_layers::*;
use depthwise_tensor::{DType, Tensor};
use depthwise_testkit::random_tensor;
use depthwise_zoo::{EfficientNetLite, MobileNetV2, MobileNetV3, Network, Random};

const SIDE: usize = 32;
const LINEAR: Dense = Dense { activation: Activation::Identity };

fn samples(dims: &[usize], count: u64) -> Vec<Sample> {
    let sample =
        |seed| Sample { name: format!("photo{seed}.png"), inputs: vec![random_tensor(dims, seed)] };
    (1..=count).map(sample).collect()
}

fn quiet(_: &'static str, _: usize, _: usize) {}

fn calibrate(
    graph: &Graph,
    samples: &Vec<Sample>,
    options: Options,
) -> Result<Calibrated, CompressError> {
    Calibrated::new(graph.clone(), samples, options, &mut quiet)
}

/// A network of the zoo for small pictures.
fn small(network: &dyn Network) -> Graph {
    let mut graph = network.build(&Random { seed: 7 }).unwrap();
    let input = graph.inputs()[0];
    let extents = [1, SIDE, SIDE, 3].map(Dim::Fixed).to_vec();
    graph.set_input_dims(input, extents);
    graph
}

/// A network in which every way to treat a layer occurs.
fn mixed() -> Graph {
    let mut graph = Graph::new("mixed");
    let x = graph.add_input("picture", InputType::fixed(DType::F32, &[1, 8, 8, 3]));
    let constant = |graph: &mut Graph, dims: &[usize], seed| {
        graph.add_const(format!("c{seed}"), random_tensor(dims, seed))
    };
    let w = constant(&mut graph, &[6, 3, 3, 3], 11);
    let b = constant(&mut graph, &[6], 12);
    let conv =
        Conv2d { padding: Padding::Same, activation: Activation::RELU6, ..Conv2d::default() };
    let y = graph.add("stem", conv, &[x, w, b]);
    let w = constant(&mut graph, &[3, 3, 6], 13);
    let z = graph.add(
        "depthwise",
        DepthwiseConv2d { padding: Padding::Same, ..Default::default() },
        &[y, w],
    );
    let swish = graph.add("swish", Activate { activation: Activation::HardSwish }, &[z]);
    let gate = graph.add("gate", Activate { activation: Activation::Sigmoid }, &[z]);
    let joined = graph.add("joined", Concat { axis: -1 }, &[swish, gate]);
    let pool = Pool2d {
        kind: PoolKind::Max,
        kernel: depthwise_tensor::Hw::square(2),
        stride: depthwise_tensor::Hw::square(2),
        dilation: depthwise_tensor::Hw::ONE,
        padding: Padding::Valid,
        ceil_mode: false,
    };
    let pooled = graph.add("pooled", pool, &[joined]);
    let half = graph.add_const("half", Tensor::scalar(0.5f32));
    let halves = graph.add(
        "halves",
        Binary { function: BinaryFn::Mul, activation: Activation::Identity },
        &[pooled, half],
    );
    let slope = constant(&mut graph, &[12], 14);
    let bent = graph.add("bent", PRelu, &[halves, slope]);
    let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: false };
    let mean = graph.add("mean", mean, &[bent]);
    let w = constant(&mut graph, &[4, 12], 15);
    let dense = graph.add("dense", LINEAR, &[mean, w]);
    let soft = graph.add("probabilities", Softmax { axis: -1, log: false }, &[dense]);
    graph.add_output(soft);
    graph
}

/// The layers that compute in real numbers after the passes, but for those at the ends.
fn real_layers(graph: &Graph) -> Vec<String> {
    let mut graph = graph.clone();
    prepare(&mut graph, &PassOptions::default());
    let kind = |node: &depthwise_layers::ir::Node| match &node.op {
        Op::Quantize(_) if node.inputs[0].is_some_and(|id| graph.input_type(id).is_some()) => None,
        Op::Dequantize(_) if node.outputs.iter().all(|id| graph.outputs().contains(id)) => None,
        op => {
            let kind = op.layer().kind();
            let moves =
                matches!(op, Op::Reshape(_) | Op::Concat(_) | Op::Pool2d(_) | Op::Flatten(_));
            let integer = kind.starts_with('Q') && kind != "Quantize";
            (!integer && !moves).then(|| format!("{kind} {}", node.name))
        }
    };
    graph.nodes().iter().filter_map(kind).collect()
}

#[test]
fn networks_of_the_zoo_become_integers_from_end_to_end() {
    let networks: [&dyn Network; 3] =
        [&MobileNetV2::new(0.35), &EfficientNetLite::lite0(), &MobileNetV3::small(1.0)];
    for network in networks {
        let graph = small(network);
        let samples = samples(&[1, SIDE, SIDE, 3], 2);
        let calibrated = calibrate(&graph, &samples, Options::default()).unwrap();
        let quantized = calibrated.quantized().unwrap();
        assert_eq!(real_layers(&quantized), Vec::<String>::new(), "{}", graph.name);
        let engine = depthwise_engine::Options::default();
        let found = compare(&graph, &quantized, &samples, &engine, &mut quiet).unwrap();
        assert_eq!(found.samples, 2);
        println!("{}: {found:?}", graph.name);
        assert!(found.sqnr_db > 10.0, "{}: {found:?}", graph.name);
    }
}

#[test]
fn the_engine_and_the_interpreter_agree_on_what_is_quantized() {
    let graph = mixed();
    let samples = samples(&[1, 8, 8, 3], 4);
    for activations in [DType::I8, DType::U8] {
        let options = Options { activations, ..Options::default() };
        let quantized = calibrate(&graph, &samples, options).unwrap().quantized().unwrap();
        let want = interpret(&quantized, &samples[0].inputs).unwrap();
        let model = Model::from_graph(quantized, depthwise_engine::Options::default()).unwrap();
        let got = model.session().unwrap().run_tensors(&samples[0].inputs).unwrap();
        // A product of integers and scales is rounded elsewhere than one of real numbers: by a step.
        let bound = depthwise_testkit::Bound::Absolute(1.01 / 256.0);
        depthwise_testkit::assert_close(&got[0], &want[0], &bound);
    }
}

#[test]
fn scales_are_shared_where_elements_only_move_and_fixed_where_runtimes_demand_it() {
    let graph = mixed();
    let samples = samples(&[1, 8, 8, 3], 2);
    let quantized = calibrate(&graph, &samples, Options::default()).unwrap().quantized().unwrap();
    let scale = |name: &str| {
        let found = quantized.find(&format!("{name}.scale")).and_then(|id| quantized.constant(id));
        found.unwrap_or_else(|| panic!("no scale of {name}")).to_f32()[0]
    };
    assert_eq!(scale("gate"), 1.0 / 256.0);
    assert_eq!(scale("probabilities"), 1.0 / 256.0);
    assert_eq!(scale("swish"), scale("joined"));
    assert_eq!(scale("joined"), scale("pooled"));
    // The gate has another scale than what it is joined with, and is brought to that.
    assert_eq!(scale("joined.part1"), scale("joined"));
    // What has no integer form reads real numbers, and its result is integers again for the next.
    assert_eq!(
        real_layers(&quantized),
        ["Dequantize halves.dequantized", "PRelu bent", "Quantize bent"]
    );
}

#[test]
fn layers_stay_real_by_name() {
    let graph = mixed();
    let samples = samples(&[1, 8, 8, 3], 2);
    let options =
        Options { keep_real: vec!["dep*wise".into(), "dense".into()], ..Options::default() };
    let quantized = calibrate(&graph, &samples, options).unwrap().quantized().unwrap();
    let kinds = real_layers(&quantized);
    for kept in ["DepthwiseConv2d depthwise", "Dense dense"] {
        assert!(kinds.iter().any(|kind| kind == kept), "{kinds:?}");
    }
    let options = Options { keep_real: vec!["*".into()], ..Options::default() };
    let error = calibrate(&graph, &samples, options).unwrap().quantized().unwrap_err();
    assert!(matches!(error, CompressError::Nothing), "{error}");
    let options = Options { keep_real: vec!["nothing*".into()], ..Options::default() };
    let error = calibrate(&graph, &samples, options).unwrap_err();
    assert!(error.to_string().contains("there are stem, depthwise"), "{error}");
}

#[test]
fn integers_enter_and_leave_where_asked() {
    let graph = mixed();
    let samples = samples(&[1, 8, 8, 3], 2);
    let options = Options { ports: Ports::Integers, ..Options::default() };
    let quantized = calibrate(&graph, &samples, options).unwrap().quantized().unwrap();
    let input = quantized.inputs()[0];
    assert_eq!(quantized.input_type(input).unwrap().dtype, DType::I8);
    assert_eq!(quantized.value(quantized.outputs()[0]).name, "probabilities");
    let engine = depthwise_engine::Options::default();
    let integers = compare(&graph, &quantized, &samples, &engine, &mut quiet).unwrap();
    let real = calibrate(&graph, &samples, Options::default()).unwrap().quantized().unwrap();
    let real = compare(&graph, &real, &samples, &engine, &mut quiet).unwrap();
    assert_eq!(integers, real);
}

#[test]
fn corrected_biases_keep_the_means_of_outputs() {
    // Weights that rounding moves to one side, and inputs whose mean is far from zero.
    let mut graph = Graph::new("dense");
    let x = graph.add_input("x", InputType::fixed(DType::F32, &[4, 64]));
    let w: Vec<f32> = (0..128).map(|i| if i % 64 == 0 { 1.27 } else { 0.0149 }).collect();
    let w = graph.add_const("w", Tensor::from_vec(&[2, 64], w).unwrap());
    let y = graph.add("y", LINEAR, &[x, w]);
    graph.add_output(y);
    let samples: Vec<Sample> = samples(&[4, 64], 3)
        .into_iter()
        .map(|sample| {
            let moved = sample.inputs[0].to_f32().iter().map(|x| x + 2.0).collect::<Vec<_>>();
            Sample { inputs: vec![Tensor::from_vec(&[4, 64], moved).unwrap()], ..sample }
        })
        .collect();
    let engine = depthwise_engine::Options::default();
    let drift = |correct_bias| {
        let options = Options { correct_bias, ..Options::default() };
        let quantized = calibrate(&graph, &samples, options).unwrap().quantized().unwrap();
        compare(&graph, &quantized, &samples, &engine, &mut quiet).unwrap().mean_abs
    };
    let (plain, corrected) = (drift(false), drift(true));
    assert!(corrected < plain / 4.0, "{plain} {corrected}");
}

#[test]
fn the_layer_that_suffers_most_comes_first() {
    let graph = mixed();
    let samples = samples(&[1, 8, 8, 3], 2);
    let calibrated = calibrate(&graph, &samples, Options::default()).unwrap();
    let mut steps = Vec::new();
    let mut progress = |what, done, all| steps.push((what, done, all));
    let found = calibrated.sensitivity(&samples, &mut progress).unwrap();
    let mut names: Vec<&str> = found.iter().map(|layer| layer.layer.as_str()).collect();
    assert!(found.is_sorted_by(|a, b| a.sqnr_db <= b.sqnr_db), "{found:?}");
    names.sort_unstable();
    assert_eq!(names, ["dense", "depthwise", "stem"]);
    assert_eq!(steps.last(), Some(&("trying layers", 3, 3)));
}

#[test]
fn samples_that_teach_nothing_are_refused_by_name() {
    let graph = mixed();
    let refuse = |samples: Vec<Sample>| {
        calibrate(&graph, &samples, Options::default()).unwrap_err().to_string()
    };
    let with = |dims: &[usize], data: Vec<f32>| Sample {
        name: "cat.png".into(),
        inputs: vec![Tensor::from_vec(dims, data).unwrap()],
    };
    let good = samples(&[1, 8, 8, 3], 1).remove(0);
    assert_eq!(refuse(vec![]), "the calibration set is empty");
    let small = with(&[1, 7, 8, 3], vec![0.0; 168]);
    let want = "cat.png: input \"picture\" is declared as f32[1x8x8x3], not f32[1x7x8x3]";
    assert_eq!(refuse(vec![good.clone(), small]), want);
    let mut data = vec![0.5; 192];
    data[5] = f32::NAN;
    let want = "cat.png: element 5 of input \"picture\" is NaN";
    assert_eq!(refuse(vec![good.clone(), with(&[1, 8, 8, 3], data)]), want);
    let constant = with(&[1, 8, 8, 3], vec![0.5; 192]);
    let error = refuse(vec![constant.clone(), constant]);
    let want = "the calibration set says nothing about input \"picture\": all 384 elements of 2 samples (cat.png ..) are 0.5";
    assert_eq!(error, want);
    let none = Sample { name: "cat.png".into(), inputs: vec![] };
    assert_eq!(refuse(vec![none]), "cat.png: 0 tensors, but the network has 1 inputs");
}

#[test]
fn samples_that_a_network_cannot_bear_are_refused() {
    let mut graph = Graph::new("steep");
    let x = graph.add_input("x", InputType::fixed(DType::F32, &[1, 2]));
    let w = graph.add_const("w", Tensor::from_slice(&[1, 2], &[10f32, 10.0]).unwrap());
    let y = graph.add("steep", LINEAR, &[x, w]);
    graph.add_output(y);
    let inputs = vec![Tensor::from_slice(&[1, 2], &[1e38f32, 2e38]).unwrap()];
    let huge = vec![Sample { name: "cat.png".into(), inputs }];
    let error = calibrate(&graph, &huge, Options::default()).unwrap_err().to_string();
    assert_eq!(error, "cat.png: the network makes inf of it, first in \"steep\"");
}

#[test]
fn networks_that_are_quantized_already_are_refused() {
    let graph = mixed();
    let samples = samples(&[1, 8, 8, 3], 1);
    let quantized = calibrate(&graph, &samples, Options::default()).unwrap().quantized().unwrap();
    let error = calibrate(&quantized, &samples, Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("the network is quantized already: "), "{error}");
}
