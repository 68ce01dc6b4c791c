//! Weights under the names of other projects, and weights that do not fit.

use depthwise_formats::Weights;
use depthwise_layers::ir::Graph;
use depthwise_tensor::{Shape, Tensor};
use depthwise_zoo::{
    Checkpoint, EfficientNetLite, MobileNetV1, MobileNetV2, MobileNetV3, Naming, Network, Param,
    Random, Role, WeightFault, WeightSource, ZooError, cut,
};
use std::cell::RefCell;

/// Random weights, noted down as a PyTorch file of a naming would hold them.
struct Recorder {
    naming: Naming,
    weights: RefCell<Weights>,
}

impl WeightSource for Recorder {
    fn weight(&self, param: &Param) -> Result<Tensor, WeightFault> {
        let tensor = Random { seed: 3 }.weight(param)?;
        let data = tensor.data::<f32>().unwrap();
        let torch: Vec<f32> = match (param.role, tensor.shape().dims()) {
            // OHWI to OIHW, and HWC to C1HW.
            (Role::Conv, &[oc, kh, kw, ic]) => {
                let at = |i: usize| {
                    let (o, rest) = (i / (ic * kh * kw), i % (ic * kh * kw));
                    data[(o * kh * kw + rest % (kh * kw)) * ic + rest / (kh * kw)]
                };
                (0..oc * ic * kh * kw).map(at).collect()
            }
            (Role::Depthwise, &[kh, kw, c]) => {
                (0..c * kh * kw).map(|i| data[i % (kh * kw) * c + i / (kh * kw)]).collect()
            }
            _ => data.to_vec(),
        };
        let torch = Tensor::from_vec(param.torch_shape().dims(), torch).unwrap();
        let name = param.name_in(self.naming).expect("the naming knows the network");
        let before = self.weights.borrow_mut().tensors.insert(name.clone(), torch);
        assert!(before.is_none(), "{name} stands for two weights");
        Ok(tensor)
    }
}

fn record(net: &impl Network, naming: Naming) -> (Graph, Weights) {
    let recorder = Recorder { naming, weights: RefCell::default() };
    let graph = net.build(&recorder).unwrap();
    (graph, recorder.weights.into_inner())
}

fn constants(graph: &Graph) -> Vec<(&str, &Tensor)> {
    let ids = graph.value_ids();
    ids.filter_map(|id| Some((&graph.value(id).name[..], graph.constant(id)?))).collect()
}

fn check_round_trip(net: &impl Network, naming: Naming, some: &[&str]) {
    let (want, weights) = record(net, naming);
    for name in some {
        assert!(weights.get(name).is_some(), "{naming} has {name}");
    }
    let checkpoint = Checkpoint::new(&weights);
    assert_eq!(checkpoint.naming(), Some(naming));
    let got = net.build(&checkpoint).unwrap();
    assert_eq!(constants(&got), constants(&want));
}

/// The names beside each network are those of real checkpoints.
#[test]
fn networks_load_from_every_naming_that_knows_them() {
    let v2 = MobileNetV2::new(0.35).resolution(32);
    check_round_trip(
        &v2,
        Naming::Torchvision,
        &["features.1.conv.1.weight", "features.17.conv.3.running_var", "classifier.1.bias"],
    );
    check_round_trip(
        &v2,
        Naming::Timm,
        &["blocks.0.0.conv_pw.weight", "blocks.6.0.conv_pwl.weight", "bn2.bias"],
    );
    let large = MobileNetV3::large(0.35).resolution(32);
    check_round_trip(
        &large,
        Naming::Torchvision,
        &["features.4.block.2.fc1.bias", "features.16.1.running_mean", "classifier.3.weight"],
    );
    check_round_trip(
        &large,
        Naming::Timm,
        &["blocks.2.0.se.conv_reduce.weight", "blocks.6.0.bn1.weight", "conv_head.bias"],
    );
    check_round_trip(
        &MobileNetV3::small(0.35),
        Naming::Timm,
        &["blocks.0.0.se.conv_expand.bias", "blocks.5.0.conv.weight"],
    );
    check_round_trip(&MobileNetV1::new(0.25), Naming::Timm, &["blocks.4.1.bn2.weight"]);
    let lite = EfficientNetLite::lite1();
    check_round_trip(&lite, Naming::Timm, &["blocks.5.4.bn3.bias", "conv_head.weight"]);
    check_round_trip(&lite, Naming::EfficientNetPyTorch, &["_bn1.bias", "_fc.weight"]);
}

#[test]
fn everything_wrong_is_listed_in_one_error() {
    let net = MobileNetV2::new(0.35).resolution(32);
    let (_, mut weights) = record(&net, Naming::Torchvision);
    weights.tensors.remove("features.3.conv.1.0.weight");
    let tensor = Tensor::scalar(1i64);
    weights.tensors.insert("features.0.1.num_batches_tracked".into(), tensor.clone());
    weights.tensors.insert("optimizer.step".into(), tensor);
    weights
        .tensors
        .insert("classifier.1.bias".into(), Tensor::from_slice(&[7], &[0f32; 7]).unwrap());
    let error = net.build(&Checkpoint::new(&weights)).unwrap_err();
    let shape = |dims: &[usize]| Shape::new(dims).unwrap();
    let ZooError::Weights { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(
        faults[..],
        [
            WeightFault::Missing {
                name: "features.3.conv.1.0.weight".into(),
                shape: shape(&[48, 1, 3, 3]),
            },
            WeightFault::Shape {
                name: "classifier.1.bias".into(),
                want: Box::new(shape(&[1000])),
                got: Box::new(shape(&[7])),
            },
            WeightFault::Extra { name: "optimizer.step".into(), shape: Shape::SCALAR },
        ]
    );
    let text = error.to_string();
    assert!(text.contains("\n  wrong shape: classifier.1.bias is 7, the network needs 1000"));
}

#[test]
fn a_backbone_takes_the_weights_of_the_whole_network() {
    let net = MobileNetV3::small(0.35).resolution(32);
    let (_, mut weights) = record(&net, Naming::Torchvision);
    // As DataParallel saves it.
    let parallel = std::mem::take(&mut weights.tensors).into_iter();
    weights.tensors = parallel.map(|(name, t)| (format!("module.{name}"), t)).collect();
    let backbone = net.include_top(false).build(&Checkpoint::new(&weights)).unwrap();
    assert_eq!(backbone.nodes().last().unwrap().name, "features.12.2");
    assert_eq!(backbone.value(backbone.outputs()[0]).name, "features");
}

#[test]
fn networks_are_cut_at_any_layer() {
    let mut graph = MobileNetV2::new(1.0).build(&Random { seed: 1 }).unwrap();
    cut(&mut graph, &["features.6", "features.14.conv.0.2"]).unwrap();
    graph.verify().unwrap();
    let names: Vec<&str> = graph.outputs().iter().map(|&id| &graph.value(id).name[..]).collect();
    assert_eq!(names, ["features.6.add", "features.14.conv.0.2"]);
    let missing = cut(&mut graph, &["features.1", "features.99"]);
    assert_eq!(missing, Err(ZooError::NoLayer("features.99".into())));
    assert_eq!(graph.outputs().len(), 2, "a refused cut changes nothing");
}

#[test]
fn settings_out_of_range_are_errors() {
    let refused =
        |net: MobileNetV2| matches!(net.build(&Random { seed: 1 }), Err(ZooError::Setting { .. }));
    assert!(refused(MobileNetV2::new(0.0)));
    assert!(refused(MobileNetV2::new(f64::NAN)));
    assert!(refused(MobileNetV2::new(1e9)));
    assert!(refused(MobileNetV2::new(1.0).resolution(0)));
    assert!(refused(MobileNetV2::new(1.0).classes(usize::MAX)));
    assert!(refused(MobileNetV2::new(1.0).epsilon(f32::INFINITY)));
}
