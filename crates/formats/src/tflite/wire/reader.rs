//! FlatBuffers: tables, vectors and texts at offsets, each read only where it lies in the file.

use std::borrow::Cow;
use std::marker::PhantomData;

/// Bytes that are not the FlatBuffer they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {reason}")]
pub struct WireError {
    /// Position in the file.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

pub(super) fn error<T>(offset: usize, reason: &'static str) -> Result<T, WireError> {
    Err(WireError { offset, reason })
}

/// A number as the file stores it, little-endian.
pub trait Number: Copy {
    /// Bytes of one.
    const BYTES: usize;

    /// The number of exactly [`Number::BYTES`] bytes.
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($ty:ty),*) => {
        $(impl Number for $ty {
            const BYTES: usize = size_of::<$ty>();

            fn of(bytes: &[u8]) -> $ty {
                <$ty>::from_le_bytes(bytes.try_into().expect("as many bytes as the type has"))
            }
        })*
    };
}

numbers!(u8, i8, u16, i32, u32, i64, u64, f32);

/// A vector of numbers, in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers<'a, T> {
    bytes: &'a [u8],
    of: PhantomData<T>,
}

impl<T> Default for Numbers<'_, T> {
    fn default() -> Self {
        Numbers { bytes: &[], of: PhantomData }
    }
}

impl<'a, T: Number> Numbers<'a, T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / T::BYTES
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number at a position.
    pub fn get(&self, i: usize) -> Option<T> {
        let start = i.checked_mul(T::BYTES)?;
        self.bytes.get(start..start.checked_add(T::BYTES)?).map(T::of)
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + use<'a, T> {
        self.bytes.chunks_exact(T::BYTES).map(T::of)
    }
}

/// A table: fields by number, any of which may be absent.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    file: &'a [u8],
    at: usize,
    /// The offsets of the fields, `u16` each, from `at`.
    offsets: &'a [u8],
}

impl PartialEq for Table<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && std::ptr::eq(self.file, other.file)
    }
}

impl<'a> Table<'a> {
    /// The root of a file with this identifier.
    ///
    /// # Errors
    /// [`WireError`] where the identifier is another or the table lies outside the file.
    pub fn root(file: &'a [u8], identifier: &[u8; 4]) -> Result<Table<'a>, WireError> {
        if file.get(4..8) != Some(identifier) {
            return error(4, "the file does not bear the mark of its format");
        }
        Table::behind(file, 0)
    }

    /// The table to which the offset at a position points.
    fn behind(file: &'a [u8], pointer: usize) -> Result<Table<'a>, WireError> {
        let at = follow(file, pointer)?;
        let back: i32 = number(file, at)?;
        let list = usize::try_from(at as i64 - i64::from(back));
        let Ok(list) = list else { return error(at, "a table's list of fields is outside") };
        let bytes = usize::from(number::<u16>(file, list)?);
        match file.get(list..list.saturating_add(bytes)) {
            Some(offsets) if bytes >= 4 => Ok(Table { file, at, offsets: &offsets[4..] }),
            _ => error(list, "a table's list of fields is cut short"),
        }
    }

    /// Where a field lies, `None` where it is absent.
    fn field(&self, field: usize) -> Option<usize> {
        let offset = self.offsets.chunks_exact(2).nth(field).map(u16::of)?;
        (offset != 0).then(|| self.at + usize::from(offset))
    }

    /// A number, or its default.
    ///
    /// # Errors
    /// [`WireError`] where the number lies outside the file.
    pub fn number<T: Number>(&self, field: usize, default: T) -> Result<T, WireError> {
        self.field(field).map_or(Ok(default), |at| number(self.file, at))
    }

    /// A truth value, false where it is absent.
    ///
    /// # Errors
    /// As [`Table::number`].
    pub fn flag(&self, field: usize) -> Result<bool, WireError> {
        Ok(self.number::<u8>(field, 0)? != 0)
    }

    /// A table, if it is there.
    ///
    /// # Errors
    /// [`WireError`] where it lies outside the file.
    pub fn table(&self, field: usize) -> Result<Option<Table<'a>>, WireError> {
        self.field(field).map(|at| Table::behind(self.file, at)).transpose()
    }

    /// A vector of numbers, empty where it is absent.
    ///
    /// # Errors
    /// [`WireError`] where it lies outside the file.
    pub fn numbers<T: Number>(&self, field: usize) -> Result<Numbers<'a, T>, WireError> {
        let Some(at) = self.field(field) else { return Ok(Numbers::default()) };
        Ok(Numbers { bytes: vector(self.file, at, T::BYTES)?.1, of: PhantomData })
    }

    /// A vector of bytes, empty where it is absent.
    ///
    /// # Errors
    /// As [`Table::numbers`].
    pub fn bytes(&self, field: usize) -> Result<&'a [u8], WireError> {
        Ok(self.numbers::<u8>(field)?.bytes)
    }

    /// A text, empty where it is absent. What is not UTF-8 is replaced.
    ///
    /// # Errors
    /// As [`Table::numbers`].
    pub fn text(&self, field: usize) -> Result<Cow<'a, str>, WireError> {
        Ok(String::from_utf8_lossy(self.bytes(field)?))
    }

    /// The tables of a vector, each where its offset points.
    ///
    /// # Errors
    /// [`WireError`] where the vector lies outside the file; then for each table as
    /// [`Table::table`].
    pub fn tables(
        &self,
        field: usize,
    ) -> Result<impl ExactSizeIterator<Item = Result<Table<'a>, WireError>> + use<'a>, WireError>
    {
        let (start, bytes) = match self.field(field) {
            Some(at) => vector(self.file, at, 4)?,
            None => (0, &[][..]),
        };
        let file = self.file;
        Ok((0..bytes.len() / 4).map(move |i| Table::behind(file, start + 4 * i)))
    }
}

fn number<T: Number>(file: &[u8], at: usize) -> Result<T, WireError> {
    match file.get(at..at.saturating_add(T::BYTES)) {
        Some(bytes) => Ok(T::of(bytes)),
        None => error(at, "a number lies outside the file"),
    }
}

/// Where the offset at a position points.
fn follow(file: &[u8], pointer: usize) -> Result<usize, WireError> {
    let offset = number::<u32>(file, pointer)? as usize;
    match pointer.checked_add(offset) {
        Some(at) if offset > 0 && at < file.len() => Ok(at),
        _ => error(pointer, "an offset points outside the file"),
    }
}

/// The elements of the vector to which the offset at a position points, and where they start.
fn vector(file: &[u8], pointer: usize, element: usize) -> Result<(usize, &[u8]), WireError> {
    let at = follow(file, pointer)?;
    let len = (number::<u32>(file, at)? as usize).saturating_mul(element);
    let start = at + 4;
    match file.get(start..start.saturating_add(len)) {
        Some(bytes) => Ok((start, bytes)),
        None => error(at, "a vector reaches past the end of the file"),
    }
}
