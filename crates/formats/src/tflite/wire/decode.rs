//! From tables to records.

use super::reader::{Table, WireError, error};
use super::{
    IDENTIFIER, Indices, Level, Model, Operator, OperatorCode, Quantization, Sparsity, Subgraph,
    Tensor,
};
use std::borrow::Cow;

/// Bytes that a record takes at least: its offset in a vector, and the start of its table.
const RECORD_BYTES: usize = 8;

/// How often the texts of a file may be as long as the file, since records may share them.
const TEXTS: usize = 4;

/// Where old files keep the number of the operator, a byte; it says that the number is elsewhere.
const IN_WIDE_FIELD: i32 = 127;

/// What may still be decoded.
struct Budget {
    records: usize,
    text_bytes: usize,
}

impl Budget {
    fn records<'a, T>(
        &mut self,
        table: &Table<'a>,
        field: usize,
        decode: impl Fn(&mut Budget, Table<'a>) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let tables = table.tables(field)?;
        match self.records.checked_sub(tables.len()) {
            Some(left) => self.records = left,
            None => return error(0, "more records than the file has room for"),
        }
        tables.map(|table| decode(self, table?)).collect()
    }

    fn text<'a>(&mut self, table: &Table<'a>, field: usize) -> Result<Cow<'a, str>, WireError> {
        let text = table.text(field)?;
        match self.text_bytes.checked_sub(text.len()) {
            Some(left) => self.text_bytes = left,
            None => return error(0, "more text than the file has room for"),
        }
        Ok(text)
    }
}

impl<'a> Model<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`WireError`] at the first thing that is not as it should be.
    pub fn decode(file: &'a [u8]) -> Result<Model<'a>, WireError> {
        let root = Table::root(file, IDENTIFIER)?;
        let mut budget = Budget {
            records: file.len() / RECORD_BYTES,
            text_bytes: file.len().saturating_mul(TEXTS),
        };
        Ok(Model {
            version: root.number(0, 0)?,
            operator_codes: budget.records(&root, 1, operator_code)?,
            subgraphs: budget.records(&root, 2, subgraph)?,
            description: budget.text(&root, 3)?,
            buffers: budget.records(&root, 4, |_, table| buffer(file, table))?,
            metadata: budget
                .records(&root, 6, |b, table| Ok((b.text(&table, 0)?, table.number(1, 0)?)))?,
        })
    }
}

fn operator_code<'a>(b: &mut Budget, t: Table<'a>) -> Result<OperatorCode<'a>, WireError> {
    let narrow = i32::from(t.number::<i8>(0, 0)?);
    let wide = t.number::<i32>(3, 0)?;
    // Writers fill in either or both.
    let builtin = if narrow == IN_WIDE_FIELD { wide } else { narrow.max(wide) };
    Ok(OperatorCode { builtin, custom: b.text(&t, 1)?, version: t.number(2, 1)? })
}

fn subgraph<'a>(b: &mut Budget, t: Table<'a>) -> Result<Subgraph<'a>, WireError> {
    Ok(Subgraph {
        tensors: b.records(&t, 0, tensor)?,
        inputs: t.numbers(1)?,
        outputs: t.numbers(2)?,
        operators: b.records(&t, 3, |_, table| operator(table))?,
        name: b.text(&t, 4)?,
    })
}

fn tensor<'a>(b: &mut Budget, t: Table<'a>) -> Result<Tensor<'a>, WireError> {
    let quantization = match t.table(4)? {
        Some(q) => Some(Quantization {
            scale: q.numbers(2)?,
            zero_point: q.numbers(3)?,
            axis: q.number(6, 0)?,
        }),
        None => None,
    };
    Ok(Tensor {
        shape: t.numbers(0)?,
        dtype: t.number(1, 0)?,
        buffer: t.number(2, 0)?,
        name: b.text(&t, 3)?,
        quantization,
        is_variable: t.flag(5)?,
        sparsity: t.table(6)?.map(|s| sparsity(b, s)).transpose()?,
        signature: t.numbers(7)?,
    })
}

fn sparsity<'a>(b: &mut Budget, t: Table<'a>) -> Result<Sparsity<'a>, WireError> {
    Ok(Sparsity {
        traversal_order: t.numbers(0)?,
        block_map: t.numbers(1)?,
        levels: b.records(&t, 2, |_, table| level(table))?,
    })
}

fn level<'a>(t: Table<'a>) -> Result<Level<'a>, WireError> {
    match t.number::<i8>(0, 0)? {
        0 => Ok(Level::Dense(t.number(1, 0)?)),
        1 => Ok(Level::Sparse { segments: indices(&t, 2)?, indices: indices(&t, 4)? }),
        _ => error(0, "a sparse tensor has a level of unknown kind"),
    }
}

/// The indices whose kind is field `kind`, and whose table is the next.
fn indices<'a>(t: &Table<'a>, kind: usize) -> Result<Indices<'a>, WireError> {
    let Some(table) = t.table(kind + 1)? else {
        return error(0, "a sparse tensor lacks its indices");
    };
    match t.number::<u8>(kind, 0)? {
        1 => Ok(Indices::I32(table.numbers(0)?)),
        2 => Ok(Indices::U16(table.numbers(0)?)),
        3 => Ok(Indices::U8(table.numbers(0)?)),
        _ => error(0, "a sparse tensor has indices of unknown kind"),
    }
}

fn operator<'a>(t: Table<'a>) -> Result<Operator<'a>, WireError> {
    Ok(Operator {
        code: t.number(0, 0)?,
        inputs: t.numbers(1)?,
        outputs: t.numbers(2)?,
        options_type: t.number(3, 0)?,
        options: t.table(4)?,
        custom_options: t.bytes(5)?,
    })
}

/// Elements inside the FlatBuffer or, of models beyond 2 GB, behind it.
fn buffer<'a>(file: &'a [u8], t: Table<'a>) -> Result<&'a [u8], WireError> {
    let (offset, size) = (t.number::<u64>(1, 0)?, t.number::<u64>(2, 0)?);
    if offset <= 1 {
        return t.bytes(0);
    }
    let range = || {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        file.get(start..end)
    };
    match range() {
        Some(bytes) => Ok(bytes),
        None => error(0, "a buffer reaches past the end of the file"),
    }
}
