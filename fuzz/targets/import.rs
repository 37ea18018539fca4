//! A file that somebody gives as a PyTorch network's weights, and the program of a state dict alone.
#![no_main]

use hairline::nn::{Architecture, Checkpoint, CheckpointMeta, NetworkShape, Upsampling};
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use zip::write::{SimpleFileOptions, ZipWriter};

fuzz_target!(|bytes: &[u8]| {
    let meta =
        || CheckpointMeta::of(NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling: Upsampling::Bilinear }, "fuzzed");
    let _ = Checkpoint::import_bytes(bytes, "fuzzed", meta());
    // Whole archives with right checksums are too rare to be met by chance.
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("archive/data.pkl", SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored)).unwrap();
    archive.write_all(bytes).unwrap();
    let _ = Checkpoint::import_bytes(archive.finish().unwrap().get_ref(), "fuzzed", meta());
});
