//! A pickle machine that executes nothing.
//!
//! Python's pickle is a program for a stack machine whose `REDUCE` calls any function the file
//! names. This machine knows the opcodes that tensor dictionaries are made of, and a fixed list of
//! names ([`Global`]); every "call" is an entry of [`Machine::reduce`] that builds plain data.
//!
//! Memory stays linear in the length of the pickle: an opcode makes at most one object, and what
//! it gathers into the object it takes off the stack, or charges to a budget.

use super::TorchError;
use depthwise_tensor::{DType, MAX_RANK};
use std::collections::HashMap;

/// The names that a checkpoint may mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(DType),
}

const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch", "Size", Global::Size),
    ("torch", "DoubleStorage", Global::Storage(DType::F64)),
    ("torch", "FloatStorage", Global::Storage(DType::F32)),
    ("torch", "HalfStorage", Global::Storage(DType::F16)),
    ("torch", "BFloat16Storage", Global::Storage(DType::Bf16)),
    ("torch", "LongStorage", Global::Storage(DType::I64)),
    ("torch", "IntStorage", Global::Storage(DType::I32)),
    ("torch", "ShortStorage", Global::Storage(DType::I16)),
    ("torch", "CharStorage", Global::Storage(DType::I8)),
    ("torch", "ByteStorage", Global::Storage(DType::U8)),
    ("torch", "BoolStorage", Global::Storage(DType::Bool)),
];

/// A value on the stack. What has parts lives in the [`Heap`] and is shared by index, as Python
/// shares it by reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits: its little-endian two's complement.
    Long(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
    Global(Global),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// A run of elements in the file, by its key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: DType,
    /// Elements of the whole run.
    pub(super) len: usize,
    /// First element and number of elements, where only a part of the run is meant.
    pub(super) part: Option<(usize, usize)>,
}

impl std::fmt::Display for Storage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} elements of {}", self.len, self.dtype)
    }
}

/// A strided window into a storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// Index into [`Heap::storages`].
    pub(super) storage: usize,
    /// Elements before the first one.
    pub(super) offset: usize,
    pub(super) sizes: Vec<usize>,
    /// Elements from one index to the next, per dimension.
    pub(super) strides: Vec<usize>,
}

/// Everything that has parts.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub(super) tuples: Vec<Vec<Value<'a>>>,
    pub(super) lists: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) views: Vec<View>,
}

/// What one pickle left behind.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) root: Value<'a>,
    pub(super) heap: Heap<'a>,
    /// Bytes up to and with the `STOP`.
    pub(super) len: usize,
}

/// Runs the pickle at the start of `input`.
pub(super) fn load(input: &[u8]) -> Result<Pickle<'_>, TorchError> {
    let mut machine = Machine {
        input,
        at: 0,
        opcode_at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
        copies_left: input.len(),
    };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { root, heap: machine.heap, len: machine.at })
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    /// Where the current opcode stands, for errors.
    opcode_at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Heap<'a>,
    /// Items that may still be copied out of shared lists.
    copies_left: usize,
}

impl<'a> Machine<'a> {
    /// Runs one opcode; `false` after the last.
    fn step(&mut self) -> Result<bool, TorchError> {
        self.opcode_at = self.at;
        let [opcode] = self.array()?;
        match opcode {
            0x80 => drop(self.array::<1>()?), // PROTO
            0x95 => drop(self.array::<8>()?), // FRAME
            b'.' => return Ok(false),         // STOP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),      // POP
            b'1' => drop(self.pop_mark()?), // POP_MARK
            b'2' => self.push(self.top()?), // DUP
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),  // NEWTRUE
            0x89 => self.push(Value::Bool(false)), // NEWFALSE
            b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(opcode)?,
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.string(opcode)?,
            b'B' | b'C' => {
                let len = if opcode == b'B' { self.u32()? as usize } else { self.u8()? as usize };
                let bytes = self.take(len)?;
                self.push(Value::Bytes(bytes));
            }
            b')' | b't' | 0x85 | 0x86 | 0x87 => self.tuple(opcode)?,
            b']' | b'a' | b'e' => self.list(opcode)?,
            b'}' | b's' | b'u' => self.dict(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.persistent_id()?,
            b'q' | b'r' | 0x94 => self.remember(opcode)?,
            b'h' | b'j' => self.recall(opcode)?,
            _ => return Err(TorchError::Opcode { opcode, offset: self.opcode_at }),
        }
        Ok(true)
    }

    fn number(&mut self, opcode: u8) -> Result<(), TorchError> {
        let value = match opcode {
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.u8()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            _ => {
                let len = self.u8()?;
                let digits = self.take(len.into())?;
                // Sign extension: a copy of the top bit in the bytes that are not stored.
                let negative = digits.last().is_some_and(|&b| b >= 0x80);
                let mut whole = [if negative { 0xff } else { 0 }; 8];
                match whole.get_mut(..digits.len()) {
                    Some(low) => {
                        low.copy_from_slice(digits);
                        Value::Int(i64::from_le_bytes(whole))
                    }
                    None => Value::Long(digits),
                }
            }
        };
        self.push(value);
        Ok(())
    }

    fn string(&mut self, opcode: u8) -> Result<(), TorchError> {
        let len = match opcode {
            b'X' | b'T' => self.u32()? as usize,
            0x8d => usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX),
            _ => self.u8()?.into(),
        };
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|_| self.malformed("a string is not UTF-8"))?;
        self.push(Value::Str(text));
        Ok(())
    }

    fn tuple(&mut self, opcode: u8) -> Result<(), TorchError> {
        let items = match opcode {
            b')' => Vec::new(),
            b't' => self.pop_mark()?,
            _ => {
                let len = usize::from(opcode - 0x84);
                let from = self.stack.len().checked_sub(len);
                let from = from.filter(|&from| from >= self.floor());
                let from = from.ok_or_else(|| self.malformed("the stack is empty"))?;
                self.stack.split_off(from)
            }
        };
        self.heap.tuples.push(items);
        self.push(Value::Tuple(self.heap.tuples.len() - 1));
        Ok(())
    }

    fn list(&mut self, opcode: u8) -> Result<(), TorchError> {
        if opcode == b']' {
            self.heap.lists.push(Vec::new());
            self.push(Value::List(self.heap.lists.len() - 1));
            return Ok(());
        }
        let items = if opcode == b'a' { vec![self.pop()?] } else { self.pop_mark()? };
        match self.top()? {
            Value::List(id) => self.heap.lists[id].extend(items),
            _ => return Err(self.malformed("items are added to what is not a list")),
        }
        Ok(())
    }

    fn dict(&mut self, opcode: u8) -> Result<(), TorchError> {
        if opcode == b'}' {
            return self.new_dict(Vec::new());
        }
        let items = if opcode == b's' {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_mark()?
        };
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(self.malformed("a key has no value"));
        };
        match self.top()? {
            Value::Dict(id) => self.heap.dicts[id].extend(pairs.iter().map(|&[k, v]| (k, v))),
            _ => return Err(self.malformed("keys are set on what is not a dictionary")),
        }
        Ok(())
    }

    fn new_dict(&mut self, pairs: Vec<(Value<'a>, Value<'a>)>) -> Result<(), TorchError> {
        self.heap.dicts.push(pairs);
        self.push(Value::Dict(self.heap.dicts.len() - 1));
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<(), TorchError> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let name = self.pop()?;
            match (self.pop()?, name) {
                (Value::Str(module), Value::Str(name)) => (module, name),
                _ => return Err(self.malformed("a name is not a string")),
            }
        };
        let found = GLOBALS.iter().find(|g| (g.0, g.1) == (module, name));
        let Some(&(.., global)) = found else {
            let (module, name) = (clip(module), clip(name));
            return Err(TorchError::Global { module, name, offset: self.opcode_at });
        };
        self.push(Value::Global(global));
        Ok(())
    }

    /// Stands for a call, `callable(*args)`.
    fn reduce(&mut self) -> Result<(), TorchError> {
        let Value::Tuple(args) = self.pop()? else {
            return Err(self.malformed("arguments are not a tuple"));
        };
        let Value::Global(callable) = self.pop()? else {
            return Err(self.malformed("what is called is not a name"));
        };
        // More than any entry below takes, so that a longer tuple is not mistaken for a shorter.
        let args: Vec<_> = self.heap.tuples[args].iter().copied().take(8).collect();
        match (callable, &args[..]) {
            (Global::OrderedDict, []) => self.new_dict(Vec::new()),
            (Global::OrderedDict, &[Value::List(items)]) => {
                let left = self.copies_left.checked_sub(self.heap.lists[items].len());
                self.copies_left = left.ok_or_else(|| self.malformed("a list is copied often"))?;
                let pairs = self.heap.lists[items].iter().map(|&item| self.pair(item));
                let pairs = pairs.collect::<Result<_, _>>()?;
                self.new_dict(pairs)
            }
            (
                Global::RebuildTensor,
                &[Value::Storage(storage), Value::Int(offset), sizes, strides, ..],
            ) => {
                let offset = self.extent(offset)?;
                let (sizes, strides) = (self.extents(sizes)?, self.extents(strides)?);
                if sizes.len() != strides.len() {
                    return Err(self.malformed("a tensor has not one stride per dimension"));
                }
                self.heap.views.push(View { storage, offset, sizes, strides });
                self.push(Value::Tensor(self.heap.views.len() - 1));
                Ok(())
            }
            (Global::RebuildParameter, &[tensor @ Value::Tensor(_), ..])
            | (Global::Size, &[tensor @ Value::Tuple(_)]) => {
                self.push(tensor);
                Ok(())
            }
            _ => Err(self.malformed(&format!("arguments that {callable:?} does not take"))),
        }
    }

    fn pair(&self, item: Value<'a>) -> Result<(Value<'a>, Value<'a>), TorchError> {
        let parts = match item {
            Value::Tuple(id) => &self.heap.tuples[id],
            Value::List(id) => &self.heap.lists[id],
            _ => return Err(self.malformed("an item of a dictionary is not a pair")),
        };
        match parts[..] {
            [key, value] => Ok((key, value)),
            _ => Err(self.malformed("an item of a dictionary is not a pair")),
        }
    }

    fn extents(&self, value: Value<'a>) -> Result<Vec<usize>, TorchError> {
        let Value::Tuple(id) = value else {
            return Err(self.malformed("extents are not a tuple"));
        };
        let each = |item: &Value<'_>| match *item {
            Value::Int(n) => self.extent(n),
            _ => Err(self.malformed("an extent is not an integer")),
        };
        let items = &self.heap.tuples[id];
        if items.len() > MAX_RANK {
            let rank = items.len();
            return Err(self.malformed(&format!("{rank} dimensions; at most {MAX_RANK}")));
        }
        items.iter().map(each).collect()
    }

    fn extent(&self, n: i64) -> Result<usize, TorchError> {
        usize::try_from(n).map_err(|_| self.malformed("an extent is negative"))
    }

    /// Attributes set on an object. Dictionaries carry notes about module versions; nothing here
    /// needs them.
    fn build(&mut self) -> Result<(), TorchError> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err(self.malformed("attributes are set on what is not a dictionary")),
        }
    }

    /// `("storage", type, key, device, length[, (view key, first element, length) or None])`.
    fn persistent_id(&mut self) -> Result<(), TorchError> {
        let Value::Tuple(id) = self.pop()? else {
            return Err(self.malformed("a storage is not described by a tuple"));
        };
        let (parts, part) = match self.heap.tuples[id][..] {
            [a, b, c, d, e] => ([a, b, c, d, e], Value::None),
            [a, b, c, d, e, part] => ([a, b, c, d, e], part),
            _ => return Err(self.malformed("a storage is not described by 5 or 6 values")),
        };
        let [
            Value::Str("storage"),
            Value::Global(Global::Storage(dtype)),
            Value::Str(key),
            Value::Str(_),
            Value::Int(len),
        ] = parts
        else {
            return Err(self.malformed("a storage has a description of another kind"));
        };
        let part = match part {
            Value::None => None,
            Value::Tuple(id) => match self.heap.tuples[id][..] {
                [_, Value::Int(first), Value::Int(len)] => {
                    Some((self.extent(first)?, self.extent(len)?))
                }
                _ => return Err(self.malformed("a part of a storage is not described by 3 values")),
            },
            _ => return Err(self.malformed("a part of a storage is not described by a tuple")),
        };
        let len = self.extent(len)?;
        self.heap.storages.push(Storage { key, dtype, len, part });
        self.push(Value::Storage(self.heap.storages.len() - 1));
        Ok(())
    }

    fn remember(&mut self, opcode: u8) -> Result<(), TorchError> {
        let index = match opcode {
            b'q' => self.u8()?.into(),
            b'r' => self.u32()?,
            _ => self.memo.len() as u32,
        };
        self.memo.insert(index, self.top()?);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Result<(), TorchError> {
        let index = if opcode == b'h' { self.u8()?.into() } else { self.u32()? };
        let value = self.memo.get(&index).copied();
        self.push(value.ok_or_else(|| self.malformed("a reference to nothing"))?);
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    /// Height of the stack at the last mark; what lies below is out of reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>, TorchError> {
        let above = self.stack.get(self.floor()..).and_then(<[_]>::last);
        above.copied().ok_or_else(|| self.malformed("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Value<'a>, TorchError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, TorchError> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed("there is no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], TorchError> {
        let rest = &self.input[self.at..];
        let Some(bytes) = rest.get(..len) else {
            return Err(TorchError::Truncated { what: "a pickle", offset: self.at });
        };
        self.at += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TorchError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gives as many bytes as asked"))
    }

    fn u8(&mut self) -> Result<u8, TorchError> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, TorchError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn line(&mut self) -> Result<&'a str, TorchError> {
        let rest = &self.input[self.at..];
        let Some(len) = rest.iter().position(|&b| b == b'\n') else {
            return Err(TorchError::Truncated { what: "a pickle", offset: self.at });
        };
        let line = self.take(len)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| self.malformed("a name is not UTF-8"))
    }

    fn malformed(&self, reason: &str) -> TorchError {
        TorchError::Malformed { offset: self.opcode_at, reason: reason.to_owned() }
    }
}

/// A name from the file, short enough for a message.
fn clip(name: &str) -> String {
    name.chars().take(80).collect()
}
