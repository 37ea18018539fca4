//! A station on disk with a tiny model, and the program that runs it.

use candle_core::Device;
use hairline::ledger::Ledger;
use hairline::nn::{Architecture, Checkpoint, CheckpointMeta, Network, NetworkShape, Upsampling};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A real, untrained network so small that a cell takes a moment only.
pub fn tiny_model(folder: &Path) -> PathBuf {
    tiny_model_of(folder, Architecture::UNet)
}

/// The same of another network.
pub fn tiny_model_of(folder: &Path, architecture: Architecture) -> PathBuf {
    let shape = NetworkShape { architecture, base_width: 2, upsampling: Upsampling::Bilinear };
    let network = Network::new(&shape, 1, &Device::Cpu).unwrap();
    let meta = CheckpointMeta { mm_per_px_min: 0.05, mm_per_px_max: 0.3, ..CheckpointMeta::of(shape, "tiny") };
    let file = folder.join("tiny.safetensors");
    Checkpoint { meta, tensors: network.tensors().unwrap(), digest: String::new() }.save(&file).unwrap();
    file
}

/// Writes a station with one lane; `lane` holds its tables.
pub fn station(folder: &Path, lane: &str) -> PathBuf {
    tiny_model(folder);
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/recipe.toml"), folder.join("recipe.toml")).unwrap();
    let file = folder.join("station.toml");
    let text = format!(
        "[station]\nname = \"test\"\ndata_dir = \"ledger\"\n[network]\nmodel = \"tiny.safetensors\"\ndevice = \"cpu\"\n\
         [publish]\nfeed = \"tcp://127.0.0.1:*\"\nrequests = \"tcp://127.0.0.1:*\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [[lane]]\nname = \"a\"\nrecipe = \"recipe.toml\"\n{lane}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// A lane of simulated wafers, the second of which loses lines.
pub const SIMULATED: &str =
    "[lane.camera]\nkind = \"simulated\"\nseed = 3\nskew_deg_max = 1.5\nlose_lines = [[2, 64]]\n[lane.wafer]\nformat = \"M10\"\n";

/// A lane whose camera is a GStreamer pipeline.
pub fn pipeline(fragment: &str) -> String {
    format!(
        "deadline_ms = 300\n[lane.camera]\nkind = \"gstreamer\"\nline_rate_hz = 5000\nfragment = \"{fragment}\"\n\
         [lane.wafer]\nformat = \"M10\"\n[lane.belt]\nmm_per_px = 0.14\nmm_per_line = 0.14\n"
    )
}

/// The program with these arguments.
pub fn hairline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hairline"));
    // It logs by default what tests wait for.
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// The station's process, which ends with the test at the latest.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that it said.
pub fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The headers of every recorded verdict of the only run.
pub fn verdicts(folder: &Path) -> Vec<serde_json::Value> {
    let ledger = Ledger::open(&folder.join("ledger"), 30).unwrap();
    let runs = ledger.runs().unwrap();
    assert_eq!(runs.len(), 1, "one run, one lane");
    let entries = ledger.replay(&runs[0].run, "a", 1, 1000).unwrap();
    entries.iter().map(|e| serde_json::from_slice(&e.header).unwrap()).collect()
}
