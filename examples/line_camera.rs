//! The suite's GigE Vision line camera on its own: `cargo run --example line_camera -- --help`.

#[path = "../tests/suite/line_camera/mod.rs"]
mod line_camera;

use clap::Parser;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    line_camera::run(line_camera::Arguments::parse())
}
