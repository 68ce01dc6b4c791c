//! Messages to bytes.

use super::decode::attribute_type;
use super::*;

impl Model<'_> {
    /// The bytes of a file with this content. Functions and sparse constants, of which only names
    /// or numbers are known, are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.int(1, self.ir_version);
        out.text(2, self.producer);
        out.message(7, |out| self.graph.encode(out));
        for opset in &self.opsets {
            out.message(8, |out| {
                out.text(1, opset.domain);
                out.int(2, opset.version);
            });
        }
        for entry in &self.metadata {
            out.entry(14, entry);
        }
        out.0
    }
}

impl Graph<'_> {
    fn encode(&self, out: &mut Writer) {
        for node in &self.nodes {
            out.message(1, |out| node.encode(out));
        }
        out.text(2, self.name);
        for tensor in &self.initializers {
            out.message(5, |out| tensor.encode(out));
        }
        let lists = [(11, &self.inputs), (12, &self.outputs), (13, &self.value_info)];
        for (number, list) in lists {
            for info in list {
                out.message(number, |out| info.encode(out));
            }
        }
    }
}

impl Node<'_> {
    fn encode(&self, out: &mut Writer) {
        // An empty name stands for an operand that is left out, so it must be written.
        self.inputs.iter().for_each(|name| out.bytes(1, name.as_bytes()));
        self.outputs.iter().for_each(|name| out.bytes(2, name.as_bytes()));
        out.text(3, self.name);
        out.text(4, self.op_type);
        for attribute in &self.attributes {
            out.message(5, |out| attribute.encode(out));
        }
        out.text(7, self.domain);
    }
}

impl Attribute<'_> {
    fn encode(&self, out: &mut Writer) {
        out.text(1, self.name);
        let kind = match &self.value {
            AttributeValue::Float(x) => {
                out.fixed32(2, *x);
                attribute_type::FLOAT
            }
            AttributeValue::Int(n) => {
                out.varint_field(3, n.cast_unsigned());
                attribute_type::INT
            }
            AttributeValue::String(text) => {
                out.bytes(4, text);
                attribute_type::STRING
            }
            AttributeValue::Tensor(tensor) => {
                out.message(5, |out| tensor.encode(out));
                attribute_type::TENSOR
            }
            AttributeValue::Floats(list) => {
                list.iter().for_each(|&x| out.fixed32(7, x));
                attribute_type::FLOATS
            }
            AttributeValue::Ints(list) => {
                list.iter().for_each(|n| out.varint_field(8, n.cast_unsigned()));
                attribute_type::INTS
            }
            AttributeValue::Strings(list) => {
                list.iter().for_each(|text| out.bytes(9, text));
                attribute_type::STRINGS
            }
            AttributeValue::Other(_) => return,
        };
        out.int(20, kind);
    }
}

impl Tensor<'_> {
    fn encode(&self, out: &mut Writer) {
        out.ints(1, self.dims.iter().copied());
        out.int(2, self.data_type.into());
        out.packed(4, &self.float_data);
        out.ints(5, self.int32_data.iter().map(|&n| n.into()));
        out.ints(7, self.int64_data.iter().copied());
        out.text(8, self.name);
        if let Some(raw) = self.raw_data {
            out.bytes(9, raw);
        }
        out.packed(10, &self.double_data);
        for entry in &self.external_data {
            out.entry(13, entry);
        }
        out.int(14, self.is_external.into());
    }
}

impl ValueInfo<'_> {
    fn encode(&self, out: &mut Writer) {
        out.text(1, self.name);
        if self.elem_type == 0 {
            return;
        }
        let dims = |out: &mut Writer, dims: &[Dimension<'_>]| {
            for dim in dims {
                out.message(1, |out| match dim {
                    Dimension::Value(n) => out.varint_field(1, n.cast_unsigned()),
                    Dimension::Param(name) => out.bytes(2, name.as_bytes()),
                    Dimension::Unknown => {}
                });
            }
        };
        out.message(2, |out| {
            out.message(1, |out| {
                out.int(1, self.elem_type.into());
                if let Some(shape) = &self.shape {
                    out.message(2, |out| dims(out, shape));
                }
            });
        });
    }
}

/// Fields that hold their default are left out, as protobuf does, unless the name of the method
/// says `field`, `bytes` or `message`.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, number: u32, wire_type: u32) {
        self.varint((number << 3 | wire_type).into());
    }

    fn varint_field(&mut self, number: u32, value: u64) {
        self.key(number, 0);
        self.varint(value);
    }

    fn int(&mut self, number: u32, value: i64) {
        if value != 0 {
            self.varint_field(number, value.cast_unsigned());
        }
    }

    fn fixed32(&mut self, number: u32, value: f32) {
        self.key(number, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.key(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, number: u32, text: &str) {
        self.packed(number, text.as_bytes());
    }

    fn packed(&mut self, number: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes(number, bytes);
        }
    }

    fn ints(&mut self, number: u32, list: impl Iterator<Item = i64>) {
        let mut packed = Writer::default();
        list.for_each(|n| packed.varint(n.cast_unsigned()));
        self.packed(number, &packed.0);
    }

    fn entry(&mut self, number: u32, (key, value): &(&str, &str)) {
        self.message(number, |out| {
            out.text(1, key);
            out.text(2, value);
        });
    }

    fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        write(&mut inner);
        self.bytes(number, &inner.0);
    }
}
