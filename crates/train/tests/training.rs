//! Whole steps: kernels against references, threads, freezing, resuming, learning.

use depthwise_engine::formats::safetensors;
use depthwise_engine::{Model, Options};
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId, interpret};
use depthwise_layers::{
    Activate, Activation, BatchNorm, Binary, BinaryFn, Concat, Conv2d, Coordinates, Dense,
    DepthwiseConv2d, Dropout, Padding, Pool2d, PoolKind, Reduce, ReduceFn, Resize, ResizeMode,
};
use depthwise_tensor::{DType, Hw, Tensor};
use depthwise_testkit::random_tensor;
use depthwise_train::data::Batch;
use depthwise_train::{
    Adversary, BatchNormMode, Head, Initializer, Learner, Loss, Optimizer, Pattern, Schedule, Step,
    Target, TrainError, TrainOptions, Trainer, initialize, replace_head, split_at,
};
use depthwise_zoo::{MobileNetV2, Network, Random, TextCnn};

/// Builds networks with named weights.
struct Net {
    graph: Graph,
    seed: u64,
}

impl Net {
    fn new() -> Net {
        Net { graph: Graph::new("net"), seed: 0 }
    }

    fn input(&mut self, dims: &[usize]) -> ValueId {
        let mut dims: Vec<Dim> = dims.iter().map(|&d| Dim::Fixed(d)).collect();
        dims.insert(0, Dim::Free("batch".into()));
        self.graph.add_input("x", InputType { dtype: DType::F32, dims })
    }

    fn weight(&mut self, name: &str, dims: &[usize], middle: f32, reach: f32) -> ValueId {
        self.seed += 1;
        let data =
            random_tensor(dims, self.seed).to_f32().iter().map(|x| middle + reach * x).collect();
        self.graph.add_const(name, Tensor::from_vec::<f32>(dims, data).unwrap())
    }

    fn conv(&mut self, name: &str, x: ValueId, dims: [usize; 4], conv: Conv2d) -> ValueId {
        let reach = (6.0 / (dims[1] * dims[2] * dims[3]) as f32).sqrt();
        let w = self.weight(&format!("{name}.weight"), &dims, 0.0, reach);
        self.graph.add(name, conv, &[x, w])
    }

    fn depthwise(&mut self, name: &str, x: ValueId, c: usize, conv: DepthwiseConv2d) -> ValueId {
        let w = self.weight(&format!("{name}.weight"), &[3, 3, c], 0.0, 0.8);
        self.graph.add(name, conv, &[x, w])
    }

    fn norm(&mut self, name: &str, x: ValueId, c: usize) -> ValueId {
        let gamma = self.weight(&format!("{name}.weight"), &[c], 1.0, 0.3);
        let beta = self.weight(&format!("{name}.bias"), &[c], 0.0, 0.3);
        let mean = self.weight(&format!("{name}.mean"), &[c], 0.0, 0.3);
        let var = self.weight(&format!("{name}.var"), &[c], 1.0, 0.3);
        self.graph.add(name, BatchNorm { epsilon: 1e-3, axis: -1 }, &[x, gamma, beta, mean, var])
    }

    fn act(&mut self, name: &str, x: ValueId, activation: Activation) -> ValueId {
        self.graph.add(name, Activate { activation }, &[x])
    }

    fn dense(&mut self, name: &str, x: ValueId, i: usize, o: usize) -> ValueId {
        let w = self.weight(&format!("{name}.weight"), &[o, i], 0.0, (3.0 / i as f32).sqrt());
        let bias = self.weight(&format!("{name}.bias"), &[o], 0.0, 0.1);
        let dense = Dense { activation: Activation::Identity };
        self.graph.add(name, dense, &[x, w, bias])
    }
}

fn padded(stride: usize) -> Conv2d {
    Conv2d { stride: Hw { h: stride, w: stride }, padding: Padding::all(1), ..Conv2d::default() }
}

fn filtered(stride: usize) -> DepthwiseConv2d {
    let stride = Hw { h: stride, w: stride };
    DepthwiseConv2d { stride, padding: Padding::Same, ..DepthwiseConv2d::default() }
}

const PLAIN: Activation = Activation::Identity;

fn mean() -> Reduce {
    Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: true }
}

/// A network with every kind of layer that the zoo has, and some more, for pictures of 12x10x3.
fn everything() -> Graph {
    let mut n = Net::new();
    let x = n.input(&[12, 10, 3]);
    let x = n.conv("stem", x, [10, 3, 3, 3], padded(2));
    let x = n.norm("stem.norm", x, 10);
    let x = n.act("stem.act", x, Activation::HardSwish);
    let skip = x;
    let x = n.conv("expand", x, [20, 1, 1, 10], Conv2d::default());
    let x = n.norm("expand.norm", x, 20);
    let x = n.act("expand.act", x, Activation::RELU6);
    let x = n.depthwise("filter", x, 20, filtered(1));
    let x = n.norm("filter.norm", x, 20);
    let x = n.act("filter.act", x, Activation::Silu);
    // Squeeze and excite.
    let squeezed = n.graph.add("squeeze", mean(), &[x]);
    let gate = n.conv("gate", squeezed, [20, 1, 1, 20], Conv2d::default());
    let gate = n.act("gate.act", gate, Activation::HardSigmoid { alpha: 0.2, beta: 0.5 });
    let mul = Binary { function: BinaryFn::Mul, activation: PLAIN };
    let x = n.graph.add("excite", mul, &[x, gate]);
    let x = n.conv("project", x, [10, 1, 1, 20], Conv2d::default());
    let add = Binary { function: BinaryFn::Add, activation: PLAIN };
    let x = n.graph.add("residual", add, &[x, skip]);
    // Two branches: a general convolution in groups, and a pool made larger again.
    let grouped = Conv2d { groups: 2, ..padded(1) };
    let left = n.conv("grouped", x, [6, 3, 3, 5], grouped);
    let left = n.act("grouped.act", left, Activation::LeakyRelu { alpha: 0.1 });
    let pool = Pool2d {
        kind: PoolKind::Max,
        kernel: Hw { h: 2, w: 2 },
        stride: Hw { h: 2, w: 2 },
        dilation: Hw::ONE,
        padding: Padding::Valid,
        ceil_mode: false,
    };
    let right = n.graph.add("pool", pool, &[x]);
    let scales = Tensor::from_slice(&[4], &[1f32, 2.0, 2.5, 1.0]).unwrap();
    let scales = n.graph.add_const("scales", scales);
    let resize = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::HalfPixel };
    let operands = [Some(right), None, Some(scales)];
    let right = n.graph.add_node("resize", resize, &operands, &["resize"])[0];
    let x = n.graph.add("concat", Concat { axis: 3 }, &[left, right]);
    let x = n.depthwise("shrink", x, 16, filtered(2));
    let x = n.norm("shrink.norm", x, 16);
    let x = n.act("shrink.act", x, Activation::RELU);
    let pool = Reduce { keep_dims: false, ..mean() };
    let x = n.graph.add("mean", pool, &[x]);
    let x = n.graph.add("dropout", Dropout { rate: 0.25 }, &[x]);
    let x = n.dense("head", x, 16, 5);
    n.graph.add_output(x);
    n.graph
}

/// Four pictures and their classes.
fn batch() -> (Tensor, [usize; 4]) {
    (random_tensor(&[4, 12, 10, 3], 77), [0, 3, 1, 4])
}

fn options() -> TrainOptions {
    TrainOptions { threads: 1, ..TrainOptions::default() }
}

/// All parameters after this many steps.
fn train(graph: &Graph, options: TrainOptions, steps: usize) -> (Trainer, Vec<f32>) {
    let mut trainer = Trainer::new(graph.clone(), options).unwrap();
    let (x, classes) = batch();
    let step = |_| trainer.step(std::slice::from_ref(&x), Target::Classes(&classes)).unwrap().loss;
    let losses = (0..steps).map(step).collect();
    (trainer, losses)
}

fn parameters(trainer: &Trainer) -> Vec<(String, Vec<f32>)> {
    trainer.parameters().map(|(name, values)| (name.into(), values.to_vec())).collect()
}

/// The largest difference of a parameter's move, relative to the largest move.
fn compare_with_references(graph: &Graph, options: &TrainOptions) {
    let start = Trainer::new(graph.clone(), options.clone()).unwrap();
    let (fast, losses) = train(graph, options.clone(), 1);
    let slow = TrainOptions { reference: true, ..options.clone() };
    let (slow, want) = train(graph, slow, 1);
    assert!((losses[0] - want[0]).abs() < 1e-5 * want[0].abs(), "{losses:?} {want:?}");
    let all = parameters(&start).into_iter().zip(parameters(&fast)).zip(parameters(&slow));
    for (((name, start), (_, fast)), (_, slow)) in all {
        let moves = |to: &[f32]| to.iter().zip(&start).map(|(a, b)| a - b).collect::<Vec<f32>>();
        let (got, want) = (moves(&fast), moves(&slow));
        let largest = want.iter().fold(0f32, |a, x| a.max(x.abs()));
        assert!(largest > 0.0, "{name} does not move");
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() <= 1e-3 * largest, "{name}: {got} {want}");
        }
    }
    for (fast, slow) in fast.graph().unwrap().values().iter().zip(slow.graph().unwrap().values()) {
        assert_eq!(fast.name, slow.name);
    }
}

#[test]
fn kernels_take_the_steps_of_the_references() {
    let graph = everything();
    // A large rate, so that moves are not lost in the rounding of the parameters.
    let big = TrainOptions { schedule: Schedule::constant(10.0), ..options() };
    compare_with_references(&graph, &big);
    let frozen = TrainOptions { batch_norm: BatchNormMode::Frozen, ..big.clone() };
    compare_with_references(&graph, &frozen);
    let backbone = TrainOptions { freeze: vec!["stem*".into(), "filter*".into()], ..big };
    compare_with_references(&graph, &backbone);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let graph = everything();
    let (one, losses) = train(&graph, options(), 3);
    for threads in [2, 3] {
        let (many, same) = train(&graph, TrainOptions { threads, ..options() }, 3);
        assert_eq!(losses, same);
        assert_eq!(parameters(&one), parameters(&many));
        assert_eq!(one.state_bytes().unwrap(), many.state_bytes().unwrap());
    }
}

#[test]
fn four_samples_are_learned_by_heart() {
    let options = TrainOptions {
        optimizer: Optimizer::adam(),
        schedule: Schedule::constant(0.01),
        ..options()
    };
    let mut net = everything();
    net = replace_head(&net, None, &Head { dropout: 0.0, ..Head::new(5) }).unwrap();
    let mut trainer = Trainer::new(net, options).unwrap();
    let (x, classes) = batch();
    let mut last = f32::INFINITY;
    for _ in 0..300 {
        last = trainer.step(std::slice::from_ref(&x), Target::Classes(&classes)).unwrap().loss;
    }
    assert!(last < 1e-3, "loss {last}");
}

#[test]
fn frozen_parameters_keep_their_bits() {
    let graph = everything();
    let freeze: Vec<Pattern> = vec!["stem*".into(), "*.bias".into()];
    let (trainer, _) = train(&graph, TrainOptions { freeze: freeze.clone(), ..options() }, 3);
    let trained = trainer.graph().unwrap();
    let mut changed = 0;
    for value in graph.values() {
        let Some(before) = graph.find(&value.name).and_then(|id| graph.constant(id)) else {
            continue;
        };
        let live = trained.nodes().iter().flat_map(|node| node.inputs.iter().flatten());
        let mut same_name = live.filter(|&&id| trained.value(id).name == value.name);
        let after = same_name.next().and_then(|&id| trained.constant(id)).unwrap();
        // Statistics of a norm whose scale and offset are frozen.
        let statistics = value.name.starts_with("stem.norm.");
        if freeze.iter().any(|pattern| pattern.matches(&value.name)) || statistics {
            assert_eq!(before, after, "{}", value.name);
        } else if value.name != "scales" {
            assert_ne!(before, after, "{}", value.name);
            changed += 1;
        }
    }
    assert!(changed > 10);
    let all = TrainOptions { freeze: vec!["*".into()], ..options() };
    assert!(matches!(Trainer::new(graph, all), Err(TrainError::NothingToTrain(_))));
}

#[test]
fn only_the_last_layers_are_left() {
    let graph = everything();
    let freeze = Trainer::freeze_all_but_last(&graph, 2).unwrap();
    let trainer = Trainer::new(graph, TrainOptions { freeze, ..options() }).unwrap();
    let names: Vec<&str> = trainer.parameters().map(|(name, _)| name).collect();
    assert_eq!(names, ["shrink.norm.weight", "shrink.norm.bias", "head.weight", "head.bias"]);
}

#[test]
fn a_restored_state_leads_to_the_same_bits() {
    let graph = everything();
    let options = TrainOptions {
        optimizer: Optimizer::adamw(0.01),
        average: Some(0.9),
        clip_norm: Some(1.0),
        ..options()
    };
    let (whole, _) = train(&graph, options.clone(), 4);
    let (half, _) = train(&graph, options.clone(), 2);
    let state = safetensors::read(half.state_bytes().unwrap().into()).unwrap();
    let mut resumed = Trainer::new(graph.clone(), options).unwrap();
    resumed.restore(&state).unwrap();
    let (x, classes) = batch();
    for _ in 0..2 {
        resumed.step(std::slice::from_ref(&x), Target::Classes(&classes)).unwrap();
    }
    assert_eq!(whole.state_bytes().unwrap(), resumed.state_bytes().unwrap());
    let mut other = Trainer::new(graph, self::options()).unwrap();
    let error = other.restore(&state).unwrap_err().to_string();
    assert!(error.contains("is missing") || error.contains("belong to nothing"), "{error}");
}

#[test]
fn averages_follow_parameters_and_running_statistics() {
    let options = TrainOptions { average: Some(0.3), ..options() };
    let mut trainer = Trainer::new(everything(), options).unwrap();
    let constants = |graph: Graph| -> Vec<Vec<f32>> {
        let constants = graph.value_ids().filter_map(|id| graph.constant(id));
        constants.map(|tensor| tensor.to_f32().into_owned()).collect()
    };
    let mut want = constants(trainer.graph().unwrap());
    let (x, classes) = batch();
    // Of the first three steps, then that of the options.
    for decay in [2.0 / 11.0, 3.0 / 12.0, 0.3f32, 0.3] {
        trainer.step(std::slice::from_ref(&x), Target::Classes(&classes)).unwrap();
        let now = constants(trainer.graph().unwrap());
        let pairs = want.iter_mut().zip(&now).flat_map(|(w, n)| w.iter_mut().zip(n));
        pairs.for_each(|(w, &n)| *w = decay * *w + (1.0 - decay) * n);
        let got = constants(trainer.averaged_graph().unwrap());
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "{got} {want}");
        }
    }
}

#[test]
fn the_trained_graph_runs_in_the_engine() {
    let (trainer, _) = train(&everything(), options(), 2);
    let (x, _) = batch();
    let run = |graph: Graph| {
        let model = Model::from_graph(graph, Options::with_threads(1)).unwrap();
        let mut session = model.session_for(&[*x.shape()]).unwrap();
        session.run_tensors(std::slice::from_ref(&x)).unwrap().remove(0)
    };
    let plain = run(trainer.graph().unwrap());
    let folded = run(trainer.folded_graph().unwrap());
    let want = interpret(&trainer.graph().unwrap(), std::slice::from_ref(&x)).unwrap();
    for other in [&folded, &want[0]] {
        for (a, b) in plain.to_f32().iter().zip(other.to_f32().iter()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn a_network_of_the_zoo_learns_a_batch() {
    let net = MobileNetV2::new(0.35).resolution(64).classes(4);
    let graph = net.build(&Random { seed: 3 }).unwrap();
    let options = TrainOptions {
        optimizer: Optimizer::adam(),
        schedule: Schedule::constant(0.002),
        ..options()
    };
    let mut trainer = Trainer::new(graph, options).unwrap();
    let x = random_tensor(&[4, 64, 64, 3], 5);
    let mut loss =
        |_| trainer.step(std::slice::from_ref(&x), Target::Classes(&[0, 1, 2, 3])).unwrap().loss;
    let losses: Vec<f32> = (0..20).map(&mut loss).collect();
    assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
}

#[test]
fn a_backbone_is_split_from_its_head() {
    let graph = everything();
    let (front, back) = split_at(&graph, "shrink.act").unwrap();
    let (x, _) = batch();
    let run =
        |graph: &Graph, x: &Tensor| interpret(graph, std::slice::from_ref(x)).unwrap().remove(0);
    assert_eq!(run(&graph, &x), run(&back, &run(&front, &x)));
    let error = split_at(&graph, "expand.act").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("also reads \"stem.act\""), "{error}");
    let head = replace_head(&graph, Some("shrink.act"), &Head::new(3)).unwrap();
    assert_eq!(run(&head, &x).shape().dims(), [4, 3]);
    assert!(replace_head(&graph, Some("nothing"), &Head::new(3)).is_err());
}

#[test]
fn fresh_weights_have_their_variance() {
    let mut graph = everything();
    let count = initialize(&mut graph, &"head*".into(), Initializer::Glorot, 1).unwrap();
    assert_eq!(count, 1);
    let used = |graph: &Graph, name: &str| {
        let mut inputs = graph.nodes().iter().flat_map(|node| node.inputs.iter().flatten());
        let id = *inputs.find(|id| graph.value(**id).name == name).unwrap();
        graph.constant(id).unwrap().to_f32().into_owned()
    };
    let weights = used(&graph, "head.weight");
    let limit = (6.0f32 / 21.0).sqrt();
    assert!(
        weights.iter().all(|w| w.abs() <= limit) && weights.iter().any(|w| w.abs() > limit / 2.0)
    );
    assert!(used(&graph, "head.bias").iter().all(|&b| b == 0.0));
    assert_eq!(initialize(&mut graph, &"expand.w*".into(), Initializer::He, 1).unwrap(), 1);
    let weights = used(&graph, "expand.weight");
    let variance = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
    // 200 samples of variance 2 / 10: within three of its own deviations.
    assert!((variance - 0.2).abs() < 3.0 * 0.2 * (2.0f32 / 200.0).sqrt(), "{variance}");
}

#[test]
fn equal_parameters_are_trained_apart() {
    let mut graph = everything();
    let names = Trainer::parameter_names(&graph).unwrap();
    // All scales are 1 and all offsets 0 now.
    initialize(&mut graph, &"*".into(), Initializer::He, 1).unwrap();
    assert_eq!(Trainer::parameter_names(&graph).unwrap(), names);
    let (trainer, _) = train(&graph, options(), 1);
    let scales = parameters(&trainer);
    let scale = |name: &str| &scales.iter().find(|(n, _)| n == name).unwrap().1;
    assert_ne!(scale("expand.norm.weight"), scale("filter.norm.weight"));
}

#[test]
fn bad_numbers_stop_the_step_and_change_nothing() {
    let mut trainer = Trainer::new(everything(), options()).unwrap();
    let before = parameters(&trainer);
    let (x, classes) = batch();
    let mut data = x.to_f32().into_owned();
    data[5] = f32::NAN;
    let bad = Tensor::from_vec(x.shape().dims(), data).unwrap();
    let error = trainer.step(&[bad], Target::Classes(&classes)).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { what: "loss", step: 0, .. }), "{error}");
    assert_eq!(before, parameters(&trainer));
    let wrong = TrainOptions { clip_norm: Some(-1.0), ..options() };
    assert!(matches!(Trainer::new(everything(), wrong), Err(TrainError::Setting { .. })));
}

#[test]
fn attacks_raise_the_loss_within_their_reach() {
    let (x, classes) = batch();
    let target = Target::Classes(&classes);
    let mut attack =
        depthwise_train::Attack::new(everything(), Loss::cross_entropy(), *x.shape(), 1).unwrap();
    let (clean, gradient) = attack.gradient(&x, target).unwrap();
    // Against the difference along the gradient itself.
    let g = gradient.to_f32();
    let norm = g.iter().map(|g| g * g).sum::<f32>().sqrt();
    let mut along = |step: f32| {
        let moved = x.to_f32().iter().zip(g.iter()).map(|(x, g)| x + step * g / norm).collect();
        let moved = Tensor::from_vec::<f32>(x.shape().dims(), moved).unwrap();
        attack.gradient(&moved, target).unwrap().0
    };
    let slope = (along(0.01) - along(-0.01)) / 0.02;
    assert!((slope - norm).abs() < 0.02 * norm, "{slope} {norm}");
    let one = attack.fast_sign(&x, target, 0.1, (-1.0, 1.0)).unwrap();
    let many = attack.projected(&x, target, (0.1, 0.03), 5, (-1.0, 1.0)).unwrap();
    for adversarial in [&one, &many] {
        let far =
            x.to_f32().iter().zip(adversarial.to_f32().iter()).all(|(a, b)| (a - b).abs() < 0.1001);
        assert!(far && attack.gradient(adversarial, target).unwrap().0 > clean);
    }
}

#[test]
fn activations_computed_twice_take_less_memory_and_give_the_same_bits() {
    let net = MobileNetV2::new(0.35).resolution(64).build(&Random { seed: 3 }).unwrap();
    let net = replace_head(&net, None, &Head::new(4)).unwrap();
    let run = |recompute| {
        let mut trainer =
            Trainer::new(net.clone(), TrainOptions { recompute, ..options() }).unwrap();
        let x = random_tensor(&[4, 64, 64, 3], 8);
        for _ in 0..2 {
            trainer.step(std::slice::from_ref(&x), Target::Classes(&[0, 1, 2, 3])).unwrap();
        }
        (parameters(&trainer), trainer.arena_bytes())
    };
    let ((kept, all), (again, few)) = (run(false), run(true));
    assert!(kept == again);
    assert!(few * 10 < all * 8, "{few} of {all} bytes");
}

#[test]
fn skipped_branches_scale_what_is_left() {
    let mut n = Net::new();
    let x = n.input(&[1, 1, 3]);
    let y = n.conv("stem", x, [4, 1, 1, 3], Conv2d::default());
    let z = n.conv("branch", y, [4, 1, 1, 4], Conv2d::default());
    let add = Binary { function: BinaryFn::Add, activation: PLAIN };
    let sum = n.graph.add("sum", add, &[y, z]);
    n.graph.add_output(sum);
    let loss = Loss::MeanSquaredError;
    let trained = TrainOptions { loss, drop_path: 0.5, seed: 5, ..options() };
    let mut trainer = Trainer::new(n.graph.clone(), trained).unwrap();
    let x = random_tensor(&[8, 1, 1, 3], 1);
    let zeros = Tensor::from_vec(&[8, 1, 1, 4], vec![0f32; 32]).unwrap();
    trainer.step_at(std::slice::from_ref(&x), Target::Values(&zeros), 0.0).unwrap();
    let got = trainer.predictions().0.to_vec();
    let full = |factor: f32| {
        let mut graph = n.graph.clone();
        graph.set_outputs(&[y, z]);
        let parts = interpret(&graph, std::slice::from_ref(&x)).unwrap();
        let (y, z) = (parts[0].to_f32(), parts[1].to_f32());
        y.iter().zip(z.iter()).map(|(y, z)| y + factor * z).collect::<Vec<f32>>()
    };
    let (skipped, doubled) = (full(0.0), full(2.0));
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let rows = got.chunks(4).zip(skipped.chunks(4).zip(doubled.chunks(4)));
    let kinds: Vec<(bool, bool)> =
        rows.map(|(row, (none, twice))| (near(row, none), near(row, twice))).collect();
    assert!(kinds.iter().all(|kind| kind.0 != kind.1), "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind.0) && kinds.iter().any(|kind| kind.1));
    // Evaluation skips nothing.
    assert!(near(trainer.evaluate(&x).unwrap(), &full(1.0)));
}

#[test]
fn adversaries_mislead_every_second_sample() {
    let (x, classes) = batch();
    let graph = everything();
    let trained = TrainOptions { input_gradients: true, ..options() };
    let mut trainer = Trainer::new(graph, trained).unwrap();
    let before = parameters(&trainer);
    let target = Target::Classes(&classes);
    let gradient = trainer.input_gradient(std::slice::from_ref(&x), target).unwrap();
    assert_eq!(gradient.shape(), x.shape());
    assert!(parameters(&trainer) == before && trainer.steps() == 0);
    let adversary = Adversary { epsilon: 0.25, step: 0.25, steps: 1, range: (-1.0, 1.0) };
    let mut one_hot = vec![0f32; 20];
    classes.iter().enumerate().for_each(|(row, class)| one_hot[row * 5 + class] = 1.0);
    let targets = Tensor::from_vec(&[4, 5], one_hot).unwrap();
    let batch = Batch { input: x, targets, labels: classes.to_vec(), samples: vec![0, 1, 2, 3] };
    let loss = |adversary| {
        let trained = TrainOptions { input_gradients: true, ..options() };
        let trainer = Trainer::new(everything(), trained).unwrap();
        let mut learner = Learner { adversary, ..Learner::new(trainer) };
        learner.step(&batch, 0.0).unwrap()
    };
    let (plain, misled) = (loss(None), loss(Some(adversary)));
    assert!(misled > plain, "{misled} {plain}");
}

#[test]
fn a_network_for_text_learns_a_batch() {
    let net = TextCnn { width: 16, ..TextCnn::new(12, 6) }.classes(3);
    let graph = net.build(&Random { seed: 2 }).unwrap();
    let rows =
        [[2i64, 3, 4, 0, 0, 0], [5, 6, 2, 7, 0, 0], [8, 9, 10, 11, 1, 1], [4, 3, 2, 0, 0, 0]];
    let x = Tensor::from_slice(&[4, 6], rows.as_flattened()).unwrap();
    let classes = [0, 1, 2, 1];
    let step = |trainer: &mut Trainer| {
        trainer.step_at(std::slice::from_ref(&x), Target::Classes(&classes), 0.01).unwrap().loss
    };
    let trained = |reference| {
        let optimizer = Optimizer::adamw(0.0);
        Trainer::new(graph.clone(), TrainOptions { optimizer, reference, ..options() }).unwrap()
    };
    let (mut kernels, mut references) = (trained(false), trained(true));
    let names: Vec<String> = kernels.parameters().map(|(name, _)| name.to_owned()).collect();
    assert!(names.contains(&"embedding.weight".to_owned()), "{names:?}");
    for _ in 0..2 {
        let (got, want) = (step(&mut kernels), step(&mut references));
        assert!((got - want).abs() < 1e-4 * want.abs().max(1.0), "{got} {want}");
    }
    let losses: Vec<f32> = (0..60).map(|_| step(&mut kernels)).collect();
    assert!(losses[59] < 1e-2, "{losses:?}");
}
