//! FlexBuffers, which hold the options of custom operators: a map from names to numbers.
//!
//! A reader of whole FlexBuffers is not needed: options are flat maps of a few numbers. This one
//! reads each byte only where it lies in the buffer, and takes no memory but that of the list.

/// A number of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Something else, which is not read.
    Other,
}

/// Types of values.
const NULL: u8 = 0;
const INT: u8 = 1;
const UINT: u8 = 2;
const FLOAT: u8 = 3;
const INDIRECT_INT: u8 = 6;
const INDIRECT_UINT: u8 = 7;
const INDIRECT_FLOAT: u8 = 8;
const MAP: u8 = 9;
const BOOL: u8 = 26;

/// The names and numbers of a map, in the order of the buffer; values that are null are left out.
/// The error is the reason why the bytes are no such map.
pub(super) fn map(bytes: &[u8]) -> Result<Vec<(&str, Scalar)>, &'static str> {
    let buffer = Buffer(bytes);
    let [.., packed, width] = *bytes else { return Err("they are empty") };
    if packed >> 2 != MAP {
        return Err("they are no FlexBuffer of a map");
    }
    let root = bytes.len().checked_sub(2 + usize::from(width)).ok_or("they are too short")?;
    let values = buffer.follow(root, width.into())?;
    let width = 1 << (packed & 3);
    let before = |count: usize| values.checked_sub(count * width).ok_or("they are too short");
    let len = buffer.unsigned(before(1)?, width)?;
    let keys_width = usize::try_from(buffer.unsigned(before(2)?, width)?).unwrap_or(0);
    let keys = buffer.follow(before(3)?, width)?;
    // An entry takes bytes of the buffer: those of its value, its type and its name.
    let len = usize::try_from(len).ok().filter(|&len| len <= bytes.len());
    let len = len.ok_or("its map is longer than they are")?;
    let mut entries = Vec::new();
    for i in 0..len {
        let name = buffer.text(buffer.follow(keys + i * keys_width, keys_width)?)?;
        let kind = buffer.at(values + len * width + i, 1)?[0];
        if kind >> 2 != NULL {
            entries.push((name, buffer.scalar(values + i * width, width, kind)?));
        }
    }
    Ok(entries)
}

struct Buffer<'a>(&'a [u8]);

impl<'a> Buffer<'a> {
    fn at(&self, offset: usize, len: usize) -> Result<&'a [u8], &'static str> {
        let end = offset.checked_add(len).ok_or("an offset leads out of them")?;
        self.0.get(offset..end).ok_or("an offset leads out of them")
    }

    /// A little-endian number of 1, 2, 4 or 8 bytes.
    fn unsigned(&self, offset: usize, width: usize) -> Result<u64, &'static str> {
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err("a number has a width that there is not");
        }
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.at(offset, width)?);
        Ok(u64::from_le_bytes(wide))
    }

    fn signed(&self, offset: usize, width: usize) -> Result<i64, &'static str> {
        let spare = 64 - 8 * width as u32;
        Ok((self.unsigned(offset, width)? << spare) as i64 >> spare)
    }

    fn float(&self, offset: usize, width: usize) -> Result<f64, &'static str> {
        let bits = self.unsigned(offset, width)?;
        match width {
            4 => Ok(f32::from_bits(bits as u32).into()),
            8 => Ok(f64::from_bits(bits)),
            _ => Err("a real number has a width other than 4 and 8"),
        }
    }

    /// Where the distance at `offset` leads, which goes back from there.
    fn follow(&self, offset: usize, width: usize) -> Result<usize, &'static str> {
        let back = self.unsigned(offset, width)?;
        let back = usize::try_from(back).ok().and_then(|back| offset.checked_sub(back));
        back.ok_or("an offset leads out of them")
    }

    /// The text up to a zero.
    fn text(&self, offset: usize) -> Result<&'a str, &'static str> {
        let rest = self.at(offset, self.0.len().saturating_sub(offset))?;
        let end = rest.iter().position(|&b| b == 0).ok_or("a name has no end")?;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name is no text")
    }

    fn scalar(&self, offset: usize, width: usize, kind: u8) -> Result<Scalar, &'static str> {
        let own = 1 << (kind & 3);
        Ok(match kind >> 2 {
            INT => Scalar::Int(self.signed(offset, width)?),
            UINT => Scalar::Int(self.unsigned(offset, width)?.try_into().unwrap_or(i64::MAX)),
            FLOAT => Scalar::Float(self.float(offset, width)?),
            BOOL => Scalar::Bool(self.unsigned(offset, width)? != 0),
            INDIRECT_INT => Scalar::Int(self.signed(self.follow(offset, width)?, own)?),
            INDIRECT_UINT => {
                let wide = self.unsigned(self.follow(offset, width)?, own)?;
                Scalar::Int(wide.try_into().unwrap_or(i64::MAX))
            }
            INDIRECT_FLOAT => Scalar::Float(self.float(self.follow(offset, width)?, own)?),
            _ => Scalar::Other,
        })
    }
}

/// The bytes of a map, four for each value; names in order, together less than 250 bytes.
#[cfg(test)]
pub(super) fn of_map(entries: &[(&str, Scalar)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut names = Vec::new();
    for (name, _) in entries {
        names.push(bytes.len());
        bytes.extend(name.bytes().chain([0]));
    }
    // Names: their number, then the distance back to each, one byte each.
    let number = |bytes: &mut Vec<u8>, n: usize| bytes.push(u8::try_from(n).unwrap());
    number(&mut bytes, entries.len());
    let keys = bytes.len();
    for name in names {
        let here = bytes.len();
        number(&mut bytes, here - name);
    }
    // The map: distance to the names, their width, the number of values, values, types.
    let word = |bytes: &mut Vec<u8>, n: u32| bytes.extend(n.to_le_bytes());
    let here = bytes.len();
    word(&mut bytes, (here - keys) as u32);
    word(&mut bytes, 1);
    word(&mut bytes, entries.len() as u32);
    let values = bytes.len();
    let mut kinds = Vec::new();
    for (_, value) in entries {
        let (kind, bits) = match *value {
            Scalar::Int(n) => (INT, n as i32 as u32),
            Scalar::Float(x) => (FLOAT, (x as f32).to_bits()),
            Scalar::Bool(truth) => (BOOL, truth.into()),
            Scalar::Other => (MAP, 4),
        };
        word(&mut bytes, bits);
        kinds.push(kind << 2 | 2);
    }
    bytes.extend(kinds);
    // The root: distance to the first value.
    let here = bytes.len();
    number(&mut bytes, here - values);
    bytes.extend([MAP << 2 | 2, 1]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        of_map(&[("a", Scalar::Int(-7)), ("b", Scalar::Bool(true)), ("c", Scalar::Float(0.5))])
    }

    #[test]
    fn numbers_are_read_by_name() {
        // As the format's own writer lays it out.
        let mut bytes = b"a\0b\0c\0\x03\x07\x06\x05".to_vec();
        let words = [3, 1, 3, -7i32 as u32, 1, 0.5f32.to_bits()];
        bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
        bytes.extend([0x06, 0x6A, 0x0E, 15, 0x26, 1]);
        assert_eq!(sample(), bytes);
        let want = [("a", Scalar::Int(-7)), ("b", Scalar::Bool(true)), ("c", Scalar::Float(0.5))];
        assert_eq!(map(&bytes).unwrap(), want);
    }

    #[test]
    fn broken_maps_are_refused_or_read_as_something_else() {
        let whole = sample();
        for len in 0..whole.len() {
            assert!(map(&whole[..len]).is_err(), "{len} bytes");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                // Bounded whatever it reads: no entry without a byte of its own.
                assert!(
                    map(&bytes).is_ok_and(|map| map.len() <= bytes.len()) || map(&bytes).is_err()
                );
            }
        }
    }
}
