//! Small models.

use crate::tflite::wire::{Field, IDENTIFIER, Record, encode, tensor_type};
use crate::tflite::{TfliteError, UnsupportedOperator, read};
use bytes::Bytes;
use depthwise_layers::ir::interpret;
use depthwise_tensor::Tensor;

/// A model whose last network grows.
#[derive(Clone, Debug)]
pub(super) struct Net {
    /// Networks that are whole.
    networks: Vec<Record>,
    tensors: Vec<Record>,
    buffers: Vec<Record>,
    codes: Vec<Record>,
    operators: Vec<Record>,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
}

impl Net {
    /// A network whose input 0 is `f32` of these extents.
    pub(super) fn new(dims: &[i32]) -> Net {
        let mut net = Net {
            networks: Vec::new(),
            tensors: Vec::new(),
            buffers: vec![Record::new()],
            codes: Vec::new(),
            operators: Vec::new(),
            inputs: vec![0],
            outputs: Vec::new(),
        };
        net.tensor("x", dims, tensor_type::FLOAT32);
        net
    }

    /// A tensor without elements.
    pub(super) fn tensor(&mut self, name: &str, dims: &[i32], dtype: i8) -> i32 {
        let record = Record::new()
            .with(0, Field::I32s(dims.to_vec()))
            .with(1, Field::U8(dtype as u8))
            .with(3, Field::Text(name.into()));
        self.tensors.push(record);
        self.tensors.len() as i32 - 1
    }

    /// The record of a tensor.
    pub(super) fn record(&mut self, tensor: i32) -> &mut Record {
        &mut self.tensors[tensor as usize]
    }

    /// A constant of these bytes.
    pub(super) fn bytes(&mut self, name: &str, dims: &[i32], dtype: i8, bytes: Vec<u8>) -> i32 {
        let tensor = self.tensor(name, dims, dtype);
        let buffer = self.buffers.len() as i32;
        self.buffers.push(Record::new().with(0, Field::Bytes(bytes)));
        self.record(tensor).set(2, Field::I32(buffer));
        tensor
    }

    pub(super) fn f32s(&mut self, name: &str, dims: &[i32], data: &[f32]) -> i32 {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.bytes(name, dims, tensor_type::FLOAT32, bytes)
    }

    pub(super) fn f16s(&mut self, name: &str, dims: &[i32], data: &[f32]) -> i32 {
        let bytes = data.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
        self.bytes(name, dims, tensor_type::FLOAT16, bytes)
    }

    /// A list of integers of rank 1.
    pub(super) fn ints(&mut self, data: &[i32]) -> i32 {
        self.i32s(&[data.len() as i32], data)
    }

    pub(super) fn i32s(&mut self, dims: &[i32], data: &[i32]) -> i32 {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.bytes("ints", dims, tensor_type::INT32, bytes)
    }

    /// An operator of one `f32` result; gives the result.
    pub(super) fn op(&mut self, code: i32, inputs: &[i32], options: Record) -> i32 {
        let y = self.tensor(&format!("y{}", self.tensors.len()), &[], tensor_type::FLOAT32);
        self.push(code, inputs, &[y], options);
        y
    }

    /// An operator.
    pub(super) fn push(&mut self, code: i32, inputs: &[i32], outputs: &[i32], options: Record) {
        let record = Record::new()
            .with(1, Field::I32s(inputs.to_vec()))
            .with(2, Field::I32s(outputs.to_vec()))
            .with(3, Field::U8(1))
            .with(4, Field::Table(options));
        self.add(
            Record::new().with(0, Field::U8(code.min(127) as u8)).with(3, Field::I32(code)),
            record,
        );
    }

    /// A custom operator of one `f32` result; gives the result.
    pub(super) fn custom(&mut self, name: &str, inputs: &[i32], options: &[u8]) -> i32 {
        self.custom_many(name, inputs, options, 1)[0]
    }

    /// A custom operator of several `f32` results.
    pub(super) fn custom_many(
        &mut self,
        name: &str,
        inputs: &[i32],
        options: &[u8],
        results: usize,
    ) -> Vec<i32> {
        let mut result =
            |_| self.tensor(&format!("y{}", self.tensors.len()), &[], tensor_type::FLOAT32);
        let results: Vec<i32> = (0..results).map(&mut result).collect();
        let record = Record::new()
            .with(1, Field::I32s(inputs.to_vec()))
            .with(2, Field::I32s(results.clone()))
            .with(5, Field::Bytes(options.to_vec()));
        self.add(Record::new().with(0, Field::U8(32)).with(1, Field::Text(name.into())), record);
        results
    }

    fn add(&mut self, code: Record, mut operator: Record) {
        operator.set(0, Field::I32(self.codes.len() as i32));
        self.codes.push(code);
        self.operators.push(operator);
    }

    /// Declares an output.
    pub(super) fn output(&mut self, tensor: i32) -> &mut Net {
        self.outputs.push(tensor);
        self
    }

    /// Goes on with a further network, without inputs. Constants and operators of all networks
    /// share buffers and codes.
    pub(super) fn next_network(&mut self) {
        let whole = self.network();
        self.networks.push(whole);
        self.tensors.clear();
        self.operators.clear();
        self.inputs.clear();
        self.outputs.clear();
    }

    fn network(&self) -> Record {
        let name = if self.networks.is_empty() { "main" } else { "further" };
        Record::new()
            .with(0, Field::Tables(self.tensors.clone()))
            .with(1, Field::I32s(self.inputs.clone()))
            .with(2, Field::I32s(self.outputs.clone()))
            .with(3, Field::Tables(self.operators.clone()))
            .with(4, Field::Text(name.into()))
    }

    /// The file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut networks = self.networks.clone();
        networks.push(self.network());
        let model = Record::new()
            .with(0, Field::I32(3))
            .with(1, Field::Tables(self.codes.clone()))
            .with(2, Field::Tables(networks))
            .with(4, Field::Tables(self.buffers.clone()));
        encode(IDENTIFIER, &model)
    }

    /// What the references make of the network.
    #[track_caller]
    pub(super) fn run(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        interpret(&read(Bytes::from(self.encode())).unwrap(), inputs).unwrap()
    }

    /// The elements of the only output.
    #[track_caller]
    pub(super) fn values(&self, x: &Tensor, dims: &[usize]) -> Vec<f32> {
        let y = self.run(std::slice::from_ref(x)).remove(0);
        assert_eq!(y.shape().dims(), dims);
        y.to_f32().into_owned()
    }

    #[track_caller]
    pub(super) fn error(&self) -> TfliteError {
        read(Bytes::from(self.encode())).unwrap_err()
    }

    #[track_caller]
    pub(super) fn unsupported(&self) -> Vec<UnsupportedOperator> {
        match self.error() {
            TfliteError::Unsupported(operators) => operators,
            other => panic!("{other}"),
        }
    }
}

pub(super) fn t(dims: &[usize], data: &[f32]) -> Tensor {
    Tensor::from_slice(dims, data).unwrap()
}

/// `first, first + 1, ..`
pub(super) fn ramp(dims: &[usize], first: f32) -> Tensor {
    let data: Vec<f32> = (0..dims.iter().product()).map(|i| i as f32 + first).collect();
    t(dims, &data)
}

/// Options of a convolution: field 0 the padding rule, then steps (columns first).
pub(super) fn window(valid: bool, step: i32) -> Record {
    Record::new()
        .with(0, Field::U8(valid.into()))
        .with(1, Field::I32(step))
        .with(2, Field::I32(step))
}
