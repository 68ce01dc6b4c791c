use super::*;
use depthwise_engine::EngineError;
use std::path::{Path, PathBuf};

/// Convolution, batch normalisation and ReLU6.
fn clean() -> wire::Model<'static> {
    let nodes = vec![
        node("Conv", &["x", "w"], "c", vec![("pads", list(&[1, 1, 1, 1]))]),
        node("BatchNormalization", &["c", "scale", "shift", "mean", "var"], "n", vec![]),
        node("Clip", &["n", "low", "high"], "y", vec![]),
    ];
    let two = |name, values| floats(name, &[2], values);
    let constants = vec![
        floats("w", &[2, 1, 3, 3], &ramp(18, -9.0)),
        two("scale", &[0.5, 2.0]),
        two("shift", &[1.0, -1.0]),
        two("mean", &[0.0, 3.0]),
        two("var", &[4.0, 1.0]),
        floats("low", &[], &[0.0]),
        floats("high", &[], &[6.0]),
    ];
    model(13, &[1, 1, 4, 4], nodes, constants)
}

fn picture() -> Tensor {
    tensor(&[1, 1, 4, 4], &ramp(16, -8.0).iter().map(|x| x / 8.0).collect::<Vec<_>>())
}

fn answer(graph: &Graph) -> Vec<f32> {
    run(graph, Options::with_threads(1), &picture())
}

#[test]
fn c23_constants_listed_as_inputs_odd_names_and_nodes_in_reverse() {
    let clean = clean();
    let want = answer(&load(&clean));
    let mut odd = clean.clone();
    odd.graph.nodes.reverse();
    let rename = |name: &mut &'static str| {
        *name = match *name {
            "c" => "net/conv:0",
            "n" => "net//bn:1/",
            "w" => "net/weights:read",
            "mean" => ":",
            other => other,
        }
    };
    for node in &mut odd.graph.nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).chain([&mut node.name]).for_each(rename);
    }
    for constant in &mut odd.graph.initializers {
        rename(&mut constant.name);
        let dims: Vec<usize> = constant.dims.iter().map(|&n| n as usize).collect();
        odd.graph.inputs.push(info(constant.name, &dims));
    }
    let graph = load(&odd);
    assert_eq!(graph.inputs().len(), 1, "only x is an input");
    assert_eq!(answer(&graph), want);
    check(&odd, &picture(), &want);
    assert_eq!(kinds(&graph, &[1, 1, 4, 4]), kinds(&load(&clean), &[1, 1, 4, 4]));
    assert_eq!(kinds(&graph, &[1, 1, 4, 4]).iter().filter(|&&k| k == "Conv2d").count(), 1);
    assert!(!kinds(&graph, &[1, 1, 4, 4]).contains(&"BatchNorm"));
}

/// A folder that goes away with its contents.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("depthwise-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed has said so already.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The clean model with its weights at byte 8 of `location`, as many as it says.
fn external(location: &'static str, length: &'static str) -> wire::Model<'static> {
    let mut model = clean();
    let weights = &mut model.graph.initializers[0];
    weights.float_data = Cow::Borrowed(&[]);
    weights.is_external = true;
    weights.external_data = vec![("location", location), ("offset", "8"), ("length", length)];
    model
}

fn open(folder: &Path, model: &wire::Model<'_>) -> Result<Model, EngineError> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.encode()).unwrap();
    Model::open_with(path, Options::with_threads(1))
}

#[test]
fn c24_weights_beside_the_file_and_never_outside_its_folder() {
    let folder = Folder::new("external");
    let inner = folder.0.join("inner");
    std::fs::create_dir_all(&inner).unwrap();
    let mut bytes = vec![0xff; 8];
    bytes.extend(ramp(18, -9.0).iter().flat_map(|x| x.to_le_bytes()));
    std::fs::write(inner.join("w.bin"), &bytes).unwrap();
    std::fs::write(folder.0.join("w.bin"), &bytes).unwrap();
    let model = open(&inner, &external("w.bin", "72")).unwrap();
    let mut session = model.session().unwrap();
    let got = session.run_tensors(&[picture()]).unwrap();
    assert_eq!(got[0].to_f32().as_ref(), answer(&load(&clean())));
    let refused = |location, length| {
        let error = open(&inner, &external(location, length)).unwrap_err();
        assert!(matches!(error, EngineError::Format(_)), "{error}");
        error.to_string()
    };
    assert!(refused("../w.bin", "72").contains("../w.bin"));
    assert!(refused("w.bin", "71").contains("71"));
    assert!(refused("w.bin", "76").contains("76"));
    assert!(refused("none.bin", "72").contains("none.bin"));
    let absolute = folder.0.join("w.bin").to_str().unwrap().to_owned().leak();
    assert!(refused(absolute, "72").contains("w.bin"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.0.join("w.bin"), inner.join("link.bin")).unwrap();
        assert!(refused("link.bin", "72").contains("link.bin"));
    }
}

#[test]
fn c28_one_error_lists_everything_that_is_not_supported() {
    let custom = Node { domain: "com.example", ..node("Frobnicate", &["x"], "a", vec![]) };
    let nodes = vec![
        custom,
        node("OfTheFuture", &["a"], "b", vec![]),
        node("Resize", &["b", "", "", "sizes"], "y", vec![("mode", text("quintic"))]),
    ];
    let case = model(13, &[1, 1, 4, 4], nodes, vec![integers("sizes", &[1, 1, 8, 8])]);
    let folder = Folder::new("unsupported");
    let error = open(&folder.0, &case).unwrap_err();
    let text = error.to_string();
    for part in [
        "model.onnx",
        "Frobnicate",
        "com.example",
        "OfTheFuture",
        "Resize",
        "quintic",
        "\"a\"",
        "\"b\"",
        "\"y\"",
    ] {
        assert!(text.contains(part), "no {part} in: {text}");
    }
}

/// Operators younger or older than the model's operator set, the same operator twice, and a custom
/// one that takes the name of a standard one.
#[test]
fn c28_nodes_of_other_operator_sets_and_domains_are_each_listed() {
    let foreign = Node { domain: "com.example", ..node("Relu", &["x"], "a", vec![]) };
    let nodes = vec![
        foreign,
        node("HardSwish", &["a"], "young1", vec![]),
        node("Relu", &["young1"], "fine", vec![]),
        node("HardSwish", &["fine"], "young2", vec![]),
        node("Upsample", &["young2", "scales"], "old", vec![]),
        node("Frobnicate", &["old"], "y", vec![]),
    ];
    let scales = floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let case = model(13, &[1, 1, 4, 4], nodes, vec![scales]);
    let text = onnx::read(case.encode().into(), None).unwrap_err().to_string();
    assert!(text.starts_with("5 of the model's nodes are not supported"), "{text}");
    for name in ["\"a\"", "\"young1\"", "\"young2\"", "\"old\"", "\"y\"", "com.example"] {
        assert!(text.contains(name), "no {name} in: {text}");
    }
    assert!(!text.contains("\"fine\""), "{text}");
}
