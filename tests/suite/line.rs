//! The whole line as its users run it: the program, its configuration, its ledger and its exit codes.

use crate::loopback::{LineCamera, cell_pictures, in_loopback};
use crate::station::{Running, SIMULATED, hairline, pipeline, station, tiny_model, tiny_model_of, told, verdicts};
use hairline::nn::Architecture;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[test]
fn every_cell_gets_one_verdict_in_order_and_lost_lines_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let output = hairline(&["run", "--cells", "4", "--config", config.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let verdicts = verdicts(folder.path());
    let numbers: Vec<u64> = verdicts.iter().filter_map(|v| v["number"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "{}", told(&output));
    for verdict in &verdicts {
        let lost = verdict["number"] == 2;
        assert_eq!(verdict["verdict"] == "hold", lost, "{verdict}");
        assert_eq!(verdict["hold"]["reason"] == "lines_lost", lost, "{verdict}");
        assert_eq!(verdict["recorded"], true);
    }
}

#[test]
fn a_station_that_is_told_to_stop_gives_its_verdicts_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let mut running = Running(hairline(&["run", "--config", config.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    // By then it listens, and the second cell is under its camera.
    let (mut ready, mut second) = (false, false);
    while !(ready && second) {
        let line = log.next().expect("it says so");
        ready |= line.trim_end().ends_with("ready");
        second |= line.contains("lines lost");
    }
    // Whatever else it says is read away, so that it never waits for us.
    std::thread::spawn(move || log.for_each(drop));
    Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().unwrap();
    let status = end(&mut running);
    assert!(status.success(), "{status}");
    let numbers: Vec<u64> = verdicts(folder.path()).iter().filter_map(|v| v["number"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() >= 2, "the cell under the camera has none: {numbers:?}");
}

/// How a station that is to stop ends.
fn end(running: &mut Running) -> ExitStatus {
    let asked = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            return status;
        }
        assert!(asked.elapsed() < Duration::from_secs(120), "the station does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_camera_that_hangs_while_it_starts_holds_up_neither_the_other_lane_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    // To open it waits for whoever writes, who never comes.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let hangs = pipeline(&format!("filesrc location={} ! rawvideoparse width=1500 height=128 format=gray8", pipe.display()));
    let config = station(folder.path(), &format!("{hangs}[[lane]]\nname = \"b\"\nrecipe = \"recipe.toml\"\n{SIMULATED}"));
    let run = ["run", "--cells", "1", "--config", config.to_str().unwrap()];
    let mut running = Running(hairline(&run).stderr(Stdio::null()).spawn().unwrap());
    let status = end(&mut running);
    assert!(status.success(), "{status}");
}

#[test]
fn a_reloaded_recipe_that_is_empty_is_refused_and_one_that_says_it_sets_no_limit_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let mut running = Running(hairline(&["run", "--config", config.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap());
    let (id, log) = (running.0.id().to_string(), BufReader::new(running.0.stderr.take().unwrap()));
    let reload = |text: &str| {
        std::fs::write(folder.path().join("recipe.toml"), text).unwrap();
        Command::new("kill").args(["-HUP", &id]).status().unwrap();
    };
    let (mut refused, mut warned, mut reloaded, begun) = (false, false, false, Instant::now());
    for line in log.lines().map_while(Result::ok) {
        assert!(begun.elapsed() < Duration::from_secs(120), "the recipe is not read again");
        if line.trim_end().ends_with("ready") {
            reload("");
        }
        if line.contains("the old recipe stays") {
            refused = true;
            reload("name = \"nolimits\"\nthreshold = 0.99\nlimits = {}\n");
        }
        warned |= refused && line.contains("warning: `limits` sets no limit, so no crack ever rejects a cell");
        if line.contains("recipe reloaded") {
            reloaded = true;
            Command::new("kill").args(["-TERM", &id]).status().unwrap();
        }
    }
    running.0.wait().unwrap();
    assert!(refused && reloaded && warned, "refused: {refused}, reloaded: {reloaded}, warned: {warned}");
}

#[test]
fn a_recipe_has_the_precision_it_asks_for_when_the_station_starts_and_no_other_later() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    let recipe = folder.path().join("recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    let ask_for = |precision| std::fs::write(&recipe, format!("precision = \"{precision}\"\n{text}")).unwrap();

    ask_for("int8");
    let checked = hairline(&["check", config.to_str().unwrap()]).output().unwrap();
    assert!(!checked.status.success() && told(&checked).contains("recipe.toml:1: error: `precision`"), "{}", told(&checked));

    // A network that int8 is not for runs in a finer precision, and is warned of.
    tiny_model_of(folder.path(), Architecture::PspNet);
    let checked = hairline(&["check", config.to_str().unwrap()]).output().unwrap();
    let said = told(&checked);
    assert!(checked.status.success() && said.contains("recipe.toml:1: warning: `precision`") && said.contains("PSPNet"), "{said}");
    tiny_model(folder.path());

    ask_for("f32");
    let mut running = Running(hairline(&["run", "--config", config.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap());
    let (id, log) = (running.0.id().to_string(), BufReader::new(running.0.stderr.take().unwrap()));
    let (mut warm, mut refused, begun) = (String::new(), false, Instant::now());
    for line in log.lines().map_while(Result::ok) {
        assert!(begun.elapsed() < Duration::from_secs(120), "the recipe is not read again");
        if line.contains("U-Net") {
            warm.clone_from(&line);
        }
        if line.trim_end().ends_with("ready") {
            ask_for("bf16");
            Command::new("kill").args(["-HUP", &id]).status().unwrap();
        }
        if line.contains("restart the station") {
            refused = true;
            Command::new("kill").args(["-TERM", &id]).status().unwrap();
        }
    }
    running.0.wait().unwrap();
    assert!(refused && warm.contains("f32-grade (") && warm.contains("f32 ("), "refused: {refused}, warm: {warm}");
}

#[test]
fn check_tells_every_mistake_at_once_and_exits_64() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), "deadline = 3\n[lane.camera]\nkind = \"simulatd\"\n[lane.wafer]\nformat = \"M99\"\n");
    let output = hairline(&["check", config.to_str().unwrap()]).output().unwrap();
    let told = told(&output);
    assert_eq!(output.status.code(), Some(64), "{told}");
    for part in ["`lane[0].deadline`", "`lane[0].camera.kind`", "`lane[0].wafer.format`", "remedy: "] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}

#[test]
fn a_missing_model_is_told_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    std::fs::remove_file(folder.path().join("tiny.safetensors")).unwrap();
    for command in [vec!["check"], vec!["run", "--config"]] {
        let output = hairline(&command).arg(&config).output().unwrap();
        assert!(!output.status.success());
        assert!(told(&output).contains("network.model"), "{}", told(&output));
    }
}

#[test]
fn real_cells_under_a_real_camera_are_each_seen_where_they_are() {
    real_cells("line::real_cells_under_a_real_camera_are_each_seen_where_they_are", 54, 0.0);
}

#[test]
fn real_cells_that_lie_turned_are_seen_where_they_are() {
    real_cells("line::real_cells_that_lie_turned_are_seen_where_they_are", 54, 1.5);
}

#[test]
fn real_cells_at_the_largest_skew_are_seen_where_they_are() {
    real_cells("line::real_cells_at_the_largest_skew_are_seen_where_they_are", 27, 3.0);
}

/// Shows real cells, turned by `skew_deg`, to the program over GigE Vision and holds its verdicts against the camera's log.
fn real_cells(test: &str, cells: usize, skew_deg: f64) {
    in_loopback(test, || {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("truth.jsonl");
        // The queue of blocks has room for all lines that show cells, however slow whoever takes them is.
        let lane = "deadline_ms = 60000\nqueue_blocks = 1024\nqueue_rows = 300\n[lane.camera]\nkind = \"gige\"\nid = \"Aravis-Fake-LINE01\"\nwidth_px = 1420\n\
            line_rate_hz = 4000\nblock_lines = 128\n[lane.wafer]\nwidth_mm = 156\nlength_mm = 156\ntolerance_mm = 12\n\
            [lane.belt]\nmm_per_px = 0.12\nmm_per_line = 0.12\n";
        let config = station(folder.path(), lane);
        let camera = format!("--serial LINE01 --width 1420 --cell-px 1300 --skew-deg {skew_deg} --cells {cells} --log {}", log.display());
        let _camera = LineCamera::start(&camera, &cell_pictures());
        let output = hairline(&["run", "--cells", &cells.to_string(), "--config", config.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        let passed: Vec<serde_json::Value> =
            std::fs::read_to_string(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let seen = verdicts(folder.path());
        assert_eq!((seen.len(), passed.len()), (cells, cells), "{}", told(&output));
        for (verdict, truth) in seen.iter().zip(&passed) {
            assert_ne!(verdict["hold"]["reason"], "lines_lost", "{verdict}");
            let first = verdict["geometry"]["first_line"].as_i64().unwrap_or(-1000);
            let off = first - truth["first_line"].as_i64().unwrap();
            assert!(off.abs() <= 2, "off by {off} lines: {truth}\n{verdict}");
        }
    });
}
