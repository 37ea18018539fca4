//! From cells on the belt to a training on them, as a process engineer does it.

use crate::station::{Running, SIMULATED, hairline, station, told};
use hairline::cell::{CELL_PX, Mask, mask_png};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the station says that it serves; whatever else it says is read away, so that it never waits for us.
fn address(log: ChildStderr) -> String {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.contains("serving").then(|| line.rsplit_once("http=").unwrap().1.trim().to_owned()));
    std::thread::spawn(move || lines.for_each(drop));
    address.expect("the station says where it serves")
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_people_say_of_cells_becomes_a_folder_to_train_on() {
    let folder = tempfile::tempdir().unwrap();
    // A cell a second, so that the disk keeps up with them.
    let config = station(folder.path(), &SIMULATED.replace("seed = 3", "seed = 3\nline_rate_hz = 1500"));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[album]\ndir = \"album\"\npassed_every = 1\n")).unwrap();
    let arguments = ["run", "--config", config.to_str().unwrap()];
    let mut running = Running(hairline(&arguments).stderr(Stdio::piped()).spawn().unwrap());
    let address = address(running.0.stderr.take().unwrap());

    // The way to this machine leads through no proxy, whatever the environment says of proxies.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let at = |path: &str| format!("http://{address}{path}");
    let metrics = agent.get(at("/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    let model = metrics.lines().find(|line| line.starts_with("hairline_model_info{")).unwrap();
    assert!(model.contains("shape=\"U-Net, base width ") && model.contains(" on the CPU, "), "{model}");
    let mut crack = Mask::new(CELL_PX, CELL_PX);
    (300..360).for_each(|x| (600..604).for_each(|y| crack.set(x, y, true)));
    let crack = mask_png::encode(&crack).unwrap();
    // The second cell loses lines: nobody has seen it whole.
    for number in [1, 3, 4, 5] {
        let picture = at(&format!("/review/a/{number}/picture.png"));
        wait_for("no picture", || agent.get(&picture).call().is_ok_and(|response| response.status() == 200));
        let (kind, body) =
            if number < 5 { ("image/png", crack.as_slice()) } else { ("application/json", &br#"{"truth": "no_defect"}"#[..]) };
        // Told again where the disk was too slow for once.
        wait_for("the truth is not kept", || {
            let mut answer = agent.post(at(&format!("/review/a/{number}"))).content_type(kind).send(body).unwrap();
            answer.body_mut().read_to_string().unwrap().contains("\"in_album\":true")
        });
    }
    let mut refused = agent.get(at("/review/a/2/picture.png")).call().unwrap();
    assert_eq!(refused.status(), 404);
    assert!(refused.body_mut().read_to_string().unwrap().contains("a/2"));
    Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().unwrap();
    wait_for("the station does not stop", || running.0.try_wait().unwrap().is_some());

    let album = folder.path().join("album");
    assert_eq!([files(&album.join("images")), files(&album.join("masks"))], [4, 4]);
    let mut fit = Command::new(env!("CARGO_BIN_EXE_train"));
    fit.current_dir(folder.path()).args(["fit", "--data", "album", "--run", "run", "--base-width", "2", "--crop", "64", "--steps", "2"]);
    let output = fit.args(["--validation-share", "0.5", "--device", "cpu", "--threads", "1"]).output().unwrap();
    assert!(output.status.success() && told(&output).contains("2 pictures to learn from"), "{}", told(&output));
}

#[test]
fn an_album_that_cannot_be_made_starts_no_station_and_is_told_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = station(folder.path(), SIMULATED);
    std::fs::write(folder.path().join("taken"), "a file").unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[album]\ndir = \"taken\"\n")).unwrap();
    let output = hairline(&["run", "--cells", "1", "--config", config.to_str().unwrap()]).output().unwrap();
    assert!(!output.status.success() && told(&output).contains("album.dir"), "{}", told(&output));
}
