//! Order, names, inputs, outputs, and what is refused. Numbers `C..` are those of the project's
//! list of cases.

use super::build::*;
use crate::onnx::wire::{Dimension, Opset, Tensor, ValueInfo, data_type};
use crate::onnx::{OnnxError, read};
use bytes::Bytes;
use depthwise_layers::ir::{Dim, interpret};
use depthwise_tensor::{DType, Tensor as Value};

/// Conv, BatchNormalization, Clip: the building block of a mobile network.
fn block() -> crate::onnx::wire::Model<'static> {
    let nodes = vec![
        node("Conv", &["x", "conv/w:0"], &["t/0"], vec![("pads", ints(&[1, 1, 1, 1]))]),
        node("BatchNormalization", &["t/0", "s", "b", "m", "v"], &["t/1"], vec![]),
        node("Clip", &["t/1"], &["y"], vec![("min", float(0.0)), ("max", float(6.0))]),
    ];
    let weights: Vec<f32> = (0..18).map(|i| i as f32 / 9.0 - 1.0).collect();
    let initializers = vec![
        f32s("conv/w:0", &[2, 1, 3, 3], &weights),
        f32s("s", &[2], &[1.5, 0.5]),
        f32s("b", &[2], &[0.1, 2.0]),
        f32s("m", &[2], &[0.2, -1.0]),
        f32s("v", &[2], &[4.0, 0.25]),
    ];
    model(9, &[1, 1, 4, 4], nodes, initializers)
}

#[test]
fn c23_initializers_that_are_inputs_and_unsorted_nodes_change_nothing() {
    let clean = block();
    let mut odd = block();
    odd.graph.nodes.reverse();
    for (name, dims) in [("conv/w:0", &[2, 1, 3, 3][..]), ("s", &[2]), ("b", &[2])] {
        odd.graph.inputs.insert(0, info(name, dims));
    }
    let graph = read(Bytes::from(odd.encode()), None).unwrap();
    let names: Vec<&str> = graph.inputs().iter().map(|&id| graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["x"]);
    let x = ramp(&[1, 1, 4, 4], -5.0);
    assert_eq!(run(&odd, &x), run(&clean, &x));
    assert_eq!(
        graph.constant(graph.find("conv/w:0").unwrap()).unwrap().shape().dims(),
        [2, 1, 3, 3]
    );
}

#[test]
fn nodes_without_a_name_or_with_another_ones_get_names() {
    let mut model = block();
    model.graph.nodes[0].name = "same";
    model.graph.nodes[1].name = "same";
    let graph = read(Bytes::from(model.encode()), None).unwrap();
    let names: Vec<&str> = graph.nodes().iter().map(|n| n.name.as_str()).collect();
    for name in ["same", "same_1", "Clip_2"] {
        assert_eq!(names.iter().filter(|n| **n == name).count(), 1, "{name} in {names:?}");
    }
}

#[test]
fn c28_every_unsupported_node_is_listed() {
    let mut nodes = vec![
        node("MyOp", &["x"], &["a"], vec![]),
        node("Relu", &["a"], &["b"], vec![]),
        node("Swish", &["b"], &["c"], vec![]),
        node(
            "Resize",
            &["c", "", "scales"],
            &["d"],
            vec![("exclude_outside", int(1)), ("mode", text("linear"))],
        ),
        node("ReduceMean", &["a"], &["e"], vec![("axes", ints(&[1]))]),
        node("Add", &["d", "e"], &["y"], vec![]),
    ];
    nodes[0].domain = "com.example";
    nodes[2].name = "act";
    let mut model = model(18, &[1, 1, 2, 2], nodes, vec![f32s("scales", &[4], &[1., 1., 2., 2.])]);
    model.opsets.push(Opset { domain: "com.example", version: 1 });
    let nodes = refused(&model);
    let listed: Vec<(&str, &str, &str)> =
        nodes.iter().map(|n| (n.node.as_str(), n.op_type.as_str(), n.domain.as_str())).collect();
    let want =
        [("MyOp_0", "MyOp", "com.example"), ("act", "Swish", ""), ("Resize_3", "Resize", "")];
    assert_eq!(listed, want);
    for (node, reason) in nodes.iter().zip(["com.example", "operator set 24", "exclude_outside"]) {
        assert!(node.reason.contains(reason), "{node}");
    }
    let message = error(&model).to_string();
    assert!(message.contains("\"act\" (ai.onnx.Swish)"), "{message}");
}

#[test]
fn operator_sets_out_of_range_are_refused() {
    let relu = || vec![node("Relu", &["x"], &["y"], vec![])];
    for version in [6, 29] {
        let reason = &refused(&model(version, &[1], relu(), vec![]))[0].reason;
        assert!(reason.contains(&version.to_string()), "{reason}");
    }
    for version in [7, 28] {
        let x = value(&[2], &[-1.0, 1.0]);
        assert_eq!(run_node(version, node("Relu", &["x"], &["y"], vec![]), vec![], &x), [0.0, 1.0]);
    }
    let mut none = model(13, &[1], relu(), vec![]);
    none.opsets.clear();
    assert_eq!(refused(&none).len(), 1);
}

#[test]
fn attributes_that_nobody_knows_are_refused() {
    let relu = node("Relu", &["x"], &["y"], vec![("slope", float(0.1))]);
    let nodes = refused(&model(13, &[1], vec![relu], vec![]));
    assert!(nodes[0].reason.contains("\"slope\""), "{}", nodes[0]);
}

#[test]
fn graphs_functions_and_sparse_constants_are_refused_with_the_reason() {
    let mut model = block();
    model.graph.nodes[2].op_type = "If";
    assert!(refused(&model)[0].reason.contains("hold graphs"));

    // A sparse initializer is field 15 of the graph, a function field 25 of the model.
    let graph = b"\x7a\x00";
    let file = [&[0x3a, graph.len() as u8], &graph[..]].concat();
    let error = read(Bytes::from(file), None).unwrap_err();
    assert!(matches!(&error, OnnxError::Feature(what) if what.contains("sparse")), "{error}");

    let mut file =
        self::model(13, &[1], vec![node("Relu", &["x"], &["y"], vec![])], vec![]).encode();
    file.extend(b"\xca\x01\x06\x0a\x04Relu");
    let error = read(Bytes::from(file), None).unwrap_err();
    assert!(
        matches!(&error, OnnxError::Unsupported(nodes) if nodes[0].reason.contains("function"))
    );
}

#[test]
fn values_that_are_undefined_or_defined_twice_are_named() {
    let relu = |from, to| node("Relu", &[from], &[to], vec![]);
    let of = |nodes, more: &[&'static str]| {
        let mut model = model(13, &[1], nodes, vec![]);
        model.graph.outputs.extend(more.iter().map(|&name| info(name, &[])));
        error(&model)
    };
    let undefined = of(vec![relu("nope", "y")], &[]);
    assert!(matches!(&undefined, OnnxError::Undefined { value, .. } if value == "nope"));
    assert!(undefined.to_string().contains("Relu"), "{undefined}");
    let error = of(vec![relu("x", "z")], &[]);
    assert!(matches!(&error, OnnxError::Undefined { value, .. } if value == "y"), "{error}");
    assert!(matches!(of(vec![relu("x", "y"), relu("x", "y")], &[]), OnnxError::Redefined(_)));
    assert!(matches!(of(vec![relu("y", "x")], &[]), OnnxError::Redefined(_)));
    assert!(matches!(of(vec![relu("x", "y")], &["y"]), OnnxError::Redefined(_)));
    let cycle = of(vec![relu("z", "y"), relu("y", "z")], &[]);
    assert!(matches!(cycle, OnnxError::Cycle(_)), "{cycle}");
}

#[test]
fn a_chain_of_many_nodes_in_reverse_order_is_sorted() {
    let names: Vec<&'static str> =
        (0..20_000).map(|i| &*Box::leak(format!("v{i}").into_boxed_str())).collect();
    let mut nodes = vec![
        node("Neg", &["x"], &[names[0]], vec![]),
        node("Neg", &[names[names.len() - 1]], &["y"], vec![]),
    ];
    nodes.extend(names.windows(2).map(|pair| node("Neg", &[pair[0]], &[pair[1]], vec![])));
    nodes.reverse();
    let graph = read(Bytes::from(model(13, &[1], nodes, vec![]).encode()), None).unwrap();
    assert_eq!(graph.nodes().len(), 20_001);
}

#[test]
fn outputs_keep_their_names_behind_identities() {
    let identity = |from, to| node("Identity", &[from], &[to], vec![]);
    let nodes = vec![
        node("Neg", &["x"], &["t"], vec![]),
        identity("t", "y"),
        identity("t", "second"),
        identity("x", "input"),
        identity("w", "constant"),
    ];
    let mut model = model(13, &[2], nodes, vec![f32s("w", &[1], &[7.0])]);
    model.graph.outputs.extend(["second", "input", "constant"].map(|name| info(name, &[])));
    let x = value(&[2], &[1.0, -2.0]);
    let graph = read(Bytes::from(model.encode()), None).unwrap();
    let names: Vec<&str> =
        graph.outputs().iter().map(|&id| graph.value(id).name.as_str()).collect();
    assert_eq!(names, ["y", "second", "input", "constant"]);
    let outputs = interpret(&graph, std::slice::from_ref(&x)).unwrap();
    let neg = value(&[2], &[-1.0, 2.0]);
    assert_eq!(outputs, [neg.clone(), neg, x, value(&[1], &[7.0])]);
}

#[test]
fn free_extents_keep_their_names() {
    let mut model = model(13, &[], vec![node("Relu", &["x"], &["y"], vec![])], vec![]);
    model.graph.inputs[0].shape = Some(vec![
        Dimension::Param("N"),
        Dimension::Param("?"),
        Dimension::Value(-1),
        Dimension::Unknown,
        Dimension::Value(3),
    ]);
    model.metadata = vec![("author", "me")];
    let graph = read(Bytes::from(model.encode()), None).unwrap();
    let free = |name: &str| Dim::Free(name.into());
    let dims = [free("N"), free(""), free(""), free(""), Dim::Fixed(3)];
    assert_eq!(graph.input_type(graph.inputs()[0]).unwrap().dims, dims);
    assert_eq!((graph.name.as_str(), graph.metadata["author"].as_str()), ("test", "me"));
}

#[test]
fn inputs_of_unknown_type_or_rank_are_refused() {
    let mut model = model(13, &[1], vec![node("Relu", &["x"], &["y"], vec![])], vec![]);
    model.graph.inputs[0].shape = None;
    assert!(matches!(error(&model), OnnxError::Input { input, .. } if input == "x"));
    model.graph.inputs[0] = ValueInfo { name: "x", elem_type: 8, shape: Some(vec![]) };
    let error = error(&model);
    assert!(error.to_string().contains("string"), "{error}");
}

#[test]
fn constants_of_every_encoding_are_read() {
    let tensor = |data_type, fill: fn(&mut Tensor<'static>)| {
        let mut tensor = Tensor { name: "w", dims: vec![2], data_type, ..Tensor::default() };
        fill(&mut tensor);
        tensor
    };
    let f16 = |x: f32| half::f16::from_f32(x);
    let bf16 = |x: f32| half::bf16::from_f32(x);
    let cases = [
        (
            tensor(data_type::FLOAT, |t| t.raw_data = Some(&[0, 0, 128, 63, 0, 0, 0, 192])),
            value(&[2], &[1.0, -2.0]),
        ),
        (
            tensor(data_type::FLOAT16, |t| t.int32_data = vec![0x3c00, 0xc000]),
            Value::from_slice(&[2], &[f16(1.0), f16(-2.0)]).unwrap(),
        ),
        (
            tensor(data_type::BFLOAT16, |t| t.raw_data = Some(&[0x80, 0x3f, 0, 0xc0])),
            Value::from_slice(&[2], &[bf16(1.0), bf16(-2.0)]).unwrap(),
        ),
        (
            tensor(data_type::DOUBLE, |t| {
                t.double_data = [1f64, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
            }),
            Value::from_slice(&[2], &[1f64, -2.0]).unwrap(),
        ),
        (
            tensor(data_type::INT64, |t| t.int64_data = vec![1, -2]),
            Value::from_slice(&[2], &[1i64, -2]).unwrap(),
        ),
        (
            tensor(data_type::INT32, |t| t.int32_data = vec![1, -2]),
            Value::from_slice(&[2], &[1i32, -2]).unwrap(),
        ),
        (
            tensor(data_type::INT8, |t| t.int32_data = vec![1, -2]),
            Value::from_slice(&[2], &[1i8, -2]).unwrap(),
        ),
        (
            tensor(data_type::UINT8, |t| t.int32_data = vec![1, 254]),
            Value::from_slice(&[2], &[1u8, 254]).unwrap(),
        ),
        (
            tensor(data_type::BOOL, |t| t.raw_data = Some(&[1, 0])),
            Value::from_bools(&[2], &[true, false]).unwrap(),
        ),
    ];
    for (tensor, want) in cases {
        let nodes = vec![node("Identity", &["w"], &["y"], vec![])];
        let model = model(13, &[1], nodes, vec![tensor]);
        assert_eq!(run(&model, &value(&[1], &[0.0])), [want]);
    }
}

#[test]
fn constants_that_contradict_themselves_are_refused() {
    let cases: [fn(&mut Tensor<'static>); 6] = [
        |t| t.dims = vec![3],
        |t| t.dims = vec![-1],
        |t| t.dims = vec![i64::MAX, i64::MAX],
        |t| t.dims = vec![1; 9],
        |t| t.raw_data = Some(&[0; 7]),
        |t| (t.data_type, t.int32_data) = (data_type::INT8, vec![1, 300]),
    ];
    for fault in cases {
        let mut tensor = f32s("w", &[2], &[1.0, 2.0]);
        fault(&mut tensor);
        let nodes = vec![node("Identity", &["w"], &["y"], vec![])];
        let error = error(&model(13, &[1], nodes, vec![tensor]));
        assert!(matches!(&error, OnnxError::Tensor { tensor, .. } if tensor == "w"), "{error}");
    }
    let mut tensor = f32s("w", &[2], &[]);
    tensor.data_type = 12;
    let nodes = vec![node("Add", &["x", "w"], &["y"], vec![])];
    let nodes = refused(&model(13, &[2], nodes, vec![tensor]));
    assert!(nodes[0].reason.contains("u32"), "{}", nodes[0]);
}

#[test]
fn aligned_elements_are_shared_with_the_file_and_unused_ones_not_read() {
    let raw: Vec<u8> = (0..64).collect();
    let raw: &'static [u8] = Box::leak(raw.into_boxed_slice());
    let tensor = |name, dims| Tensor {
        name,
        dims,
        data_type: data_type::UINT8,
        raw_data: Some(raw),
        ..Tensor::default()
    };
    // The second contradicts itself, but nothing reads it.
    let initializers = vec![tensor("w", vec![64]), tensor("unused", vec![7])];
    let nodes = vec![node("Identity", &["w"], &["y"], vec![])];
    let file = Bytes::from(model(13, &[1], nodes, initializers).encode());
    let graph = read(file.clone(), None).unwrap();
    let w = graph.constant(graph.find("w").unwrap()).unwrap();
    assert_eq!(w.dtype(), DType::U8);
    assert!(file.as_ptr_range().contains(&w.bytes().as_ptr()));
}
