//! `train` as a process, on small pictures.

mod learnt;
mod models;
mod promotion;
mod refused;
mod resume;

use image::{GrayImage, Luma};
use std::path::Path;
use std::process::{Command, Output};

/// Eight pictures of 64 × 64 px with a streak in every second one.
fn pictures(root: &Path) {
    for part in ["images", "masks"] {
        std::fs::create_dir_all(root.join(part)).unwrap();
    }
    for i in 0..8u32 {
        let streak = |x: u32, y: u32| i.is_multiple_of(2) && (10..50).contains(&x) && (20 + i..23 + i).contains(&y);
        let grey = |x: u32, y: u32| Luma([60 + ((x * 7 + y * 13 + i) % 23) as u8 + if streak(x, y) { 90 } else { 0 }]);
        GrayImage::from_fn(64, 64, grey).save(root.join(format!("images/cell{i}.png"))).unwrap();
        let mask = |x, y| Luma([if streak(x, y) { 255 } else { 0 }]);
        GrayImage::from_fn(64, 64, mask).save(root.join(format!("masks/cell{i}.png"))).unwrap();
    }
}

/// `train fit` on such pictures, small.
fn fit(root: &Path, run: &str, steps: u32) -> Command {
    let mut command = train();
    command.current_dir(root).args(["fit", "--data", "pictures", "--run", run, "--base-width", "2", "--crop", "32", "--seed", "5"]);
    command.args(["--eval-every", "20", "--steps", &steps.to_string(), "--device", "cpu", "--threads", "1"]);
    command
}

fn train() -> Command {
    Command::new(env!("CARGO_BIN_EXE_train"))
}

fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// All that it said.
fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
