//! From records to bytes.

/// What a field of a [`Record`] holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// A byte or truth value.
    U8(u8),
    /// A number.
    I32(i32),
    /// A number.
    F32(f32),
    /// A vector of numbers.
    I32s(Vec<i32>),
    /// A vector of numbers.
    I64s(Vec<i64>),
    /// A vector of numbers.
    F32s(Vec<f32>),
    /// A vector of 16-bit numbers.
    U16s(Vec<u16>),
    /// A vector of bytes, which starts on a 16-byte line.
    Bytes(Vec<u8>),
    /// A text.
    Text(String),
    /// A table.
    Table(Record),
    /// A vector of tables.
    Tables(Vec<Record>),
}

/// A table to be written: fields by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record(Vec<(u16, Field)>);

impl Record {
    /// A table without fields.
    pub fn new() -> Record {
        Record::default()
    }

    /// The table with one field more.
    #[must_use]
    pub fn with(mut self, number: u16, field: Field) -> Record {
        self.0.push((number, field));
        self
    }

    /// Sets a field, in the place of an earlier one of this number.
    pub fn set(&mut self, number: u16, field: Field) {
        self.0.retain(|(n, _)| *n != number);
        self.0.push((number, field));
    }

    /// A field, if it is there.
    pub fn get_mut(&mut self, number: u16) -> Option<&mut Field> {
        self.0.iter_mut().find(|(n, _)| *n == number).map(|(_, field)| field)
    }
}

/// A file of this identifier whose root is `record`.
pub fn encode(identifier: &[u8; 4], record: &Record) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend(identifier);
    let root = table(&mut out, record);
    point(&mut out, 0, root);
    out
}

/// Writes zeros up to a multiple of `line`, less `before` bytes.
fn align(out: &mut Vec<u8>, line: usize, before: usize) {
    while !(out.len() + before).is_multiple_of(line) {
        out.push(0);
    }
}

/// Lets the offset at a position point to another.
fn point(out: &mut [u8], from: usize, to: usize) {
    out[from..from + 4].copy_from_slice(&((to - from) as u32).to_le_bytes());
}

/// Writes a table and all that it holds; gives its position. Every field has 4 bytes of its own.
fn table(out: &mut Vec<u8>, record: &Record) -> usize {
    let count = record.0.iter().map(|(n, _)| usize::from(*n) + 1).max().unwrap_or(0);
    let list_bytes = 4 + 2 * count;
    align(out, 4, list_bytes);
    let list = out.len();
    let at = list + list_bytes;
    out.extend((list_bytes as u16).to_le_bytes());
    out.extend((4 + 4 * record.0.len() as u16).to_le_bytes());
    out.resize(at, 0);
    out.extend((list_bytes as i32).to_le_bytes());
    for (slot, (number, field)) in record.0.iter().enumerate() {
        let entry = list + 4 + 2 * usize::from(*number);
        out[entry..entry + 2].copy_from_slice(&(4 + 4 * slot as u16).to_le_bytes());
        out.extend(match field {
            Field::U8(x) => [*x, 0, 0, 0],
            Field::I32(x) => x.to_le_bytes(),
            Field::F32(x) => x.to_le_bytes(),
            _ => [0; 4],
        });
    }
    for (slot, (_, field)) in record.0.iter().enumerate() {
        if let Some(position) = object(out, field) {
            point(out, at + 4 + 4 * slot, position);
        }
    }
    at
}

/// Writes what an offset leads to; gives its position.
fn object(out: &mut Vec<u8>, field: &Field) -> Option<usize> {
    let le = |out: &mut Vec<u8>, count: usize, line: usize, bytes: Vec<u8>| {
        align(out, line.max(4), 4);
        let at = out.len();
        out.extend((count as u32).to_le_bytes());
        out.extend(bytes);
        Some(at)
    };
    match field {
        Field::U8(_) | Field::I32(_) | Field::F32(_) => None,
        Field::I32s(v) => le(out, v.len(), 4, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Field::I64s(v) => le(out, v.len(), 8, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Field::F32s(v) => le(out, v.len(), 4, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Field::U16s(v) => le(out, v.len(), 4, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Field::Bytes(v) => le(out, v.len(), 16, v.clone()),
        Field::Text(v) => le(out, v.len(), 4, [v.as_bytes(), &[0]].concat()),
        Field::Table(record) => Some(table(out, record)),
        Field::Tables(records) => {
            let at = le(out, records.len(), 4, vec![0; 4 * records.len()])?;
            for (i, record) in records.iter().enumerate() {
                let position = table(out, record);
                point(out, at + 4 + 4 * i, position);
            }
            Some(at)
        }
    }
}
