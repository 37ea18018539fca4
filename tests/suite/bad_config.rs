//! Mistakes in the texts of configurations, recipes and calibrations: each is told with its key, place and remedy.

use crate::bad_input::{CHECK, RUN, change, refused};
use crate::station::{SIMULATED, hairline, station, told};
use hairline::nn::Checkpoint;

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
fn an_empty_recipe_starts_no_station() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    std::fs::write(folder.path().join("recipe.toml"), "").unwrap();
    for command in [CHECK, RUN] {
        refused(command, &config, &["recipe.toml", "`limits` sets no limit", "set at least longest_crack_mm"]);
    }
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
fn a_calibration_is_checked_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("line-1.calibration.toml");
    let text = "camera_id = \"Maker-Model-17\"\nwidth_px = 2\nmm_per_px = 0.14\nmm_per_line = 0.14\nmade = \"2026-01-01T00:00:00Z\"\n\
        dark = [0.01, 0.01]\nflat = [1.0, 1.0]\n";
    std::fs::write(&file, text).unwrap();
    let output = hairline(CHECK).arg(&file).output().unwrap();
    let said = told(&output);
    assert!(output.status.success() && said.contains("good; the calibration of the camera \"Maker-Model-17\", 2 px wide"), "{said}");
    std::fs::write(&file, text.replace("flat = [1.0, 1.0]", "flat = [1.0]")).unwrap();
    refused(CHECK, &file, &["line-1.calibration.toml", "`flat` has 1 values, expected 2", "run `hairline calibrate` again"]);
    assert_eq!(hairline(CHECK).arg(&file).status().unwrap().code(), Some(64));
}

#[test]
fn what_is_wrong_in_a_list_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), &SIMULATED.replace("seed = 3", "seed = -1\nwafers = -1").replace("[[2, 64]]", "[[13]]"));
    change(&config, "device = \"cpu\"", "cpus = [0, -1]");
    change(&config, "format = \"M10\"", "format = \"M10\"\ncorner_mm = [1.0, 2.0]");
    let parts = [
        "`network.cpus` is a list: invalid value: integer `-1`",
        "`lane[0].camera.lose_lines` is a list: invalid length 1",
        "`lane[0].wafer.corner_mm` is a list: it holds something else than four numbers",
        "give a whole number, 0 or more",
        "give a whole number, 0 (for ever) to 1000000000",
    ];
    refused(CHECK, &config, &parts);
}
