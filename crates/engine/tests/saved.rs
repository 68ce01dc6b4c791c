//! Networks written in every format, read back, and run.

mod common;

use common::{fixed, mobile, numbers, relative_error};
use depthwise_engine::formats::{self, SaveFormat, SaveOptions, safetensors};
use depthwise_engine::layers::{Layer, Transpose};
use depthwise_engine::{Ends, EngineError, Graph, Model, Options, Shape, Tensor};
use depthwise_testkit::Random;

fn run(graph: Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let model = Model::from_graph(graph, Options { threads: 1, ..Options::default() }).unwrap();
    let shapes: Vec<Shape> = inputs.iter().map(|tensor| *tensor.shape()).collect();
    model.session_for(&shapes).unwrap().run_tensors(inputs).unwrap()
}

fn options(inputs: &[Tensor]) -> SaveOptions {
    let input_shapes = inputs.iter().map(|tensor| *tensor.shape()).collect();
    SaveOptions { input_shapes, ..SaveOptions::default() }
}

/// Exports the model and opens the file: the same outputs by the same names.
fn check(graph: &Graph, inputs: &[Tensor], name: &str, formats: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let want = run(graph.clone(), inputs);
    for format in formats {
        let path = folder.path().join(format!("model.{format}"));
        let model = Model::from_graph(graph.clone(), Options::default()).unwrap();
        match model.export(&path, &options(inputs)) {
            Ok(_) => {}
            Err(error) => panic!("{name}: {error}"),
        }
        let back = formats::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let names = |graph: &Graph| -> Vec<String> {
            graph.outputs().iter().map(|&id| graph.value(id).name.clone()).collect()
        };
        assert_eq!(names(&back), names(graph), "{name}.{format}");
        for (got, want) in run(back, inputs).iter().zip(&want) {
            let error = relative_error(got, want);
            // The same sums, in another order where the file has other layers.
            assert!(error < 1e-5, "{name}.{format}: {error}");
        }
    }
}

#[test]
fn a_mobile_network_survives_every_format() {
    let graph = mobile(fixed(&[1, 33, 29, 3]));
    check(&graph, &[numbers(&[1, 33, 29, 3], 7)], "mobile", &["onnx", "tflite", "safetensors"]);
}

/// Real files; one whose operators a format does not have is named.
#[test]
fn real_files_survive() {
    let Some(models) = depthwise_testkit::shared_dir().map(|dir| dir.join("models")) else {
        println!("skipped: no ../shared");
        return;
    };
    let list: [(&str, &[&str]); 4] = [
        ("onnx/ppocr_mobile_v2_cls", &["onnx", "tflite", "safetensors"]),
        ("onnx/ultralight_face_rfb_320", &["onnx", "safetensors"]),
        ("tflite/vww_96_float", &["onnx", "tflite", "safetensors"]),
        ("tflite/mediapipe_face_detection_short_range", &["onnx", "tflite", "safetensors"]),
    ];
    for (name, formats) in list {
        let (kind, stem) = name.split_once('/').unwrap();
        let graph = formats::open(models.join(format!("{name}.{kind}"))).unwrap();
        let golden = models.join(format!("golden/{stem}.safetensors"));
        let golden = safetensors::open(golden).unwrap();
        let input = |&id| golden.get(&format!("in/{}", graph.value(id).name)).unwrap().clone();
        let inputs: Vec<Tensor> = graph.inputs().iter().map(input).collect();
        check(&graph, &inputs, name, formats);
    }
}

#[test]
fn weights_that_were_packed_cannot_be_written() {
    let model = Model::from_graph(mobile(fixed(&[1, 17, 17, 3])), Options::default()).unwrap();
    model.session().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = model.export(folder.path().join("m.onnx"), &SaveOptions::default()).unwrap_err();
    assert!(matches!(error, EngineError::Save(_)), "{error}");
    assert!(error.to_string().contains("dropped after packing"), "{error}");
}

/// Passes and planner must stand what a changed file can hold.
#[test]
fn changed_graphs_give_errors_or_plans() {
    let graph = mobile(fixed(&[1, 9, 9, 3]));
    let bytes =
        formats::to_bytes(&graph, SaveFormat::Safetensors, &SaveOptions::default()).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut random = Random::new(11);
    let (mut read, mut planned) = (0, 0);
    for _ in 0..1500 {
        let mut changed = bytes.clone();
        for _ in 0..1 + random.below(2) {
            let digits: Vec<usize> =
                (8..8 + header).filter(|&at| changed[at].is_ascii_digit()).collect();
            let at = digits[random.below(digits.len())];
            changed[at] = b'0' + random.below(10) as u8;
        }
        let Ok(Some(graph)) = safetensors::read_graph(changed.into()) else { continue };
        read += 1;
        let Ok(model) = Model::from_graph(graph, Options { threads: 1, ..Options::default() })
        else {
            continue;
        };
        let shapes: Option<Vec<Shape>> = model.inputs().map(|(_, ty)| ty.shape()).collect();
        let elements = |shape: &Shape| shape.elements() < 1 << 16;
        let Some(shapes) = shapes.filter(|shapes| shapes.iter().all(elements)) else { continue };
        planned += usize::from(model.plan(&shapes).is_ok());
    }
    assert!(read > 100 && planned > 20, "{read} of 1500 read, {planned} planned");
}

/// A tensor with its axes in another order.
fn turned(x: &Tensor, perm: &[usize]) -> Tensor {
    let turn = Transpose { perm: perm.to_vec() };
    turn.reference(&[Some(x)]).unwrap().remove(0)
}

#[test]
fn pictures_enter_and_leave_in_either_order() {
    // Of four dimensions at both ends, and a second output of two.
    let mut graph = mobile(fixed(&[1, 33, 29, 3]));
    let picture = graph
        .nodes()
        .iter()
        .find(|node| matches!(node.op, depthwise_engine::layers::Op::DepthwiseConv2d(_)))
        .map(|node| node.outputs[0])
        .unwrap();
    graph.add_output(picture);
    let x = numbers(&[1, 33, 29, 3], 7);
    let want = run(graph.clone(), std::slice::from_ref(&x));
    let steps = |model: &Model, x: &Tensor| {
        let plan = model.plan(&[*x.shape()]).unwrap();
        plan.steps().iter().filter(|step| step.kind == "Transpose").count()
    };
    let turn = |graph: Graph, ends| {
        Model::from_graph(graph, Options { threads: 1, ends, ..Options::default() }).unwrap()
    };

    let model = turn(graph.clone(), Ends::NchwOfNhwc);
    let nchw = turned(&x, &[0, 3, 1, 2]);
    assert_eq!(model.inputs().next().unwrap().1.to_string(), "f32[1x3x33x29]");
    let mut session = model.session().unwrap();
    let got = session.run_tensors(std::slice::from_ref(&nchw)).unwrap();
    assert_eq!(got[0], want[0], "an output of two dimensions stays");
    assert_eq!(turned(&got[1], &[0, 2, 3, 1]), want[1]);

    // What was turned one way is turned back: no transposes are left.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nchw.onnx");
    let exact = SaveOptions { nchw: true, ..SaveOptions::default() };
    Model::from_graph(graph, Options::default()).unwrap().export(&path, &exact).unwrap();
    let file = formats::open(&path).unwrap();
    let declared = turn(file.clone(), Ends::AsDeclared);
    assert_eq!(declared.inputs().next().unwrap().1.to_string(), "f32[1x3x33x29]");
    assert!(steps(&declared, &nchw) > 0);
    let model = turn(file, Ends::NhwcOfNchw);
    assert_eq!(model.inputs().next().unwrap().1.to_string(), "f32[1x33x29x3]");
    assert_eq!(steps(&model, &x), 0, "{}", model.dump());
    let got = model.session().unwrap().run_tensors(std::slice::from_ref(&x)).unwrap();
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got.shape(), want.shape());
        assert!(relative_error(got, want) < 1e-5);
    }
}
