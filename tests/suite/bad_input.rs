//! What users get wrong: each mistake ends in an error that names the thing and the remedy.

use crate::station::{SIMULATED, hairline, station, told};
use hairline::nn::Checkpoint;
use std::net::TcpListener;
use std::path::Path;

const CELLS: &str = "[lane.camera]\nkind = \"files\"\npath = \"cells\"\ncell_px = 1300\n[lane.wafer]\nformat = \"M10\"\n";

/// Runs the program on a station and expects it to fail, saying all of `parts`.
#[track_caller]
fn refused(arguments: &[&str], config: &Path, parts: &[&str]) {
    let output = hairline(arguments).arg(config).output().unwrap();
    let told = told(&output);
    assert!(!output.status.success(), "{arguments:?} took it:\n{told}");
    assert!(!told.contains("panicked"), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in what {arguments:?} said:\n{told}");
    }
}

const CHECK: &[&str] = &["check"];
const RUN: &[&str] = &["run", "--cells", "1", "--config"];

/// Replaces `from` in a station's configuration.
fn change(config: &Path, from: &str, to: &str) {
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
fn line_rates_and_units_that_make_no_sense_are_told_with_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    for (value, parts) in [
        ("line_rate_hz = 0.0", ["line_rate_hz", "1 to 1000000"]),
        ("line_rate_hz = 1e12", ["line_rate_hz", "1 to 1000000"]),
        ("line_rate_hz = \"5 kHz\"", ["line_rate_hz", "1 to 1000000"]),
        ("line_rate_khz = 5", ["line_rate_khz", "line_rate_hz"]),
    ] {
        let config = station(folder.path(), &SIMULATED.replace("seed = 3", value));
        refused(CHECK, &config, &parts);
    }
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
fn two_sockets_on_one_port_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    change(&config, "feed = \"tcp://127.0.0.1:*\"", "feed = \"tcp://*:5999\"");
    change(&config, "listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:5999\"");
    refused(CHECK, &config, &["port 5999", "`http.listen`", "`publish.feed`"]);
    change(&config, "tcp://*:5999", "tcp://127.0.0.2:5999");
    assert!(hairline(CHECK).arg(&config).status().unwrap().success(), "one port on two addresses is no mistake");
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
fn names_and_formats_that_say_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lane = "deadline_ms = 5\n[lane.camera]\nkind = \"gige\"\nid = \"\"\npixel_format = \"RGB8\"\nline_rate_hz = 5000\n[lane.wafer]\n\
        format = \"M10\"\n[lane.belt]\ngap = \"bright\"\nedge_level = 0.9\ngap_level = 0.1\nmm_per_px = 0.14\nmm_per_line = 0.14\n";
    let config = station(folder.path(), lane);
    change(&config, "name = \"test\"", "name = \" \"");
    let keys = ["`station.name`", "`lane[0].camera.id` is empty", "`lane[0].camera.pixel_format` is \"RGB8\"", "0.93 and 0.955"];
    refused(CHECK, &config, &keys);
    let output = hairline(CHECK).arg(&config).output().unwrap();
    assert_eq!(told(&output).matches("deadline_ms").count(), 1, "{}", told(&output));
}

#[test]
fn a_recipe_is_checked_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("product.toml");
    std::fs::write(&recipe, "threshold = 7\n[limits]\nlongest_crack_mm = 2\n").unwrap();
    refused(CHECK, &recipe, &["product.toml:1", "`threshold` is 7", "0.01 to 0.99"]);
    std::fs::write(&recipe, "name = \"x\"\nthreshold = 0.9\n").unwrap();
    refused(CHECK, &recipe, &["`limits` sets no limit", "no crack ever rejects", "`limits = {}`"]);
    std::fs::write(&recipe, "name = \"x\"\nthreshold = 0.9\nlimits = {}\n").unwrap();
    let output = hairline(CHECK).arg(&recipe).output().unwrap();
    let told = told(&output);
    assert!(output.status.success() && told.contains("no crack ever rejects") && told.contains("the recipe \"x\""), "{told}");
}

#[test]
fn a_recipe_without_its_tables_is_no_station_and_what_is_neither_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("product.toml");
    for (text, parts) in [
        ("longest_crack_mm = 2\n", ["`longest_crack_mm` is no key", "set at least longest_crack_mm under [limits]"]),
        ("name = \"x\"\n[limit]\ncount = 1\n", ["did you mean `limits`?", "`limits` sets no limit"]),
        ("name = \"x\"\n", ["`limits` sets no limit", "[limits]"]),
        ("[limit]\ncount = 1\n", ["is neither a station's configuration nor a recipe", "[network] and [[lane]]"]),
        ("", ["is neither a station's configuration nor a recipe", "[limits]"]),
    ] {
        std::fs::write(&file, text).unwrap();
        refused(CHECK, &file, &parts);
        let said = told(&hairline(CHECK).arg(&file).output().unwrap());
        assert!(!said.contains("`network.model`") && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn keys_of_another_kind_of_camera_are_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let left = "buffers = 32\nid = \"CAM\"\nfragment = \"fakesrc\"\nsed = 1\ngap_lines = 120\n[lane.wafer]";
    let config = station(folder.path(), &SIMULATED.replace("[lane.wafer]", left));
    let parts = [
        "`lane[0].camera.id` belongs to `kind` = \"gige\"; this camera is \"simulated\"",
        "`lane[0].camera.buffers` belongs to",
        "`lane[0].camera.fragment` belongs to `kind` = \"gstreamer\"",
        "`lane[0].camera.sed` is no key that Hairline knows",
    ];
    refused(CHECK, &config, &parts);
    let said = told(&hairline(CHECK).arg(&config).output().unwrap());
    assert!(!said.contains("gap_lines` ") && said.matches("remedy: remove it\n").count() == 3, "{said}");
}

#[test]
fn an_address_on_which_the_review_page_cannot_be_reached_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let warned = |listen: &str| {
        let config = station(folder.path(), SIMULATED);
        change(&config, "listen = \"127.0.0.1:0\"", &format!("listen = \"{listen}\""));
        let output = hairline(CHECK).arg(&config).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        told(&output).contains("the review page, which answers as 127.0.0.1 only, cannot be reached")
    };
    assert!(warned("192.0.2.7:9464") && warned("[2001:db8::1]:9464"));
    assert!(["0.0.0.0:9464", "[::]:9464", "[::1]:9464", "127.0.0.2:9464"].iter().all(|listen| !warned(listen)));
}

#[test]
fn a_shipped_model_in_the_other_ones_light_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let noted = |model: &str, gap: &str| {
        let lane = format!("[lane.camera]\nkind = \"simulated\"\n[lane.wafer]\nformat = \"M10\"\n[lane.belt]\ngap = \"{gap}\"\n");
        let config = station(folder.path(), &lane);
        let file = folder.path().join("tiny.safetensors");
        let mut checkpoint = Checkpoint::load(&file).unwrap();
        checkpoint.meta.name = model.into();
        checkpoint.save(&file).unwrap();
        let output = hairline(CHECK).arg(&config).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        told(&output)
    };
    let laser = noted("crack-unet8", "dark");
    assert!(laser.contains("note: `lane[0].belt.gap` is \"dark\"") && laser.contains("name crack-el-unet8.safetensors"), "{laser}");
    let el = noted("crack-el-unet8", "bright");
    assert!(el.contains("note: `lane[0].belt.gap` is \"bright\"") && el.contains("name crack-unet8.safetensors"), "{el}");
    for (model, gap) in [("crack-unet8", "bright"), ("crack-el-unet8", "dark"), ("line-1", "bright"), ("line-1", "dark")] {
        assert!(!noted(model, gap).contains("note:"), "{model}, {gap}");
    }
}

#[test]
fn a_number_out_of_its_type_is_told_with_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), &SIMULATED.replace("seed = 3", "gap_lines = -1\nwafers = 2.5"));
    change(&config, "device = \"cpu\"", "threads = -1");
    let parts = [
        "`network.threads` is the number -1",
        "give a whole number of CPU threads, 0 (all) to 256",
        "`lane[0].camera.gap_lines` is the number -1",
        "`lane[0].camera.wafers` is the number 2.5",
    ];
    refused(CHECK, &config, &parts);
    assert!(!told(&hairline(CHECK).arg(&config).output().unwrap()).contains("usize"));
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
fn an_empty_recipe_starts_no_station() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    std::fs::write(folder.path().join("recipe.toml"), "").unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["recipe.toml", "`limits` sets no limit", "set at least longest_crack_mm"]);
    }
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
fn features_of_a_camera_keep_their_order_so_a_table_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lane = "deadline_ms = 300\n[lane.camera]\nkind = \"gige\"\nid = \"Maker-Model-17\"\nline_rate_hz = 5000\nblock_lines = 32\n\
        [lane.camera.features]\nTriggerMode = \"On\"\n[lane.wafer]\nformat = \"M10\"\n\
        [lane.belt]\nmm_per_px = 0.14\nmm_per_line = 0.14\n";
    refused(CHECK, &station(folder.path(), lane), &["features", "[[\"TriggerSelector\", \"LineStart\"]"]);
    let list = lane
        .replace("[lane.camera.features]\nTriggerMode = \"On\"", "features = [[\"TriggerSelector\", \"LineStart\"], [\"TriggerMode\", 1]]");
    let output = hairline(CHECK).arg(station(folder.path(), &list)).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
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
