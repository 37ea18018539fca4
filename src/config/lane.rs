//! Reading `[[lane]]` and its tables.

use super::units::wafer_size_mm;
use super::{Belt, Camera, CameraKind, FilesCamera, GapKind, GigeCamera, GstreamerCamera, Lane, Reader, SimulatedCamera, Wafer, WaferKind};
use std::sync::Arc;

/// `to_calibrate`: its scale may be unknown yet.
pub(super) fn read_lane(t: &mut Reader, to_calibrate: bool) -> Lane {
    let name: String = t.required("name", "a name in quotes, such as \"lane-1\"").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if t.has("name") && (name.is_empty() || name.len() > 64 || !name.chars().all(plain)) {
        t.error("name", format!("is {name:?}"), "use 1 to 64 letters, digits, `-` and `_`: the name is part of topics and metrics");
    }
    let recipe = t.required_path("recipe", "the path of a recipe (TOML), such as \"recipe.toml\"").unwrap_or_default();
    let calibration = t.optional_path("calibration", "the path of a file that `hairline calibrate` wrote");
    let deadline_ms = t.optional_number("deadline_ms", "milliseconds from the trailing edge to the verdict, 10 to 60000", 10.0..=60_000.0);
    let queue_blocks = t.number("queue_blocks", "a whole number of line blocks, 2 to 4096", 2..=4096, 64);
    let queue_rows = t.number("queue_rows", "a whole number of tile rows, 3 to 300", 3..=300, 12);
    let camera = t.table("camera", |t| read_camera(t, deadline_ms));
    if deadline_ms.is_none() && !t.has("deadline_ms") && !camera.can_wait() {
        t.error(
            "deadline_ms",
            "is missing, and this camera cannot wait",
            "give the milliseconds your reject gate leaves after the trailing edge",
        );
    }
    let wafer = t.table("wafer", |t| read_wafer(t, &camera));
    let belt = t.table("belt", |t| read_belt(t, to_calibrate || calibration.is_some(), &camera, &wafer));
    check_drawn_gap(t, &camera, &belt);
    Lane { name: Arc::from(name), recipe, calibration, deadline_ms, queue_blocks, queue_rows, camera, wafer, belt }
}

/// A gap that is drawn must be seen as one.
fn check_drawn_gap(t: &mut Reader, camera: &Camera, belt: &Belt) {
    let CameraKind::Files(FilesCamera { whole_cells: true, gap_level: Some(level), .. }) = &camera.kind else { return };
    let (seen, kind, at) = match belt.gap {
        GapKind::Dark => (*level <= belt.gap_level, "dark", "at most"),
        GapKind::Bright => (*level >= belt.gap_level, "bright", "at least"),
    };
    if !seen {
        t.error(
            "camera.gap_level",
            format!("of {level} is no {kind} gap: `belt.gap_level` is {}", belt.gap_level),
            format!("leave it out, which gives {}, or give {at} {}", belt.gap.drawn_level(), belt.gap_level),
        );
    }
}

fn read_camera(t: &mut Reader, deadline_ms: Option<f64>) -> Camera {
    let kinds = "\"gige\", \"files\", \"simulated\" or \"gstreamer\"";
    let kind_name: String = t.required("kind", kinds).unwrap_or_default();
    let line_rate_hz = t.optional_number("line_rate_hz", "lines a second, 1 to 1000000", 1.0..=1e6);
    let block_lines = t.number("block_lines", "a whole number of lines, 1 to 16384", 1..=16_384, 128);
    let idle_after_s = t.number("idle_after_s", "seconds, 0.1 to 3600", 0.1..=3600.0, 2.0);
    let kind = match kind_name.as_str() {
        "gige" => CameraKind::Gige(read_gige(t)),
        "files" => CameraKind::Files(read_files(t)),
        "gstreamer" => CameraKind::Gstreamer(read_gstreamer(t)),
        "simulated" => CameraKind::Simulated(read_simulated(t)),
        other => {
            if t.has("kind") {
                t.error("kind", format!("is {other:?}, which is no kind of camera"), format!("give {kinds}"));
            }
            // Reading as GigE keeps its keys known, so that only the kind is told.
            CameraKind::Gige(read_gige(t))
        }
    };
    tell_keys_of_other_kinds(t, &kind_name);
    let live = matches!(kind, CameraKind::Gige(_) | CameraKind::Gstreamer(_));
    if live && line_rate_hz.is_none() && t.has("kind") && !t.has("line_rate_hz") {
        t.error("line_rate_hz", "is missing", "give the camera's line rate: times and deadlines are reckoned with it");
    }
    if let (true, Some(rate), Some(deadline)) = (live, line_rate_hz, deadline_ms) {
        let fill_ms = f64::from(block_lines) / rate * 1000.0;
        if fill_ms > deadline / 10.0 {
            t.warning(
                "block_lines",
                format!("takes {fill_ms:.0} ms to fill at {rate} lines/s, more than a tenth of the deadline of {deadline} ms"),
                format!(
                    "lines wait in the camera until a frame is full: give at most {:.0}",
                    (deadline / 10.0 * rate / 1000.0).floor().max(1.0)
                ),
            );
        }
    }
    Camera { kind, line_rate_hz, block_lines, idle_after_s }
}

/// What is left of another kind of camera is no mistyped key.
fn tell_keys_of_other_kinds(t: &mut Reader, kind: &str) {
    let kinds = [
        ("gige", Reader::keys_of(read_gige)),
        ("files", Reader::keys_of(read_files)),
        ("simulated", Reader::keys_of(read_simulated)),
        ("gstreamer", Reader::keys_of(read_gstreamer)),
    ];
    let is_kind = kinds.iter().any(|(name, _)| *name == kind);
    for key in kinds.iter().flat_map(|(_, keys)| keys) {
        if is_kind && t.leaves(key) {
            let others: Vec<String> = kinds.iter().filter(|(_, keys)| keys.contains(key)).map(|(name, _)| format!("{name:?}")).collect();
            t.misplaced(key, format!("belongs to `kind` = {}; this camera is {kind:?}", others.join(" or ")), "remove it");
        }
    }
}

fn read_gstreamer(t: &mut Reader) -> GstreamerCamera {
    GstreamerCamera {
        fragment: t.required("fragment", "a source in gst-launch notation, such as \"v4l2src ! videoconvert\"").unwrap_or_default(),
        bits: t.number("bits", "significant bits of 16-bit pixels, 9 to 16", 9..=16, 16),
    }
}

fn read_gige(t: &mut Reader) -> GigeCamera {
    let reconnect_first_ms = t.number("reconnect_first_ms", "milliseconds, 10 to 60000", 10..=60_000, 250);
    let reconnect_max_ms = t.number("reconnect_max_ms", "milliseconds, 10 to 600000", 10..=600_000, 10_000);
    if reconnect_max_ms < reconnect_first_ms {
        t.error("reconnect_max_ms", "is shorter than `reconnect_first_ms`", "give a longer one");
    }
    let id_expected = "the camera's id or IP address, as arv-tool-0.8 lists it";
    let id: String = t.required("id", id_expected).unwrap_or_default();
    if t.has("id") && id.trim().is_empty() {
        t.error("id", "is empty: any camera that answers would do", format!("give {id_expected}"));
    }
    let formats = "\"Mono8\", \"Mono10\", \"Mono12\" or \"Mono16\"";
    let pixel_format: Option<String> = t.optional("pixel_format", formats);
    if let Some(format) = pixel_format.as_deref().filter(|format| !["Mono8", "Mono10", "Mono12", "Mono16"].contains(format)) {
        t.error("pixel_format", format!("is {format:?}, which is not one grey channel in whole bytes"), format!("give {formats}"));
    }
    GigeCamera {
        id,
        width_px: t.optional_number("width_px", "pixels of a line, 16 to 65536", 16..=65_536),
        pixel_format,
        features: t.or(
            "features",
            "a list of GenICam features with their values, in the order in which they are to be set, such as \
             [[\"TriggerSelector\", \"LineStart\"], [\"TriggerMode\", \"On\"]]",
            Vec::new(),
        ),
        buffers: t.number("buffers", "a whole number of frames, 4 to 1024", 4..=1024, 32),
        reconnect_first_ms,
        reconnect_max_ms,
        encoder_chunk: t.optional("encoder_chunk", "a chunk's name in quotes, such as \"EncoderValue\""),
        packet_socket: t.or("packet_socket", "true or false", true),
    }
}

fn read_files(t: &mut Reader) -> FilesCamera {
    FilesCamera {
        path: t.required_path("path", "a folder of pictures, or one picture").unwrap_or_default(),
        whole_cells: t.or("whole_cells", "true (each picture is a cell) or false (pictures are consecutive lines)", true),
        width_px: t.optional_number("width_px", "pixels of a line, 16 to 65536", 16..=65_536),
        cell_px: t.optional_number("cell_px", "pixels, 16 to 65536", 16..=65_536),
        gap_lines: t.number("gap_lines", "a whole number of lines, 0 to 100000", 0..=100_000, 150),
        gap_level: t.optional_number("gap_level", "a share of white, 0 to 1", 0.0..=1.0),
        rounds: t.number("rounds", "a whole number, 0 (for ever) to 1000000", 0..=1_000_000, 1),
    }
}

fn read_simulated(t: &mut Reader) -> SimulatedCamera {
    SimulatedCamera {
        wafer: t.or("wafer", "\"laser\" or \"electroluminescence\"", WaferKind::Laser),
        seed: t.or("seed", "a whole number, 0 or more", 1),
        wafers: t.number("wafers", "a whole number, 0 (for ever) to 1000000000", 0..=1_000_000_000, 0),
        cracked_share: t.number("cracked_share", "a share, 0 to 1", 0.0..=1.0, 0.5),
        width_px: t.number("width_px", "pixels of a line, 64 to 16384", 64..=16_384, 1500),
        gap_lines: t.number("gap_lines", "a whole number of lines, 0 to 100000", 0..=100_000, 150),
        skew_deg_max: t.number("skew_deg_max", "degrees, 0 to 10", 0.0..=10.0, 1.0),
        lose_lines: t.or("lose_lines", "a list of [wafer, lines] pairs, such as [[13, 64]]", Vec::new()),
    }
}

fn read_wafer(t: &mut Reader, camera: &Camera) -> Wafer {
    let sizes = "millimetres, 10 to 500";
    let format: Option<String> = t.optional("format", "\"M2\", \"M6\", \"M10\" or \"G12\"");
    let side = format.as_deref().and_then(wafer_size_mm);
    if let (Some(format), None) = (&format, side) {
        t.error(
            "format",
            format!("is {format:?}, which is no known format"),
            "give \"M2\", \"M6\", \"M10\" or \"G12\", or `width_mm` and `length_mm`",
        );
    }
    let width_mm = t.optional_number("width_mm", sizes, 10.0..=500.0).or(side);
    let length_mm = t.optional_number("length_mm", sizes, 10.0..=500.0).or(side);
    if format.is_none() && (width_mm.is_none() || length_mm.is_none()) {
        t.error("format", "is missing", "give \"M2\", \"M6\", \"M10\" or \"G12\", or both `width_mm` and `length_mm`");
    }
    let corners_mm = read_corners(t);
    if let (Some(width_mm), Some(length_mm)) = (width_mm, length_mm) {
        check_corners(t, corners_mm, width_mm, length_mm);
    }
    let tolerance_mm = t.number("tolerance_mm", "millimetres, 0.05 to 50", 0.05..=50.0, 2.0);
    let (width_mm, length_mm) = (width_mm.unwrap_or(182.0), length_mm.unwrap_or(182.0));
    if matches!(camera.kind, CameraKind::Simulated(_)) && width_mm != length_mm {
        t.error(
            "length_mm",
            format!("of {length_mm} is not the width of {width_mm}, and simulated wafers are square"),
            format!("give `length_mm` = {width_mm}, or show pictures of such wafers with `camera.kind` = \"files\""),
        );
    }
    if matches!(camera.kind, CameraKind::Simulated(_)) && corners_mm.iter().any(|leg_mm| *leg_mm != corners_mm[0]) {
        t.error("corner_mm", "has legs that differ, and corners of simulated wafers are all alike", "give one number");
    }
    Wafer { width_mm, length_mm, corners_mm, tolerance_mm }
}

/// Two cut corners that overlap would leave no edge between them, and take for a cut corner what has to be judged.
fn check_corners(t: &mut Reader, [leading_left, leading_right, trailing_right, trailing_left]: [f64; 4], width_mm: f64, length_mm: f64) {
    let sides = [
        ("leading", leading_left, leading_right, width_mm),
        ("right", leading_right, trailing_right, length_mm),
        ("trailing", trailing_left, trailing_right, width_mm),
        ("left", leading_left, trailing_left, length_mm),
    ];
    let overlaps = sides.iter().filter(|(_, one_mm, other_mm, side_mm)| one_mm + other_mm > *side_mm);
    let told: Vec<String> =
        overlaps.map(|(name, one_mm, other_mm, side_mm)| format!("{one_mm} + {other_mm} mm on the {name} side of {side_mm} mm")).collect();
    if !told.is_empty() {
        let what = format!("has corners that overlap: {}", told.join(", "));
        t.error("corner_mm", what, "give the legs of the cut corners, not a radius or a diagonal, or correct the wafer's size");
    }
}

fn read_corners(t: &mut Reader) -> [f64; 4] {
    const EXPECTED: &str = "millimetres, 0 (a whole corner) to 100, one number or four in brackets, clockwise from leading left";
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "it holds something else than four numbers")]
    enum Corners {
        All(f64),
        Each([f64; 4]),
    }
    let corners_mm = match t.or("corner_mm", EXPECTED, Corners::All(0.0)) {
        Corners::All(leg_mm) => [leg_mm; 4],
        Corners::Each(legs_mm) => legs_mm,
    };
    if let Some(leg_mm) = corners_mm.iter().find(|leg_mm| !(0.0..=100.0).contains(*leg_mm)) {
        t.error("corner_mm", format!("has {leg_mm}, which is out of range"), format!("give {EXPECTED}"));
    }
    corners_mm
}

fn read_belt(t: &mut Reader, calibrated: bool, camera: &Camera, wafer: &Wafer) -> Belt {
    let gap = match &camera.kind {
        CameraKind::Simulated(SimulatedCamera { wafer: WaferKind::Laser, .. }) => GapKind::Bright,
        _ => GapKind::Dark,
    };
    let gap = t.or("gap", "\"dark\" or \"bright\"", gap);
    let (edge, back) = gap.usual_levels();
    let edge_level = t.number("edge_level", "a share of white, 0 to 1", 0.0..=1.0, edge);
    let gap_level = t.number("gap_level", "a share of white, 0 to 1", 0.0..=1.0, back);
    let (in_order, kind, at) = match gap {
        GapKind::Dark => (gap_level <= edge_level, "dark", "at most"),
        GapKind::Bright => (gap_level >= edge_level, "bright", "at least"),
    };
    if !in_order {
        t.error(
            "gap_level",
            format!("of {gap_level} lies on the wafer's side of `edge_level` ({edge_level}), with a {kind} gap"),
            format!("leave out both levels, which gives {edge} and {back}, or give `gap_level` {at} {edge_level}"),
        );
    }
    let scale = "millimetres, 0.001 to 10";
    let mut mm_per_px = t.optional_number("mm_per_px", scale, 0.001..=10.0);
    let mut mm_per_line = t.optional_number("mm_per_line", scale, 0.001..=10.0);
    // Sources that know how large they draw a wafer tell the scale themselves.
    let drawn_px = match &camera.kind {
        CameraKind::Simulated(simulated) => Some(f64::from(simulated.width_px) * SimulatedCamera::WAFER_SHARE),
        CameraKind::Files(files) if files.whole_cells => files.cell_px.map(f64::from),
        _ => None,
    };
    if let Some(px) = drawn_px {
        let own = wafer.width_mm.max(wafer.length_mm) / px;
        mm_per_px = mm_per_px.or(Some(own));
        mm_per_line = mm_per_line.or(Some(own));
    }
    if !calibrated && (mm_per_px.is_none() || mm_per_line.is_none()) {
        t.error(
            "mm_per_px",
            "is missing, and there is no `calibration`: the scale is unknown",
            "run `hairline calibrate` and name its file under `calibration`, or give `mm_per_px` and `mm_per_line`",
        );
    }
    Belt {
        gap,
        edge_level,
        gap_level,
        edge_lines: t.number("edge_lines", "a whole number of lines, 1 to 100", 1..=100, 3),
        skew_deg_max: t.number("skew_deg_max", "degrees, 0.2 (nothing lies straighter) to 5", 0.2..=5.0, 3.2),
        noise_share_max: t.number("noise_share_max", "a share of the cell's grey, 0.005 to 1 (never held for it)", 0.005..=1.0, 0.04),
        mm_per_px,
        mm_per_line,
    }
}
