//! TensorBoard's event files: TFRecords of protocol buffers, of which scalars need four messages and a start anew one.

use crate::train::TrainError;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Scalars for TensorBoard, in a file of their own in the run folder.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Starts a new file in `folder`, of what comes after step `after`; TensorBoard reads several of one run as one, and
    /// leaves out what others tell of later steps, which are done again.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn create(folder: &Path, after: u64) -> Result<Self, TrainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(format!("events.out.tfevents.{:010}.{}.hairline", now.as_secs(), std::process::id()));
        let file = File::create(&path).map_err(TrainError::file(&path, "cannot write the TensorBoard events"))?;
        let mut events = Self { path, file };
        let mut version = event_head(0);
        field_bytes(&mut version, 3, b"brain.Event:2");
        events.write(&version)?;
        let mut start = event_head(after + 1);
        field_bytes(&mut start, SESSION_LOG, &[STATUS << 3, START]);
        events.write(&start)?;
        Ok(events)
    }

    /// One value of each named curve at a step.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), TrainError> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            field_bytes(&mut entry, 1, tag.as_bytes());
            entry.push(2 << 3 | 5);
            entry.extend((*value as f32).to_le_bytes());
            field_bytes(&mut summary, 1, &entry);
        }
        let mut event = event_head(step);
        field_bytes(&mut event, 5, &summary);
        self.write(&event)
    }

    fn write(&mut self, event: &[u8]) -> Result<(), TrainError> {
        self.file.write_all(&record(event)).map_err(TrainError::file(&self.path, "cannot write the TensorBoard events"))
    }
}

/// `Event.session_log`.
const SESSION_LOG: u8 = 7;
/// `SessionLog.status`, an enumeration.
const STATUS: u8 = 1;
/// `SessionLog.START`: from this event's step on, what was told before is void.
const START: u8 = 1;

/// Time and step of an `Event`.
fn event_head(step: u64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut event = vec![1 << 3 | 1];
    event.extend(now.to_le_bytes());
    event.push(2 << 3);
    varint(&mut event, step);
    event
}

fn field_bytes(to: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    to.push(field << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Length, its checksum, data, their checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc32c(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc32c(data).to_le_bytes());
    record
}

/// CRC-32C (Castagnoli), rotated and shifted as TFRecords want it.
fn masked_crc32c(data: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { REVERSED_POLYNOMIAL } else { 0 };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnolis_and_masked() {
        let unmasked = masked_crc32c(b"123456789").wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(unmasked, 0xe306_9283);
    }

    #[test]
    fn a_file_holds_its_version_its_start_and_then_one_record_a_call() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(dir.path(), 299).unwrap();
        events.scalars(300, &[("validation/iou", 0.5), ("loss", 2.0)]).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let count = u64::from_le_bytes(*length) as usize;
            assert_eq!(after[..4], masked_crc32c(length).to_le_bytes());
            records.push(&after[4..4 + count]);
            assert_eq!(after[4 + count..8 + count], masked_crc32c(&after[4..4 + count]).to_le_bytes());
            rest = &after[8 + count..];
        }
        let [version, start, scalars] = records.as_slice() else { panic!("{} records", records.len()) };
        assert!(version.ends_with(b"brain.Event:2"));
        // Field 2: step 300, the first that is not known yet; field 7, the session log: 2 bytes, field 1 is 1.
        assert_eq!(start[9..], [0x10, 0xac, 0x02, 0x3a, 2, 0x08, 1]);
        // Step 300 as a varint of field 2, after the nine bytes of the time.
        assert_eq!(scalars[9..12], [0x10, 0xac, 0x02]);
        let loss = [&[0x0a, 4][..], b"loss", &[0x15], &2.0f32.to_le_bytes()].concat();
        assert!(scalars.ends_with(&loss));
    }
}
