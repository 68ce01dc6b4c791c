use super::*;
use proptest::prelude::*;

fn model() -> Model<'static> {
    let attribute = |name, value| Attribute { name, value };
    let tensor = Tensor {
        name: "w",
        dims: vec![2, 1],
        data_type: data_type::FLOAT,
        raw_data: Some(&[0, 0, 128, 63, 0, 0, 0, 64]),
        ..Tensor::default()
    };
    Model {
        ir_version: 8,
        opsets: vec![
            Opset { domain: "", version: 13 },
            Opset { domain: "com.example", version: 1 },
        ],
        producer: "test",
        metadata: vec![("character", "a\nb"), ("empty", "")],
        functions: vec![],
        graph: Graph {
            name: "g",
            nodes: vec![Node {
                name: "n/0:1",
                op_type: "Conv",
                domain: "",
                inputs: vec!["x", "", "w"],
                outputs: vec!["y"],
                attributes: vec![
                    attribute("a", AttributeValue::Float(-0.5)),
                    attribute("b", AttributeValue::Int(-1)),
                    attribute("c", AttributeValue::String(b"SAME_UPPER")),
                    attribute("d", AttributeValue::Floats(vec![1.0, f32::INFINITY])),
                    attribute("e", AttributeValue::Ints(vec![0, i64::MIN, i64::MAX])),
                    attribute("f", AttributeValue::Strings(vec![b"", b"x"])),
                    attribute("g", AttributeValue::Tensor(Box::new(tensor.clone()))),
                    attribute("h", AttributeValue::Ints(vec![])),
                ],
            }],
            initializers: vec![
                tensor,
                Tensor {
                    name: "i",
                    dims: vec![2],
                    data_type: data_type::INT64,
                    int64_data: vec![-1, 300],
                    ..Tensor::default()
                },
                Tensor {
                    name: "external",
                    external_data: vec![("location", "w.bin"), ("offset", "4096")],
                    is_external: true,
                    int32_data: vec![-2, 70000],
                    float_data: Cow::Owned(vec![1, 2, 3, 4]),
                    double_data: Cow::Owned(vec![1, 2, 3, 4, 5, 6, 7, 8]),
                    ..Tensor::default()
                },
            ],
            sparse_initializers: 0,
            inputs: vec![ValueInfo {
                name: "x",
                elem_type: data_type::FLOAT,
                shape: Some(vec![
                    Dimension::Value(-1),
                    Dimension::Value(3),
                    Dimension::Param("H"),
                    Dimension::Unknown,
                ]),
            }],
            outputs: vec![ValueInfo {
                name: "y",
                elem_type: data_type::FLOAT,
                shape: Some(vec![]),
            }],
            value_info: vec![ValueInfo { name: "v", elem_type: 0, shape: None }],
        },
    }
}

#[test]
fn decoding_gives_what_was_encoded() {
    let bytes = model().encode();
    assert_eq!(Model::decode(&bytes).unwrap(), model());
}

#[test]
fn raw_data_is_borrowed() {
    let bytes = model().encode();
    let decoded = Model::decode(&bytes).unwrap();
    let raw = decoded.graph.initializers[0].raw_data.unwrap();
    assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));
    assert!(matches!(decoded.graph.initializers[2].float_data, Cow::Borrowed(_)));
}

#[test]
fn unpacked_numbers_are_read_like_packed_ones() {
    // Tensor: dims 2 and 3 unpacked, name "w", two unpacked floats.
    let tensor =
        b"\x08\x02\x08\x03\x10\x01\x42\x01w\x25\x00\x00\x80\x3f\x25\x00\x00\x00\x40".to_vec();
    let graph = [&[0x2a, tensor.len() as u8], &tensor[..]].concat();
    let file = [&[0x3a, graph.len() as u8], &graph[..]].concat();
    let model = Model::decode(&file).unwrap();
    let tensor = &model.graph.initializers[0];
    assert_eq!(tensor.dims, [2, 3]);
    assert_eq!(tensor.float_data[..], [0, 0, 128, 63, 0, 0, 0, 64]);
}

#[test]
fn the_type_of_an_attribute_may_be_left_out() {
    // Attribute "a" with the integer 5 and no type, in a node "X".
    let file = b"\x3a\x0c\x0a\x0a\x22\x01X\x2a\x05\x0a\x01a\x18\x05";
    let model = Model::decode(file).unwrap();
    let want = [Attribute { name: "a", value: AttributeValue::Int(5) }];
    assert_eq!(model.graph.nodes[0].attributes, want);
}

#[test]
fn malformed_messages_name_the_byte() {
    let cases: &[(&[u8], usize, &str)] = &[
        (b"", 0, "the file holds no graph"),
        (b"\x3a\x00\x3a\x00", 4, "the file holds two graphs"),
        (b"\x3a\x05", 2, "a field is cut short"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "a field is cut short"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "a number is longer than 64 bits"),
        (b"\x00\x00", 0, "a field has no valid number"),
        (b"\x3b", 1, "a field is of no known wire type"),
        (b"\x3a\x02\x0a\x00", 4, "a node has no operator"),
        (b"\x3a\x04\x12\x02\xff\xfe", 4, "a string is not UTF-8"),
        (b"\x0a\x00", 2, "an integer is expected"),
        (b"\x3a\x02\x2a\x00", 4, "an initializer has no name"),
    ];
    for &(bytes, offset, reason) in cases {
        assert_eq!(Model::decode(bytes), Err(WireError { offset, reason }), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn flipped_or_cut_bytes_give_a_model_or_an_error(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
        cut: prop::sample::Index,
    ) {
        let mut bytes = model().encode();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        let _ = Model::decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = Model::decode(&bytes);
    }
}

/// A model with two tensors that are left in the file, and a small one between them.
fn large() -> Vec<u8> {
    let raw: Vec<u8> = (0..20_000u32).map(|i| (i * 7) as u8).collect();
    let tensor = |name, len: usize| Tensor {
        name,
        dims: vec![len as i64 / 4],
        data_type: data_type::FLOAT,
        raw_data: Some(&raw[..len]),
        ..Tensor::default()
    };
    let graph = Graph {
        name: "large",
        nodes: vec![Node {
            op_type: "Add",
            inputs: vec!["a", "b"],
            outputs: vec!["y"],
            ..Node::default()
        }],
        initializers: vec![tensor("a", 8192), tensor("small", 64), tensor("b", 20_000)],
        ..Graph::default()
    };
    Model { graph, metadata: vec![("key", "value")], ..Model::default() }.encode()
}

/// Decodes with and without the large tensors; both must say the same.
fn check_skeleton(file: &[u8]) -> usize {
    let whole = Model::decode(file);
    let skeleton = Skeleton::read(std::io::Cursor::new(file), file.len() as u64).unwrap();
    let mut left = 0;
    let mut bare = Model::decode_skeleton(&skeleton);
    if let Ok(model) = &mut bare {
        for tensor in &mut model.graph.initializers {
            if let Some((offset, len)) = tensor.raw_in_file.take() {
                tensor.raw_data = Some(&file[offset as usize..][..len]);
                left += 1;
            }
        }
    }
    assert_eq!(bare, whole);
    left
}

#[test]
fn a_skeleton_decodes_to_the_same_model() {
    let file = large();
    assert_eq!(check_skeleton(&file), 2);
    let skeleton = Skeleton::read(std::io::Cursor::new(&file), file.len() as u64).unwrap();
    assert_eq!(skeleton.bytes().len(), file.len() - 28_192);
}

#[test]
fn a_skeleton_of_a_damaged_file_gives_the_same_error() {
    let file = large();
    for len in (0..file.len()).step_by(97).chain(0..64).chain(8_000..8_400) {
        check_skeleton(&file[..len]);
    }
    // Every bit of everything but the elements.
    let mut damaged = file.clone();
    for at in (0..100).chain(8_240..8_400).chain(file.len() - 40..file.len()) {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            check_skeleton(&damaged);
            damaged[at] ^= 1 << bit;
        }
    }
    let short = Skeleton::read(std::io::Cursor::new(&file), file.len() as u64 + 1);
    assert_eq!(short.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}
