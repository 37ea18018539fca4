use super::lettering::{ADVANCE, HEIGHT, write};
use super::{Picture, WaferScale};
use crate::stitch::Calibration;
use image::{Rgb, RgbImage};

const WIDTH: u32 = 1000;
const MARGIN: u32 = 70;
const PLOT_HEIGHT: u32 = 180;
const BLACK: Rgb<u8> = Rgb([20, 20, 20]);
const GRID: Rgb<u8> = Rgb([215, 215, 215]);
const CURVE: Rgb<u8> = Rgb([0, 90, 170]);
const OUTLINE: Rgb<u8> = Rgb([230, 40, 30]);

/// A picture of a calibration for a person to judge: dark signal and flat field over the columns,
/// and the wafer with the outline that was found.
pub fn chart(calibration: &Calibration, wafer: &Picture, scale: &WaferScale) -> RgbImage {
    let step = (wafer.width_px as f64 / f64::from(WIDTH - 2 * MARGIN)).max(wafer.lines().len() as f64 / 1200.0);
    let wafer_height = (wafer.lines().len() as f64 / step).ceil() as u32;
    let plot_pitch = PLOT_HEIGHT + 70;
    let mut picture = RgbImage::from_pixel(WIDTH, 2 * plot_pitch + wafer_height + 110, Rgb([255, 255, 255]));
    plot(&mut picture, 30, "dark signal / % of white over columns", &calibration.dark, 100.0);
    plot(&mut picture, 30 + plot_pitch, "flat field / % of its mean over columns", &calibration.flat, 100.0);
    let top = 30 + 2 * plot_pitch;
    let title = format!(
        "wafer: {:.5} mm/px across  {:.5} mm/line along  turned by {:.2} degrees",
        scale.mm_per_px, scale.mm_per_line, scale.skew_deg
    );
    write(&mut picture, (MARGIN, top), &title, BLACK);
    draw_wafer(&mut picture, (MARGIN, top + 20), wafer, scale, step);
    picture
}

fn plot(picture: &mut RgbImage, top: u32, title: &str, values: &[f32], unit: f32) {
    write(picture, (MARGIN, top), title, BLACK);
    let top = top + 20;
    let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    let spare = (0.1 * (high - low)).max(0.001);
    let (low, high) = ((low - spare).max(0.0) * unit, (high + spare) * unit);
    let width = WIDTH - 2 * MARGIN;
    for n in 0..=4 {
        let y = top + PLOT_HEIGHT * n / 4;
        line(picture, (MARGIN.into(), y.into()), ((MARGIN + width).into(), y.into()), GRID);
        let label = format!("{:.2}", high - (high - low) * n as f32 / 4.0);
        write(picture, (MARGIN - 8 - label.len() as u32 * ADVANCE, y - HEIGHT / 2), &label, BLACK);
        let x = MARGIN + width * n / 4;
        line(picture, (x.into(), top.into()), (x.into(), (top + PLOT_HEIGHT).into()), GRID);
        let column = (values.len().saturating_sub(1) * n as usize / 4).to_string();
        write(picture, (x - column.len() as u32 * ADVANCE / 2, top + PLOT_HEIGHT + 8), &column, BLACK);
    }
    let place = |index: usize, value: f32| {
        let x = f64::from(MARGIN) + index as f64 * f64::from(width) / (values.len().max(2) - 1) as f64;
        (x, f64::from(top) + f64::from((high - value * unit) / (high - low)) * f64::from(PLOT_HEIGHT))
    };
    for (index, pair) in values.windows(2).enumerate() {
        line(picture, place(index, pair[0]), place(index + 1, pair[1]), CURVE);
    }
}

fn draw_wafer(picture: &mut RgbImage, at: (u32, u32), wafer: &Picture, scale: &WaferScale, step: f64) {
    let brightest = wafer.pixels.iter().step_by(97).copied().max().unwrap_or(1).max(1);
    let lines: Vec<&[u16]> = wafer.lines().collect();
    let size = ((wafer.width_px as f64 / step) as u32, (lines.len() as f64 / step) as u32);
    for (x, y) in (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y))) {
        let line = lines.get((f64::from(y) * step) as usize);
        let pixel = line.and_then(|l| l.get((f64::from(x) * step) as usize)).copied().unwrap_or(0);
        let grey = (u32::from(pixel) * 255 / u32::from(brightest)).min(255) as u8;
        if let Some(to) = picture.get_pixel_mut_checked(at.0 + x, at.1 + y) {
            *to = Rgb([grey; 3]);
        }
    }
    let corners = scale.corners.map(|(column, line)| (f64::from(at.0) + (column + 0.5) / step, f64::from(at.1) + (line + 0.5) / step));
    for n in 0..4 {
        line(picture, corners[n], corners[(n + 1) % 4], OUTLINE);
    }
}

fn line(picture: &mut RgbImage, from: (f64, f64), to: (f64, f64), colour: Rgb<u8>) {
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
    for n in 0..=steps as u32 {
        let share = f64::from(n) / steps;
        let (x, y) = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
        if let Some(pixel) = picture.get_pixel_mut_checked(x.max(0.0) as u32, y.max(0.0) as u32) {
            *pixel = colour;
        }
    }
}
