//! The event log that TensorBoard reads.
//!
//! A file of records: length (u64), masked CRC-32C of the length, the bytes, their masked CRC-32C
//! (TensorFlow's TFRecord), all little-endian. The bytes are an `Event` message in protobuf's
//! encoding, of which three fields are needed here.

use crate::FitError;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers over time, appended to a file that TensorBoard follows.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    path: PathBuf,
}

/// What TensorBoard recognises a log by.
const FILE_VERSION: &str = "brain.Event:2";

impl EventLog {
    /// Begins a new file `events.out.tfevents.<seconds>.<process>.depthwise` in a folder. The files of
    /// earlier parts of a run stay; TensorBoard shows them as one.
    ///
    /// # Errors
    /// [`FitError::Io`] where it cannot be written.
    pub fn create(folder: &Path) -> Result<EventLog, FitError> {
        let now = seconds();
        let process = std::process::id();
        let path = folder.join(format!("events.out.tfevents.{}.{process}.depthwise", now as u64));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut log = EventLog { file: file.map_err(FitError::io(&path))?, path };
        let mut event = Message::default();
        event.double(1, now);
        event.bytes(3, FILE_VERSION.as_bytes());
        log.write(&event.0)?;
        Ok(log)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds numbers with their names at a step.
    ///
    /// # Errors
    /// [`FitError::Io`] where they cannot be written.
    pub fn add(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<(), FitError> {
        let event = scalars_event(seconds(), step, scalars);
        self.write(&event)
    }

    fn write(&mut self, event: &[u8]) -> Result<(), FitError> {
        self.file.write_all(&record(event)).map_err(FitError::io(&self.path))
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }`
fn scalars_event(time: f64, step: u64, scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Message::default();
    for (tag, value) in scalars {
        let mut item = Message::default();
        item.bytes(1, tag.as_bytes());
        item.float(2, *value as f32);
        summary.bytes(1, &item.0);
    }
    let mut event = Message::default();
    event.double(1, time);
    event.varint(2, step);
    event.bytes(5, &summary.0);
    event.0
}

/// A protobuf message on its way to bytes.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.raw_varint(field << 3);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.raw_varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.raw_varint(field << 3 | 2);
        self.raw_varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.raw_varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c(data)).to_le_bytes());
    record
}

/// So that a checksum of data with checksums in it is no trivial number.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 of Castagnoli, bit by bit: records are short and few.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_meet_published_values() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn events_meet_hand_encoded_bytes() {
        let event = scalars_event(1.0, 300, &[("a", 0.5)]);
        let want = [
            &[0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f][..], // wall_time 1.0
            &[0x10, 0xac, 0x02],                       // step 300
            &[0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0, 0x3f],
        ];
        assert_eq!(event, want.concat());
    }

    #[test]
    fn records_can_be_walked() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EventLog::create(folder.path()).unwrap();
        log.add(1, &[("loss/train", 2.5), ("accuracy", 0.25)]).unwrap();
        log.add(2, &[]).unwrap();
        let bytes = std::fs::read(log.path()).unwrap();
        let (mut at, mut records) = (0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            let crc = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
            assert_eq!(crc, masked(crc32c(&bytes[at..at + 8])));
            let data = &bytes[at + 12..at + 12 + length];
            let crc = u32::from_le_bytes(bytes[at + 12 + length..][..4].try_into().unwrap());
            assert_eq!(crc, masked(crc32c(data)));
            records.push(data.to_vec());
            at += 16 + length;
        }
        assert_eq!(records.len(), 3);
        assert!(records[0].ends_with(b"brain.Event:2"));
        assert!(records[1].windows(10).any(|w| w == b"loss/train"));
    }
}
