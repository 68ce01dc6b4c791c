//! Messages from bytes.

use super::reader::{Field, FixedBytes, Reader, WireError};
use super::*;

impl<'a> Model<'a> {
    /// Decodes a whole file.
    ///
    /// # Errors
    /// [`WireError`] where the bytes are not a well-formed message, or a part lacks what it
    /// cannot do without.
    pub fn decode(file: &'a [u8]) -> Result<Model<'a>, WireError> {
        Model::read(Reader::new(file, &[]))
    }

    /// Decodes a file whose large constants are not in memory.
    ///
    /// # Errors
    /// As [`Model::decode`].
    pub fn decode_skeleton(skeleton: &'a Skeleton) -> Result<Model<'a>, WireError> {
        Model::read(Reader::new(&skeleton.bytes, &skeleton.holes))
    }

    fn read(mut reader: Reader<'a>) -> Result<Model<'a>, WireError> {
        let mut model = Model::default();
        let mut graph = None;
        while let Some(field) = reader.next()? {
            match field.number {
                1 => model.ir_version = field.int()?,
                2 => model.producer = field.str()?,
                7 if graph.is_some() => return Err(reader.error("the file holds two graphs")),
                7 => graph = Some(Graph::decode(field.message()?)?),
                8 => model.opsets.push(Opset::decode(field.message()?)?),
                14 => model.metadata.push(entry(field.message()?)?),
                25 => model.functions.push(function(field.message()?)?),
                _ => {}
            }
        }
        model.graph = graph.ok_or_else(|| reader.error("the file holds no graph"))?;
        Ok(model)
    }
}

impl<'a> Opset<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<Opset<'a>, WireError> {
        let mut opset = Opset::default();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => opset.domain = field.str()?,
                2 => opset.version = field.int()?,
                _ => {}
            }
        }
        Ok(opset)
    }
}

/// `StringStringEntryProto`
fn entry<'a>(mut reader: Reader<'a>) -> Result<(&'a str, &'a str), WireError> {
    let mut entry = ("", "");
    while let Some(field) = reader.next()? {
        match field.number {
            1 => entry.0 = field.str()?,
            2 => entry.1 = field.str()?,
            _ => {}
        }
    }
    Ok(entry)
}

/// Domain and name of a `FunctionProto`.
fn function<'a>(mut reader: Reader<'a>) -> Result<(&'a str, &'a str), WireError> {
    let mut function = ("", "");
    while let Some(field) = reader.next()? {
        match field.number {
            1 => function.1 = field.str()?,
            10 => function.0 = field.str()?,
            _ => {}
        }
    }
    Ok(function)
}

impl<'a> Graph<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<Graph<'a>, WireError> {
        let mut graph = Graph::default();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => graph.nodes.push(Node::decode(field.message()?)?),
                2 => graph.name = field.str()?,
                5 => {
                    let tensor = Tensor::decode(field.message()?)?;
                    if tensor.name.is_empty() {
                        return Err(reader.error("an initializer has no name"));
                    }
                    graph.initializers.push(tensor);
                }
                11 => graph.inputs.push(ValueInfo::decode(field.message()?)?),
                12 => graph.outputs.push(ValueInfo::decode(field.message()?)?),
                13 => graph.value_info.push(ValueInfo::decode(field.message()?)?),
                15 => graph.sparse_initializers += 1,
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<Node<'a>, WireError> {
        let mut node = Node::default();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => node.inputs.push(field.str()?),
                2 => node.outputs.push(field.str()?),
                3 => node.name = field.str()?,
                4 => node.op_type = field.str()?,
                5 => node.attributes.push(Attribute::decode(field.message()?)?),
                7 => node.domain = field.str()?,
                _ => {}
            }
        }
        if node.op_type.is_empty() {
            return Err(reader.error("a node has no operator"));
        }
        Ok(node)
    }
}

/// Numbers of attribute types (`AttributeProto.AttributeType`).
pub(super) mod attribute_type {
    pub(crate) const FLOAT: i64 = 1;
    pub(crate) const INT: i64 = 2;
    pub(crate) const STRING: i64 = 3;
    pub(crate) const TENSOR: i64 = 4;
    pub(crate) const FLOATS: i64 = 6;
    pub(crate) const INTS: i64 = 7;
    pub(crate) const STRINGS: i64 = 8;
}

/// The fields of an attribute, of which its type picks one.
#[derive(Default)]
struct AttributeFields<'a> {
    float: f32,
    int: i64,
    string: &'a [u8],
    tensor: Option<Box<Tensor<'a>>>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    strings: Vec<&'a [u8]>,
    other: Option<&'static str>,
}

impl<'a> Attribute<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<Attribute<'a>, WireError> {
        let (mut name, mut kind, mut last) = ("", 0, 0);
        let mut fields = AttributeFields::default();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => name = field.str()?,
                20 => kind = field.int()?,
                21 if !field.bytes()?.is_empty() => {
                    fields.other = Some("a reference to an attribute of a function");
                }
                number => {
                    if let Some(kind) = fields.add(number, &field)? {
                        last = kind;
                    }
                }
            }
        }
        if name.is_empty() {
            return Err(reader.error("an attribute has no name"));
        }
        // Files of the first format version state no type: the field that is there decides.
        let value = fields.value(if kind == 0 { last } else { kind });
        Ok(Attribute { name, value: value.map_err(|reason| reader.error(reason))? })
    }
}

impl<'a> AttributeFields<'a> {
    /// Takes a field in; the type of attribute that it belongs to.
    fn add(&mut self, number: u32, field: &Field<'a>) -> Result<Option<i64>, WireError> {
        Ok(Some(match number {
            2 => {
                self.float = field.float()?;
                attribute_type::FLOAT
            }
            3 => {
                self.int = field.int()?;
                attribute_type::INT
            }
            4 => {
                self.string = field.bytes()?;
                attribute_type::STRING
            }
            5 => {
                self.tensor = Some(Box::new(Tensor::decode(field.message()?)?));
                attribute_type::TENSOR
            }
            7 => {
                let bytes = Tensor::own(field.fixed(4)?);
                self.floats.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)));
                attribute_type::FLOATS
            }
            8 => {
                field.ints(&mut self.ints)?;
                attribute_type::INTS
            }
            9 => {
                self.strings.push(field.bytes()?);
                attribute_type::STRINGS
            }
            6 | 11 => return Ok(self.other("a graph")),
            10 => return Ok(self.other("a list of tensors")),
            14 | 15 => return Ok(self.other("a type")),
            22 | 23 => return Ok(self.other("a sparse tensor")),
            _ => return Ok(None),
        }))
    }

    fn other(&mut self, what: &'static str) -> Option<i64> {
        self.other = Some(what);
        None
    }

    fn value(self, kind: i64) -> Result<AttributeValue<'a>, &'static str> {
        if let Some(what) = self.other {
            return Ok(AttributeValue::Other(what));
        }
        Ok(match kind {
            attribute_type::FLOAT => AttributeValue::Float(self.float),
            attribute_type::INT => AttributeValue::Int(self.int),
            attribute_type::STRING => AttributeValue::String(self.string),
            attribute_type::TENSOR => {
                AttributeValue::Tensor(self.tensor.ok_or("a tensor attribute has no tensor")?)
            }
            attribute_type::FLOATS => AttributeValue::Floats(self.floats),
            attribute_type::INTS => AttributeValue::Ints(self.ints),
            attribute_type::STRINGS => AttributeValue::Strings(self.strings),
            0 => return Err("an attribute has no value"),
            _ => AttributeValue::Other("a value of a type that is not read"),
        })
    }
}

impl<'a> Tensor<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<Tensor<'a>, WireError> {
        let mut tensor = Tensor::default();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => field.ints(&mut tensor.dims)?,
                2 => tensor.data_type = field.int32()?,
                4 => Tensor::append(&mut tensor.float_data, field.fixed(4)?),
                5 => field.ints(&mut tensor.int32_data)?,
                7 => field.ints(&mut tensor.int64_data)?,
                8 => tensor.name = field.str()?,
                9 => match field.in_file() {
                    Some(range) => tensor.raw_in_file = Some(range),
                    None => tensor.raw_data = Some(field.bytes()?),
                },
                10 => Tensor::append(&mut tensor.double_data, field.fixed(8)?),
                13 => tensor.external_data.push(entry(field.message()?)?),
                14 => tensor.is_external = field.int()? == 1,
                _ => {}
            }
        }
        Ok(tensor)
    }

    /// Adds numbers; the first packed field, which is nearly always the only one, is borrowed.
    fn append(data: &mut Cow<'a, [u8]>, more: FixedBytes<'a>) {
        match more {
            FixedBytes::Packed(bytes) if data.is_empty() => *data = Cow::Borrowed(bytes),
            more => data.to_mut().extend_from_slice(&Tensor::own(more)),
        }
    }

    fn own(bytes: FixedBytes<'a>) -> Cow<'a, [u8]> {
        match bytes {
            FixedBytes::Packed(bytes) => Cow::Borrowed(bytes),
            FixedBytes::One32(bytes) => Cow::Owned(bytes.to_vec()),
            FixedBytes::One64(bytes) => Cow::Owned(bytes.to_vec()),
        }
    }
}

impl<'a> ValueInfo<'a> {
    fn decode(mut reader: Reader<'a>) -> Result<ValueInfo<'a>, WireError> {
        let mut info = ValueInfo::default();
        while let Some(field) = reader.next()? {
            match field.number {
                1 => info.name = field.str()?,
                2 => info.decode_type(field.message()?)?,
                _ => {}
            }
        }
        if info.name.is_empty() {
            return Err(reader.error("an input, output or value has no name"));
        }
        Ok(info)
    }

    /// `TypeProto`, of which only the tensor is read.
    fn decode_type(&mut self, mut reader: Reader<'a>) -> Result<(), WireError> {
        while let Some(field) = reader.next()? {
            if field.number != 1 {
                continue;
            }
            let mut tensor = field.message()?;
            while let Some(field) = tensor.next()? {
                match field.number {
                    1 => self.elem_type = field.int32()?,
                    2 => self.shape = Some(shape(field.message()?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// `TensorShapeProto`
fn shape<'a>(mut reader: Reader<'a>) -> Result<Vec<Dimension<'a>>, WireError> {
    let mut dims = Vec::new();
    while let Some(field) = reader.next()? {
        if field.number != 1 {
            continue;
        }
        let mut dimension = field.message()?;
        let mut dim = Dimension::Unknown;
        while let Some(field) = dimension.next()? {
            match field.number {
                1 => dim = Dimension::Value(field.int()?),
                2 => dim = Dimension::Param(field.str()?),
                _ => {}
            }
        }
        dims.push(dim);
    }
    Ok(dims)
}
