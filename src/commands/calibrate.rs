//! `hairline calibrate`: makes a lane's calibration file and a picture of it.

mod stream;

use super::arguments::refuse_existing;
use super::terminal::say;
use crate::config::{GapKind, wafer_size_mm};
use crate::picture_file;
use crate::stitch::Calibration;
use crate::stitch::calibrate::{Picture, chart, dark_field, flat_field, scale};
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make the calibration file of a camera: dark signal, flat field, mm per pixel and mm per line.
///
/// Give grey pictures of the camera's own lines (PNG, TIFF, JPEG, or folders of them): with the lens
/// covered (--dark), of an even bright target (--flat), and of one whole wafer of known size with
/// some gap around it (--wafer). With --config and --lane, whatever is not given as pictures is
/// taken from the lane's camera, one step after the other.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    /// Pictures, or folders of them, taken without light.
    #[arg(long, value_name = "PICTURES", num_args = 1..)]
    dark: Vec<PathBuf>,
    /// Pictures, or folders of them, of an even bright target that fills the line, not saturated.
    #[arg(long, value_name = "PICTURES", num_args = 1..)]
    flat: Vec<PathBuf>,
    /// A picture of one whole wafer with gap around it.
    #[arg(long, value_name = "PICTURE")]
    wafer: Option<PathBuf>,
    /// Size of that wafer: WIDTHxLENGTH in mm, across and along the belt, or a format such as M10.
    #[arg(long, value_name = "SIZE", value_parser = size_mm)]
    wafer_mm: (f64, f64),
    /// Significant bits of 16-bit pictures (12 for Mono12 saved as it is).
    #[arg(long, value_name = "BITS", default_value_t = 16, value_parser = clap::value_parser!(u8).range(8..=16))]
    bits: u8,
    /// The camera's id, so that the file is refused for another camera; empty: any camera.
    #[arg(long, value_name = "ID")]
    camera_id: Option<String>,
    /// Station configuration whose camera shall be used for what is not given as pictures.
    #[arg(long, value_name = "FILE", requires = "lane")]
    config: Option<PathBuf>,
    /// Lane of that configuration.
    #[arg(long, value_name = "NAME", requires = "config")]
    lane: Option<String>,
    /// Lines to take from the camera for the dark signal and for the flat field.
    #[arg(long, value_name = "LINES", default_value_t = 512, requires = "config", value_parser = clap::value_parser!(u32).range(16..=100_000))]
    lines: u32,
    /// The calibration file to write; it takes no file's place.
    #[arg(long, value_name = "FILE", default_value = "calibration.toml")]
    out: PathBuf,
    /// The picture to write, to be looked at before the calibration is used; it takes no file's place.
    #[arg(long, value_name = "FILE", default_value = "calibration.png")]
    picture: PathBuf,
}

/// What the calibration is made from.
struct Taken {
    dark: Vec<Picture>,
    flat: Vec<Picture>,
    wafer: Picture,
    camera_id: String,
}

/// Runs the command.
pub fn run(args: CalibrateArgs) -> anyhow::Result<ExitCode> {
    check_places(&args)?;
    let taken = take(&args)?;
    let dark = dark_field(&taken.dark)?;
    say!("dark signal  {} columns, {}", dark.len(), percent_range(&dark, "of white"))?;
    let flat = flat_field(&taken.flat, &dark)?;
    say!("flat field   {} columns, {}", flat.len(), percent_range(&flat, "of its mean"))?;

    let mut calibration = Calibration {
        camera_id: taken.camera_id,
        width_px: u32::try_from(dark.len()).context("the camera's line is too wide")?,
        mm_per_px: 0.0,
        mm_per_line: 0.0,
        made: jiff::Timestamp::now().to_string(),
        dark,
        flat,
    };
    let (width_mm, length_mm) = args.wafer_mm;
    let wafer = scale(&taken.wafer, &calibration, width_mm, length_mm)?;
    (calibration.mm_per_px, calibration.mm_per_line) = (wafer.mm_per_px, wafer.mm_per_line);
    say!("scale        {:.5} mm per pixel across, {:.5} mm per line along", wafer.mm_per_px, wafer.mm_per_line)?;
    let gap = if wafer.gap == GapKind::Dark { "dark" } else { "bright" };
    say!("wafer        turned by {:.2}°, {gap} gap, told apart at {:.3} of white", wafer.skew_deg, wafer.levels.0)?;
    if !wafer.usual_levels_do {
        let (edge_level, gap_level) = wafer.levels;
        say!("levels       the default ones do not tell this wafer from its gap; put these under [lane.belt]:")?;
        say!("             gap = \"{gap}\"\n             edge_level = {edge_level:.3}\n             gap_level = {gap_level:.3}")?;
    }

    calibration.save(&args.out)?;
    let picture = chart(&calibration, &taken.wafer, &wafer);
    picture.save(&args.picture).with_context(|| format!("cannot write the picture {}", args.picture.display()))?;
    say!(
        "written      {} and {}: look at the picture, then name the file in the lane's `calibration`",
        args.out.display(),
        args.picture.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses places where what is measured could not be written: whoever stands at the belt would have to begin again.
fn check_places(args: &CalibrateArgs) -> anyhow::Result<()> {
    let mut places = Vec::new();
    for (option, file) in [("--out", &args.out), ("--picture", &args.picture)] {
        refuse_existing(option, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().ok().filter(|folder| folder.is_dir());
        let folder = folder.with_context(|| format!("{option} {}: its folder does not exist; make it first", file.display()))?;
        places.push((folder, file.file_name()));
    }
    ensure!(places[0] != places[1], "--out and --picture are both {}; give each a name of its own", args.out.display());
    let ending = args.picture.extension();
    ensure!(
        ending.is_some_and(picture_file::is_ending),
        "--picture {}: its name ends like no picture's; give one of .{}",
        args.picture.display(),
        picture_file::ENDINGS.join(", .")
    );
    Ok(())
}

fn take(args: &CalibrateArgs) -> anyhow::Result<Taken> {
    let mut dark = Picture::load_all(&args.dark, args.bits)?;
    let mut flat = Picture::load_all(&args.flat, args.bits)?;
    let mut wafer = args.wafer.as_deref().map(|file| Picture::load(file, args.bits)).transpose()?;
    let mut camera_id = args.camera_id.clone().unwrap_or_default();
    if let (Some(config), Some(lane)) = (&args.config, &args.lane) {
        let mut stream = stream::Stream::open(config, lane)?;
        if args.camera_id.is_none() {
            camera_id = stream.camera_id();
        }
        if dark.is_empty() {
            dark.push(stream.lines("Cover the lens and switch the light off", args.lines)?);
        }
        if flat.is_empty() {
            flat.push(stream.lines("Put an even, bright target under the whole line, light on", args.lines)?);
        }
        if wafer.is_none() {
            wafer = Some(stream.wafer("Let the belt run and one wafer pass")?);
        }
    }
    let missing = [("--dark", dark.is_empty()), ("--flat", flat.is_empty()), ("--wafer", wafer.is_none())];
    let missing: Vec<&str> = missing.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| *name).collect();
    match wafer {
        Some(wafer) if missing.is_empty() => Ok(Taken { dark, flat, wafer, camera_id }),
        _ => bail!("{} missing; give pictures, or --config and --lane to take them from a camera", missing.join(", ")),
    }
}

fn percent_range(values: &[f32], of: &str) -> String {
    let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    format!("{:.2} to {:.2} % {of}", 100.0 * low, 100.0 * high)
}

fn size_mm(text: &str) -> Result<(f64, f64), String> {
    if let Some(side) = wafer_size_mm(text) {
        return Ok((side, side));
    }
    let sides = text.split_once(['x', '×']).and_then(|(w, l)| Some((w.trim().parse().ok()?, l.trim().parse().ok()?)));
    sides
        .filter(|(w, l)| [w, l].iter().all(|s| (10.0..=1000.0).contains(*s)))
        .ok_or_else(|| "give WIDTHxLENGTH in mm, such as 182x182, each 10 to 1000, or M2, M6, M10, G12".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wafer_sizes_are_read() {
        assert_eq!(size_mm("182x91"), Ok((182.0, 91.0)));
        assert_eq!(size_mm("M10"), Ok((182.0, 182.0)));
        for wrong in ["182", "0x182", "182xx", "1e9x1", "M11"] {
            assert!(size_mm(wrong).is_err(), "{wrong}");
        }
    }
}
