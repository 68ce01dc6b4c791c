//! Chains of convolutions computed band by band, against the same network layer by layer.

mod common;

use common::{Builder, fixed, mobile, numbers};
use depthwise_engine::layers::ir::{InputType, ValueId};
use depthwise_engine::layers::{
    Conv2d, DepthwiseConv2d, Padding, QBinary, QBinaryFn, QConv2d, QDepthwiseConv2d, Requantize,
};
use depthwise_engine::tensor::Hw;
use depthwise_engine::{
    BytePictures, Cpu, DType, EngineError, Fusion, Graph, Model, Options, Tensor,
};

fn model(graph: &Graph, options: Options) -> Model {
    Model::from_graph(graph.clone(), options).unwrap()
}

fn run(graph: &Graph, options: Options, input: &Tensor) -> Vec<Tensor> {
    let mut session = model(graph, options).session().unwrap();
    session.run_tensors(std::slice::from_ref(input)).unwrap()
}

/// Names of the layers of every fused step.
fn chains(model: &Model) -> Vec<Vec<String>> {
    let session = model.session().unwrap();
    let fused = session.plan().steps().iter().filter_map(|step| step.fused.clone());
    fused.map(|fused| fused.layers.into_iter().map(|(name, _)| name).collect()).collect()
}

/// Stem, an inverted residual, one with a stride, and a chain that ends in a depthwise layer.
fn blocks(side: usize) -> Graph {
    let mut b = Builder::new("blocks");
    let dims = fixed(&[1, 2 * side, 2 * side, 3]);
    let x = b.graph.add_input("x", InputType { dtype: DType::F32, dims });
    let stem = b.conv(x, 3, 16, 3, 2);
    let dw = b.depthwise(stem, 16, 3, 1);
    let narrow = b.conv(dw, 16, 8, 1, 1);
    let wide = b.conv(narrow, 8, 56, 1, 1);
    let dw = b.depthwise(wide, 56, 3, 1);
    let project = b.conv(dw, 56, 8, 1, 1);
    let add = b.add(project, narrow);
    let wide = b.conv(add, 8, 48, 1, 1);
    let dw = b.depthwise(wide, 48, 5, 2);
    let gate = b.gate(dw, 48);
    let scores = b.classifier(gate, 48, 10);
    b.graph.add_output(scores);
    b.graph
}

fn bytes(dims: &[usize], seed: u64) -> Tensor {
    let bytes = numbers(dims, seed).to_f32().iter().map(|x| (x * 256.0 + 128.0) as u8).collect();
    Tensor::from_vec::<u8>(dims, bytes).unwrap()
}

/// Networks of integers; every value has a zero point of its own, one more than the one before.
struct Bytes {
    graph: Graph,
    zero: i32,
}

impl Bytes {
    fn new(dims: &[usize]) -> (Bytes, ValueId) {
        let mut graph = Graph::new("bytes");
        let x = graph.add_input("x", InputType { dtype: DType::U8, dims: fixed(dims) });
        (Bytes { graph, zero: 120 }, x)
    }

    /// A result, and the zero point of what comes before it.
    fn next(&mut self) -> (String, Requantize, i32) {
        self.zero += 1;
        let output = Requantize::new(DType::U8, self.zero);
        (format!("layer{}", self.zero), output, self.zero - 1)
    }

    /// Weights of `dims` with bias and multiplier for `oc` channels of `depth` products.
    fn operands(&mut self, dims: &[usize], oc: usize, depth: usize) -> [ValueId; 3] {
        let seed = self.zero as u64;
        let bytes = |dims: &[usize], seed: u64| bytes(dims, seed).to_i64().into_owned();
        let signed = bytes(dims, seed).iter().map(|&w| (w - 128) as i8).collect();
        let bias = bytes(&[oc], seed + 500).iter().map(|&b| (b as i32 - 128) * 50).collect();
        let multiplier = vec![0.01 / (depth as f32).sqrt(); oc];
        let mut add = |what: &str, tensor| self.graph.add_const(format!("{what}{seed}"), tensor);
        [
            add("w", Tensor::from_vec::<i8>(dims, signed).unwrap()),
            add("b", Tensor::from_vec::<i32>(&[oc], bias).unwrap()),
            add("m", Tensor::from_vec::<f32>(&[oc], multiplier).unwrap()),
        ]
    }

    fn conv(
        &mut self,
        x: ValueId,
        (ic, oc): (usize, usize),
        kernel: usize,
        step: usize,
    ) -> ValueId {
        let (name, output, input_zero) = self.next();
        let [w, b, m] = self.operands(&[oc, kernel, kernel, ic], oc, kernel * kernel * ic);
        let (stride, padding) = (Hw::square(step), Padding::Same);
        let conv = Conv2d { stride, padding, ..Conv2d::default() };
        self.graph.add(&name, QConv2d { conv, input_zero, output }, &[x, w, b, m])
    }

    fn depthwise(&mut self, x: ValueId, c: usize, kernel: usize, step: usize) -> ValueId {
        let (name, output, input_zero) = self.next();
        let [w, b, m] = self.operands(&[kernel, kernel, c], c, kernel * kernel);
        let (stride, padding) = (Hw::square(step), Padding::Same);
        let conv = DepthwiseConv2d { stride, padding, ..DepthwiseConv2d::default() };
        self.graph.add(&name, QDepthwiseConv2d { conv, input_zero, output }, &[x, w, b, m])
    }

    /// The sum of the last value and one that is `back` values older.
    fn add(&mut self, x: ValueId, older: ValueId, back: i32) -> ValueId {
        let (name, output, a_zero) = self.next();
        let function = QBinaryFn::Sum { a_factor: 0.5, b_factor: 0.6 };
        let layer = QBinary { function, a_zero, b_zero: a_zero - back, output };
        self.graph.add(&name, layer, &[x, older])
    }
}

/// As [`blocks`], without the gate.
fn blocks_of_bytes(side: usize) -> Graph {
    let (mut b, x) = Bytes::new(&[1, 2 * side, 2 * side, 3]);
    let stem = b.conv(x, (3, 16), 3, 2);
    let dw = b.depthwise(stem, 16, 3, 1);
    let narrow = b.conv(dw, (16, 8), 1, 1);
    let wide = b.conv(narrow, (8, 56), 1, 1);
    let dw = b.depthwise(wide, 56, 3, 1);
    let project = b.conv(dw, (56, 8), 1, 1);
    let add = b.add(project, narrow, 3);
    let wide = b.conv(add, (8, 48), 1, 1);
    let dw = b.depthwise(wide, 48, 5, 2);
    b.graph.add_output(dw);
    b.graph
}

#[test]
fn fused_steps_give_the_same_bits_at_every_level_and_thread_count() {
    for side in [8, 13, 30] {
        let dims = [1, 2 * side, 2 * side, 3];
        let networks =
            [(blocks(side), numbers(&dims, 5)), (blocks_of_bytes(side), bytes(&dims, 5))];
        for ((graph, input), cpu) in
            networks.iter().flat_map(|net| Cpu::from_env().unwrap().levels().map(move |c| (net, c)))
        {
            let with = |fusion, threads| Options {
                threads,
                fusion,
                isa: Some(cpu.isa()),
                ..Options::default()
            };
            let want = run(graph, with(Fusion::Off, 1), input);
            for threads in [1, 2, 3] {
                let options = with(Fusion::Always, threads);
                assert_eq!(chains(&model(graph, options.clone())).len(), 3, "{side} {cpu}");
                assert_eq!(run(graph, options, input), want, "{side} {cpu} {threads} threads");
            }
        }
    }
}

#[test]
fn only_what_no_cache_holds_is_fused_unless_asked() {
    let with = |fusion| Options { threads: 1, fusion, ..Options::default() };
    let small = blocks(16);
    assert!(chains(&model(&small, with(Fusion::Auto))).is_empty());
    assert_eq!(chains(&model(&small, with(Fusion::Always))).len(), 3);
    let large = blocks(112);
    let [off, auto] = [Fusion::Off, Fusion::Auto].map(|fusion| model(&large, with(fusion)));
    assert!(chains(&off).is_empty());
    assert!(!chains(&auto).is_empty());
    let arena = |model: &Model| model.session().unwrap().plan().arena_bytes();
    assert!(2 * arena(&auto) < arena(&off), "{} against {}", arena(&auto), arena(&off));
    let text = auto.session().unwrap().plan().explain().to_string();
    assert!(text.contains("fused_f32_pw_dw_pw") && text.contains("rows at a time"), "{text}");
}

#[test]
fn chains_of_bytes_need_less_memory() {
    let graph = blocks_of_bytes(112);
    let with = |fusion| Options { threads: 1, fusion, ..Options::default() };
    let [off, always] = [Fusion::Off, Fusion::Always].map(|fusion| model(&graph, with(fusion)));
    assert!(chains(&off).is_empty());
    let arena = |model: &Model| model.session().unwrap().plan().arena_bytes();
    assert!(2 * arena(&always) < arena(&off), "{} against {}", arena(&always), arena(&off));
    let text = always.session().unwrap().plan().explain().to_string();
    assert!(text.contains("fused_qs8_pw_dw_pw") && text.contains("fused_qs8_stem_dw_pw"), "{text}");
}

#[test]
fn what_others_read_is_never_fused_away() {
    // The widened tensor is an output; the narrow one has two readers.
    let mut b = Builder::new("kept");
    let x = b.graph.add_input("x", InputType { dtype: DType::F32, dims: fixed(&[1, 9, 9, 16]) });
    let wide = b.conv(x, 16, 32, 1, 1);
    let dw = b.depthwise(wide, 32, 3, 1);
    let narrow = b.conv(dw, 32, 16, 1, 1);
    b.graph.add_output(wide);
    b.graph.add_output(dw);
    b.graph.add_output(narrow);
    let fused = model(&b.graph, Options { fusion: Fusion::Always, ..Options::default() });
    assert!(chains(&fused).is_empty());
    // `mobile` gives its last 1x1 convolution away and adds its stem to a later layer.
    let graph = mobile(fixed(&[1, 20, 20, 3]));
    let input = numbers(&[1, 20, 20, 3], 3);
    let with = |fusion| Options { threads: 2, fusion, ..Options::default() };
    let got = run(&graph, with(Fusion::Always), &input);
    assert_eq!(run(&graph, with(Fusion::Auto), &input), got);
    // Its gate is multiplied into weights, which rounds elsewhere.
    for (got, want) in got.iter().zip(&run(&graph, with(Fusion::Off), &input)) {
        assert_near(got, want);
    }
}

/// Equal but for rounding.
fn assert_near(got: &Tensor, want: &Tensor) {
    for (&got, &want) in got.to_f32().iter().zip(want.to_f32().iter()) {
        assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{got}, not {want}");
    }
}

#[test]
fn a_picture_of_bytes_is_converted_by_the_stem_alone_or_in_a_chain() {
    // The narrow one has lines shorter than a tile and is converted by steps of its own.
    for side in [2, 15] {
        let graph = blocks(side);
        let dims = [1, 2 * side, 2 * side, 3];
        let bytes: Vec<u8> =
            (0..dims.iter().product()).map(|i: usize| (i * 37 % 256) as u8).collect();
        let pictures = BytePictures::normalized(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]);
        let number =
            |(i, &x): (usize, &u8)| f32::from(x) * pictures.scale[i % 3] + pictures.shift[i % 3];
        let numbers = bytes.iter().enumerate().map(number).collect();
        let numbers = Tensor::from_vec(&dims, numbers).unwrap();
        let bytes = Tensor::from_vec(&dims, bytes).unwrap();
        for cpu in Cpu::from_env().unwrap().levels() {
            for fusion in [Fusion::Off, Fusion::Always] {
                let options =
                    Options { threads: 1, fusion, isa: Some(cpu.isa()), ..Options::default() };
                let of_bytes = Options { byte_pictures: Some(pictures.clone()), ..options.clone() };
                let model = model(&graph, of_bytes.clone());
                assert_eq!(model.inputs().next().unwrap().1.dtype, DType::U8);
                let session = model.session().unwrap();
                let casts = session.plan().steps().iter().filter(|step| step.kind == "Cast");
                let own = usize::from(side == 2 || fusion == Fusion::Off);
                assert_eq!(casts.count(), own, "{}", session.plan().explain());
                let want = run(&graph, options, &numbers);
                assert_eq!(run(&graph, of_bytes, &bytes), want, "{side} {cpu} {fusion:?}");
            }
        }
    }
}

#[test]
fn bytes_that_no_input_takes_are_refused() {
    let graph = blocks(4);
    let refused = |scale: &[f32], shift: &[f32]| {
        let pictures = BytePictures { scale: scale.to_vec(), shift: shift.to_vec() };
        let options = Options { byte_pictures: Some(pictures), ..Options::default() };
        match Model::from_graph(graph.clone(), options) {
            Err(EngineError::BytePictures { reason }) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&[1.0], &[0.0]), "no f32 input of 1 channels among f32[1x8x8x3]");
    assert_eq!(refused(&[1.0; 3], &[0.0]), "3 factors and 1 offsets");
    assert_eq!(refused(&[1.0, f32::NAN, 1.0], &[0.0; 3]), "a factor or offset of NaN");
}

#[test]
fn convolutions_take_over_gates_before_them_and_means_behind_them() {
    let mut b = Builder::new("gated");
    let dims = fixed(&[2, 22, 22, 3]);
    let x = b.graph.add_input("x", InputType { dtype: DType::F32, dims });
    let stem = b.conv(x, 3, 24, 3, 2);
    let dw = b.depthwise(stem, 24, 3, 1);
    let gate = b.gate(dw, 24);
    let narrow = b.conv(gate, 24, 16, 1, 1);
    let wide = b.conv(narrow, 16, 300, 1, 1);
    let scores = b.classifier(wide, 300, 10);
    b.graph.add_output(scores);
    let input = numbers(&[2, 22, 22, 3], 5);
    for cpu in Cpu::from_env().unwrap().levels() {
        let with = |fusion, threads| Options {
            threads,
            fusion,
            isa: Some(cpu.isa()),
            ..Options::default()
        };
        let absorbed = |fusion| {
            let session = model(&b.graph, with(fusion, 1)).session().unwrap();
            let steps = session.plan().steps();
            steps.iter().filter(|step| !step.absorbed.is_empty()).count()
        };
        assert_eq!((absorbed(Fusion::Off), absorbed(Fusion::Auto)), (0, 2), "{cpu}");
        let want = run(&b.graph, with(Fusion::Off, 1), &input);
        let got = run(&b.graph, with(Fusion::Auto, 1), &input);
        assert_near(&got[0], &want[0]);
        assert_eq!(run(&b.graph, with(Fusion::Auto, 2), &input), got, "{cpu}");
    }
}
