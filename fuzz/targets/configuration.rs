//! Files that people edit by hand: station, recipe, calibration.
#![no_main]

use hairline::config::StationConfig;
use hairline::judge::Recipe;
use hairline::stitch::Calibration;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder for temporary files"));

fuzz_target!(|bytes: &[u8]| {
    let file = FOLDER.path().join("file.toml");
    std::fs::write(&file, bytes).expect("a writable folder");
    for problems in [StationConfig::load(&file).err(), Recipe::load(&file).err()].into_iter().flatten() {
        assert!(!problems.to_string().is_empty(), "refused without a reason");
    }
    let _ = Calibration::load(&file);
});
