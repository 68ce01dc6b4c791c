//! Protobuf fields, one after the other.

use super::skeleton::{Hole, Holes};

/// Bytes that are not a protobuf message of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {reason}")]
pub struct WireError {
    /// Position in the file.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// A field that is longer than the message around it.
pub(super) const CUT_SHORT: &str = "a field is cut short";

/// The value of a field, before its meaning is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Number of the field in its message.
    pub(super) number: u32,
    raw: Raw<'a>,
    /// Position in the skeleton.
    offset: usize,
    holes: Holes<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Raw<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    /// Bytes that are not in memory.
    Hole(&'a Hole),
    Fixed32([u8; 4]),
}

/// Reads the fields of one message.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Position of `bytes` in the skeleton.
    base: usize,
    holes: Holes<'a>,
}

impl<'a> Reader<'a> {
    /// Reads a file that lacks these bytes.
    pub(super) fn new(bytes: &'a [u8], holes: &'a [Hole]) -> Reader<'a> {
        Reader { bytes, at: 0, base: 0, holes: Holes(holes) }
    }

    /// An error at the present position.
    pub(super) fn error(&self, reason: &'static str) -> WireError {
        WireError { offset: self.holes.in_file_behind(self.base + self.at), reason }
    }

    /// The next field, `None` at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let start = self.clone();
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|&n| n > 0);
        let number = number.ok_or_else(|| start.error("a field has no valid number"))?;
        let mut offset = self.base + self.at;
        let raw = match key & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(self.array()?),
            2 => {
                let len = self.varint()?;
                offset = self.base + self.at;
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                match self.holes.span(offset, len)? {
                    Ok(len) => Raw::Bytes(self.take(len)?),
                    Err(hole) => Raw::Hole(hole),
                }
            }
            5 => Raw::Fixed32(self.array()?),
            _ => return Err(self.error("a field is of no known wire type")),
        };
        Ok(Some(Field { number, raw, offset, holes: self.holes }))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or_else(|| self.error(CUT_SHORT))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gives as many bytes as asked"))
    }

    /// Base 128, lowest digits first, at most 64 bits.
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("a number is longer than 64 bits"))
    }
}

impl<'a> Field<'a> {
    fn error(&self, reason: &'static str) -> WireError {
        WireError { offset: self.holes.in_file(self.offset), reason }
    }

    /// Bytes that were left in the file: where they start there, and how many they are.
    pub(super) fn in_file(&self) -> Option<(u64, usize)> {
        match self.raw {
            Raw::Hole(hole) => Some((hole.offset, hole.len)),
            _ => None,
        }
    }

    pub(super) fn int(&self) -> Result<i64, WireError> {
        match self.raw {
            Raw::Varint(value) => Ok(value.cast_signed()),
            _ => Err(self.error("an integer is expected")),
        }
    }

    pub(super) fn int32(&self) -> Result<i32, WireError> {
        // Protobuf extends the sign of a negative int32 to 64 bits.
        i32::try_from(self.int()?).map_err(|_| self.error("an integer is beyond 32 bits"))
    }

    pub(super) fn float(&self) -> Result<f32, WireError> {
        match self.raw {
            Raw::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(self.error("a 32-bit float is expected")),
        }
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.raw {
            Raw::Bytes(bytes) => Ok(bytes),
            _ => Err(self.error("a string or message is expected")),
        }
    }

    pub(super) fn str(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.error("a string is not UTF-8"))
    }

    pub(super) fn message(&self) -> Result<Reader<'a>, WireError> {
        Ok(Reader { bytes: self.bytes()?, at: 0, base: self.offset, holes: self.holes })
    }

    /// Adds integers: one, or many in a packed field.
    pub(super) fn ints<T: TryFrom<i64>>(&self, list: &mut Vec<T>) -> Result<(), WireError> {
        let mut add = |value: i64| {
            let value = T::try_from(value);
            list.push(value.map_err(|_| self.error("an integer is out of range"))?);
            Ok(())
        };
        match self.raw {
            Raw::Varint(value) => add(value.cast_signed()),
            Raw::Bytes(bytes) => {
                let mut reader = Reader { bytes, at: 0, base: self.offset, holes: self.holes };
                while reader.at < bytes.len() {
                    add(reader.varint()?.cast_signed())?;
                }
                Ok(())
            }
            _ => Err(self.error("integers are expected")),
        }
    }

    /// Little-endian numbers of `width` bytes: one, or many in a packed field.
    pub(super) fn fixed(&self, width: usize) -> Result<FixedBytes<'a>, WireError> {
        match self.raw {
            Raw::Bytes(bytes) if bytes.len().is_multiple_of(width) => Ok(FixedBytes::Packed(bytes)),
            Raw::Fixed32(bytes) if width == 4 => Ok(FixedBytes::One32(bytes)),
            Raw::Fixed64(bytes) if width == 8 => Ok(FixedBytes::One64(bytes)),
            _ => Err(self.error("floats are expected")),
        }
    }
}

/// The bytes of numbers of fixed width.
pub(super) enum FixedBytes<'a> {
    Packed(&'a [u8]),
    One32([u8; 4]),
    One64([u8; 8]),
}
