//! What users get wrong: each mistake ends in an error that names the thing and the remedy.

use crate::station::{SIMULATED, hairline, station, told};
use std::net::TcpListener;
use std::path::Path;

const CELLS: &str = "[lane.camera]\nkind = \"files\"\npath = \"cells\"\ncell_px = 1300\n[lane.wafer]\nformat = \"M10\"\n";

/// Runs the program on a station and expects it to fail, saying all of `parts`.
#[track_caller]
pub(super) fn refused(arguments: &[&str], config: &Path, parts: &[&str]) {
    let output = hairline(arguments).arg(config).output().unwrap();
    let told = told(&output);
    assert!(!output.status.success(), "{arguments:?} took it:\n{told}");
    assert!(!told.contains("panicked"), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in what {arguments:?} said:\n{told}");
    }
}

pub(super) const CHECK: &[&str] = &["check"];
pub(super) const RUN: &[&str] = &["run", "--cells", "1", "--config"];

/// Replaces `from` in a station's configuration.
pub(super) fn change(config: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{from} is not in\n{text}");
    std::fs::write(config, text.replace(from, to)).unwrap();
}

#[test]
fn a_recording_that_is_missing_or_empty_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), CELLS);
    for command in [CHECK, RUN] {
        refused(command, &config, &["cells", "expected a folder of pictures or one picture"]);
    }
    std::fs::create_dir(folder.path().join("cells")).unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["cells", "holds no picture", "png, jpg"]);
    }
}

#[test]
fn pictures_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), CELLS);
    let cells = folder.path().join("cells");
    std::fs::create_dir(&cells).unwrap();
    std::fs::write(cells.join("cell-1.png"), b"no picture at all").unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["cell-1.png", "expected a PNG, JPEG or TIFF"]);
    }
    image::RgbImage::new(40, 40).save(cells.join("cell-1.png")).unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["cell-1.png", "3 channels", "convert it to grey"]);
    }
}

#[test]
fn a_model_for_another_pixel_pitch_is_told_with_both_pitches() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    change(&config, "format = \"M10\"", "width_mm = 480\nlength_mm = 480");
    for command in [CHECK, RUN] {
        refused(command, &config, &["0.357 mm per pixel", "0.050 to 0.300", "use a model trained for this wafer size"]);
    }
}

#[test]
fn a_file_that_is_no_model_is_told_with_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    std::fs::write(folder.path().join("tiny.safetensors"), b"PK\x03\x04 something else").unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["tiny.safetensors", "no safetensors file", "train import"]);
        let code = hairline(command).arg(&config).status().unwrap().code();
        assert_eq!(code, Some(64), "starting again would not help, which the service must know");
    }
}

#[test]
fn a_model_with_one_flipped_bit_judges_no_cell() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let model = folder.path().join("tiny.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    // The sign of the last weight: still a number.
    *bytes.last_mut().unwrap() ^= 0x80;
    std::fs::write(&model, bytes).unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["tiny.safetensors", "damaged", "copy it again"]);
    }
}

#[test]
fn a_calibration_of_another_camera_or_width_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lane = "calibration = \"lane.calibration.toml\"\ndeadline_ms = 300\n[lane.camera]\nkind = \"gige\"\nid = \"Maker-Model-17\"\n\
        width_px = 64\nline_rate_hz = 5000\nblock_lines = 32\n[lane.wafer]\nformat = \"M10\"\n";
    let config = station(folder.path(), lane);
    let calibration = |camera: &str, width_px: usize| {
        let numbers = |v: &str| vec![v; width_px].join(", ");
        let text = format!(
            "camera_id = \"{camera}\"\nwidth_px = {width_px}\nmm_per_px = 0.14\nmm_per_line = 0.14\nmade = \"2026-01-01T00:00:00Z\"\n\
             dark = [{}]\nflat = [{}]\n",
            numbers("0.01"),
            numbers("1.0")
        );
        std::fs::write(folder.path().join("lane.calibration.toml"), text).unwrap();
    };
    calibration("Maker-Model-4", 64);
    refused(CHECK, &config, &["Maker-Model-4", "Maker-Model-17", "hairline calibrate"]);
    calibration("Maker-Model-17", 48);
    refused(CHECK, &config, &["lines of 48 px", "gives 64 px", "hairline calibrate"]);
    std::fs::write(folder.path().join("lane.calibration.toml"), "dark = 3\n").unwrap();
    refused(CHECK, &config, &["lane.calibration.toml", "is no calibration"]);
}

#[test]
fn a_port_in_use_is_told_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (key, from) in [("publish.feed", "feed = \"tcp://127.0.0.1:*\""), ("publish.requests", "requests = \"tcp://127.0.0.1:*\"")] {
        let config = station(folder.path(), SIMULATED);
        change(&config, from, &from.replace('*', &port.to_string()));
        refused(RUN, &config, &[key, &port.to_string(), "use"]);
    }
    let config = station(folder.path(), SIMULATED);
    change(&config, "127.0.0.1:0", &format!("127.0.0.1:{port}"));
    refused(RUN, &config, &["http.listen", &port.to_string(), "use"]);
}

#[test]
fn a_ledger_that_cannot_be_written_is_told_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    // A file where the folder should be: root may write everywhere else.
    std::fs::write(folder.path().join("ledger"), b"").unwrap();
    refused(CHECK, &config, &["station.toml:3", "station.data_dir", "which is no folder"]);
    refused(RUN, &config, &["station.data_dir", "a file stands where the folder should be"]);
}

#[test]
fn files_are_looked_at_also_where_the_configuration_has_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), &SIMULATED.replace("seed = 3", "sed = 3"));
    std::fs::write(folder.path().join("recipe.toml"), "hold_gat = \"open\"\n").unwrap();
    std::fs::remove_file(folder.path().join("tiny.safetensors")).unwrap();
    refused(CHECK, &config, &["`lane[0].camera.sed`", "`hold_gat`", "station.toml:5: error: `network.model`"]);
}

#[test]
fn an_empty_path_is_no_path_and_a_missing_recipe_is_told_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let text = std::fs::read_to_string(&config).unwrap();
    change(&config, "data_dir = \"ledger\"", "data_dir = \"\"");
    change(&config, "\"tiny.safetensors\"", "\"\"");
    change(&config, "\"recipe.toml\"\n", "\"\"\ncalibration = \"\"\n");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + "[album]\ndir = \"\"\n").unwrap();
    let keys =
        ["station.data_dir", "network.model", "album.dir", "lane[0].recipe", "lane[0].calibration"].map(|key| format!("`{key}` is empty"));
    // Told by its name alone, as from within its folder: the empty path then led nowhere.
    let output = hairline(CHECK).arg("station.toml").current_dir(folder.path()).output().unwrap();
    assert!(!output.status.success() && keys.iter().all(|key| told(&output).contains(key)), "{}", told(&output));

    std::fs::write(&config, text.replace("recipe.toml", "nope.toml")).unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["station.toml:14: error: `lane[0].recipe` leads to", "nope.toml, which cannot be read"]);
    }
}

#[test]
fn a_scale_that_cannot_be_is_told_with_its_own_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), &format!("{SIMULATED}[lane.belt]\nmm_per_line = 9\n"));
    refused(CHECK, &config, &["`lane[0].belt.mm_per_line`", "9 mm", "20 camera lines", "correct it"]);
}

#[test]
fn a_line_without_gap_beside_the_wafer_is_refused_or_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    // M10 at 0.14 mm is 1300 px wide; turned by 1.5° it takes 1333.6.
    let lane = |width_px: u32| {
        let camera = SIMULATED.replace("[lane.wafer]", &format!("width_px = {width_px}\n[lane.wafer]"));
        station(folder.path(), &format!("{camera}[lane.belt]\nmm_per_px = 0.14\nmm_per_line = 0.14\n"))
    };
    let takes = [
        "`lane[0].belt.mm_per_px` gives 0.1400 mm",
        "takes 1304 px",
        "the line has 1301: every one of that size is held",
        "see more of the belt",
    ];
    refused(CHECK, &lane(1301), &takes);
    let output = hairline(CHECK).arg(lane(1335)).output().unwrap();
    let said = told(&output);
    assert!(
        output.status.success() && said.contains("`lane[0].camera.skew_deg_max` is 1.5: a wafer turned so far takes 1338 px"),
        "{said}"
    );
    let said = told(&hairline(CHECK).arg(lane(1338)).output().unwrap());
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn a_camera_coarser_than_the_model_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let coarse = "[lane.belt]\nmm_per_px = 0.14\nmm_per_line = 0.54\n";
    let config = station(
        folder.path(),
        &SIMULATED.replace("[lane.wafer]", "width_px = 1500\n[lane.wafer]").replace("\"M10\"\n", &format!("\"M10\"\n{coarse}")),
    );
    let output = hairline(CHECK).arg(&config).output().unwrap();
    let said = told(&output);
    assert!(output.status.success() && said.contains("`lane[0].belt.mm_per_line` gives 0.540 mm for a camera line"), "{said}");
    change(&config, "0.54", "0.14");
    let said = told(&hairline(CHECK).arg(&config).output().unwrap());
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn a_calibration_takes_no_files_place() {
    let folder = tempfile::tempdir().unwrap();
    for (option, file) in [("--out", "calibration.toml"), ("--picture", "calibration.png")] {
        let there = folder.path().join(file);
        std::fs::write(&there, "the one in use").unwrap();
        let output = hairline(&["calibrate", "--wafer-mm", "M10"]).current_dir(folder.path()).output().unwrap();
        let said = told(&output);
        assert!(
            !output.status.success() && said.contains(&format!("{option} {file}: exists already")) && !said.contains("missing"),
            "{said}"
        );
        std::fs::remove_file(there).unwrap();
    }
}

#[test]
fn a_calibration_that_could_not_be_written_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (places, part) in [
        (&["--picture", "a"], "--picture a: its name ends like no picture's; give one of .png"),
        (&["--picture", "a.toml"], "--picture a.toml: its name ends like no picture's"),
        (&["--picture", "./calibration.toml"], "--out and --picture are both calibration.toml"),
        (&["--out", "nowhere/a.toml"], "--out nowhere/a.toml: its folder does not exist"),
        (&["--picture", "file/a.png"], "--picture file/a.png: its folder does not exist"),
    ] {
        let output = hairline(&["calibrate", "--wafer-mm", "M10"]).args(places).current_dir(folder.path()).output().unwrap();
        let said = told(&output);
        assert!(!output.status.success() && said.contains(part) && !said.contains("missing"), "{said}");
    }
    let output = hairline(&["calibrate", "--wafer-mm", "M10", "--picture", "A.PNG"]).current_dir(folder.path()).output().unwrap();
    assert!(told(&output).contains("--wafer missing"), "{}", told(&output));
}

#[test]
fn a_gstreamer_fragment_is_checked_before_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let lane = |fragment: &str| {
        format!(
            "deadline_ms = 300\n[lane.camera]\nkind = \"gstreamer\"\nfragment = \"{fragment}\"\nline_rate_hz = 5000\nblock_lines = 32\n\
             [lane.wafer]\nformat = \"M10\"\n[lane.belt]\nmm_per_px = 0.14\nmm_per_line = 0.14\n"
        )
    };
    let config = station(folder.path(), &lane("nosuchsource ! videoconvert"));
    refused(CHECK, &config, &["lane[0].camera", "nosuchsource"]);
    let config = station(folder.path(), &lane("videotestsrc ! video/x-raw,format=RGB"));
    refused(CHECK, &config, &["lane[0].camera", "grey"]);
    let twice = format!("{}[[lane]]\nname = \"b\"\nrecipe = \"recipe.toml\"\n{}", lane("videotestsrc"), lane("videotestsrc"));
    refused(CHECK, &station(folder.path(), &twice), &["two lanes on the camera", "videotestsrc", "\"b\""]);
}

#[test]
fn a_live_stream_that_ends_is_an_error_so_that_the_service_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let lane = "deadline_ms = 3000\n[lane.camera]\nkind = \"gstreamer\"\n\
        fragment = \"videotestsrc num-buffers=3 ! video/x-raw,format=GRAY8,width=256,height=32\"\nline_rate_hz = 5000\nblock_lines = 32\n\
        [lane.wafer]\nformat = \"M10\"\n[lane.belt]\nmm_per_px = 0.14\nmm_per_line = 0.14\n";
    let output = hairline(&["run", "--config"]).arg(station(folder.path(), lane)).output().unwrap();
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("lane \"a\"") && told.contains("stream has ended"), "{told}");
}
