use super::lane::read_lane;
use super::{
    Album, CameraKind, DeviceChoice, Http, Lane, Network, Precision, Problems, Publish, Reader, Review, Station, Threads, read_document,
};
use crate::cell::{CELL_PX, Span};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A whole, validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct StationConfig {
    /// The file it was read from.
    pub file: PathBuf,
    /// `[station]`
    pub station: Station,
    /// `[network]`
    pub network: Network,
    /// `[publish]`
    pub publish: Publish,
    /// `[http]`
    pub http: Http,
    /// `[review]`
    pub review: Review,
    /// `[album]`, where it names a folder.
    pub album: Option<Album>,
    /// `[[lane]]`, at least one.
    pub lanes: Vec<Lane>,
}

impl StationConfig {
    /// Reads and validates `file`. Without errors the configuration comes with its warnings.
    pub fn load(file: &Path) -> Result<(Self, Problems), Problems> {
        without_errors(Self::read(file))
    }

    /// The same for cameras that are to be calibrated: that a lane's scale is unknown is no mistake.
    pub fn load_to_calibrate(file: &Path) -> Result<(Self, Problems), Problems> {
        without_errors(read_document(file, |root| read_station(root, true)))
    }

    /// Reads `file` as far as it can be read: what is missing or wrong has its default, paths are empty. Where the problems have
    /// errors it is good for looking at the files it names, not for running it. `None`: it is no TOML file.
    pub fn read(file: &Path) -> (Option<Self>, Problems) {
        read_document(file, |root| read_station(root, false))
    }
}

fn without_errors((config, problems): (Option<StationConfig>, Problems)) -> Result<(StationConfig, Problems), Problems> {
    match config {
        Some(config) if !problems.has_errors() => Ok((config, problems)),
        _ => Err(problems),
    }
}

fn read_station(root: &mut Reader, to_calibrate: bool) -> StationConfig {
    let station = root.table("station", |t| {
        let name: String = t.or("name", "the station's name in quotes", "hairline".to_owned());
        if name.trim().is_empty() {
            t.error("name", "is empty", "give a name that tells this station from others, or leave it out");
        }
        Station {
            name,
            data_dir: t.optional_path("data_dir", "a folder in quotes").unwrap_or_else(|| PathBuf::from("/var/lib/hairline")),
            keep_days: t.number("keep_days", "a whole number of days, 1 to 3650", 1..=3650, 30),
        }
    });
    let network = root.table("network", |t| Network {
        model: t
            .required_path("model", "the path of a checkpoint (.safetensors), such as \"models/crack.safetensors\"")
            .unwrap_or_default(),
        device: read_device(t),
        threads: Threads { count: t.number("threads", "a whole number of CPU threads, 0 (all) to 256", 0..=256, 0), cpus: read_cpus(t) },
        precision: t.or("precision", Precision::EXPECTED, Precision::default()),
    });
    let publish = root.table("publish", |t| Publish {
        feed: read_endpoint(t, "feed", "tcp://127.0.0.1:5556"),
        requests: read_endpoint(t, "requests", "tcp://127.0.0.1:5557"),
        high_water_mark: t.number("high_water_mark", "a whole number of messages, 10 to 1000000", 10..=1_000_000, 1000),
        status_every_s: t.number("status_every_s", "seconds, 0.1 to 3600", 0.1..=3600.0, 5.0),
    });
    let http = root.table("http", read_http);
    check_ports_apart(root, &publish, &http);
    let review = root.table("review", |t| Review {
        keep_cells: t.number("keep_cells", "a whole number of cells, 1 to 100000", 1..=100_000, 200),
        window_cells: t.number("window_cells", "a whole number of cells, 1 to 100000", 1..=100_000, 500),
    });
    let album = root.table("album", |t| {
        let passed_every = t.number("passed_every", "a whole number of cells, 0 to 1000000", 0..=1_000_000, 100);
        let unreviewed_max = t.number("unreviewed_max", "a whole number of pictures, 1 to 1000000", 1..=1_000_000, 1000);
        t.optional_path("dir", "a folder in quotes").map(|dir| Album { dir, passed_every, unreviewed_max })
    });
    let lanes = root.tables("lane", |t| read_lane(t, to_calibrate));
    if lanes.is_empty() {
        root.error(
            "lane",
            "is missing: a station needs at least one lane",
            "add a [[lane]] with a [lane.camera]; see configs/station.toml",
        );
    }
    check_lanes_apart(root, &lanes);
    check_review_memory(root, &review, lanes.len());
    StationConfig { file: root.file().to_owned(), station, network, publish, http, review, album, lanes }
}

fn read_http(t: &mut Reader) -> Http {
    let expected = "an address and port in quotes, such as \"127.0.0.1:9464\"";
    let listen = t.or("listen", expected, SocketAddr::from(([127, 0, 0, 1], 9464)));
    let ip = listen.ip();
    if !ip.is_unspecified() && !ip.to_canonical().is_loopback() {
        t.warning(
            "listen",
            format!("is {ip} alone: the review page, which answers as 127.0.0.1 only, cannot be reached"),
            format!("give \"0.0.0.0:{}\", and let the firewall admit Prometheus's machine alone", listen.port()),
        );
    }
    Http { listen }
}

fn read_cpus(t: &mut Reader) -> Vec<usize> {
    /// What the system's own sets of CPUs hold.
    const MOST: usize = 1023;
    let cpus: Vec<usize> = t.or("cpus", "a list of CPU numbers, such as [2, 3]", Vec::new());
    if let Some(cpu) = cpus.iter().find(|cpu| **cpu > MOST) {
        t.error("cpus", format!("has the CPU {cpu}"), "give the numbers that `lscpu --extended` shows");
    }
    cpus
}

fn read_device(t: &mut Reader) -> DeviceChoice {
    let text: String = t.or("device", "\"auto\", \"cpu\" or \"cuda:N\"", "auto".to_owned());
    text.parse().unwrap_or_else(|remedy: String| {
        t.error("device", format!("is {text:?}, which is no device"), &remedy);
        DeviceChoice::Auto
    })
}

fn read_endpoint(t: &mut Reader, key: &'static str, default: &str) -> String {
    let remedy = "give tcp://ADDRESS:PORT, an IP address of this machine (127.0.0.1 for this machine alone) or *";
    let endpoint: String = t.or(key, "an endpoint in quotes, such as \"tcp://127.0.0.1:5556\"", default.to_owned());
    let port_fits = |port: &str| port == "*" || port.parse::<u16>().is_ok();
    let tcp = endpoint.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
    // No names are bound, of hosts or of interfaces.
    let host_fits = |host: &str| {
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        host == "*" || host.parse::<Ipv4Addr>().is_ok() || v6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
    };
    if !tcp.is_some_and(|(host, port)| host_fits(host) && port_fits(port)) {
        t.error(key, format!("is {endpoint:?}, which is no endpoint to bind"), remedy);
    }
    endpoint
}

/// Two sockets must not share a port, unless on addresses that differ.
fn check_ports_apart(root: &mut Reader, publish: &Publish, http: &Http) {
    let endpoint = |endpoint: &str| {
        let (host, port) = endpoint.strip_prefix("tcp://")?.rsplit_once(':')?;
        Some((if host == "*" { "0.0.0.0".to_owned() } else { host.to_owned() }, port.parse::<u16>().ok()?))
    };
    let listen = match http.listen {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let sockets = [
        ("publish", "publish.feed", endpoint(&publish.feed)),
        ("publish", "publish.requests", endpoint(&publish.requests)),
        ("http", "http.listen", Some((listen, http.listen.port()))),
    ];
    let every = |host: &str| host == "0.0.0.0" || host == "[::]";
    for (i, (table, name, socket)) in sockets.iter().enumerate() {
        for (_, other_name, other) in &sockets[..i] {
            let (Some((host, port)), Some((other_host, other_port))) = (socket, other) else { continue };
            if port == other_port && *port != 0 && (host == other_host || every(host) || every(other_host)) {
                root.error(table, format!("has port {port} for `{name}`, which `{other_name}` has already"), "give each a port of its own");
            }
        }
    }
}

/// The masks of all lanes' recent cells lie in memory.
fn check_review_memory(root: &mut Reader, review: &Review, lanes: usize) {
    /// Of a cell: a bit for each pixel of its mask, and what was looked at on each line.
    const CELL_BYTES: usize = CELL_PX * CELL_PX / 8 + CELL_PX * size_of::<Span>();
    const MOST_GB: f64 = 2.0;
    let gb = (review.keep_cells * lanes * CELL_BYTES) as f64 / 1e9;
    if gb > MOST_GB {
        root.warning(
            "review",
            format!("has `keep_cells` = {}, which takes {gb:.1} GB of memory for {lanes} lane(s)", review.keep_cells),
            "make it smaller, unless the machine has as much to spare",
        );
    }
}

/// Two lanes must not share a name or a camera.
fn check_lanes_apart(root: &mut Reader, lanes: &[Lane]) {
    let (mut names, mut cameras) = (HashSet::new(), HashSet::new());
    for lane in lanes {
        if !names.insert(lane.name.clone()) {
            root.error("lane", format!("has two lanes named {:?}", lane.name), "give each lane a name of its own");
        }
        let camera = match &lane.camera.kind {
            CameraKind::Gige(gige) => &gige.id,
            CameraKind::Gstreamer(source) => &source.fragment,
            CameraKind::Files(_) | CameraKind::Simulated(_) => continue,
        };
        if !cameras.insert(camera.clone()) {
            root.error(
                "lane",
                format!("has two lanes on the camera {camera:?} (the second is {:?})", lane.name),
                "a camera serves one lane: correct `camera.id`, or remove a lane",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<(StationConfig, Problems), Problems> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("station.toml");
        std::fs::write(&file, text).expect("a file");
        StationConfig::load(&file)
    }

    const LANE: &str = "[[lane]]\nname = \"a\"\nrecipe = \"r.toml\"\n[lane.camera]\nkind = \"simulated\"\n[lane.wafer]\nformat = \"M10\"\n";

    #[test]
    fn a_small_configuration_is_enough() {
        let (config, problems) = load(&format!("[network]\nmodel = \"m.safetensors\"\n{LANE}")).expect("valid");
        assert_eq!(problems.all(), []);
        assert_eq!(config.lanes[0].wafer.width_mm, 182.0);
        assert!(config.network.model.ends_with("m.safetensors") && config.network.model.is_absolute());
    }

    #[test]
    fn every_mistake_is_told_at_once_with_line_key_and_remedy() {
        let text = "[station]\nkeep_dais = 3\n[network]\ndevice = \"gpu\"\n[publish]\nfeed = \"nowhere\"\n[http]\nlisten = 80\n\
            [[lane]]\nname = \"a b\"\n[lane.camera]\nkind = \"gige\"\nid = 5\nblock_lines = -1\nline_rate_hz = 1e12\n";
        let problems = load(text).expect_err("full of mistakes");
        let told = problems.to_string();
        for part in [
            ":2: error: `station.keep_dais`",
            "did you mean `keep_days`",
            "`network.model` is missing",
            "`network.device` is \"gpu\"",
            "`publish.feed`",
            "`http.listen` is the number 80",
            "`lane[0].name`",
            "`lane[0].recipe` is missing",
            "`lane[0].camera.id`",
            "`lane[0].camera.block_lines`",
            "`lane[0].camera.line_rate_hz`",
            "`lane[0].wafer.format` is missing",
        ] {
            assert!(told.contains(part), "{part:?} is not in:\n{told}");
        }
        assert_eq!(told.matches("remedy: ").count(), problems.all().len());
    }

    #[test]
    fn sockets_are_bound_to_addresses_not_to_names() {
        let station = |endpoint: &str| load(&format!("[network]\nmodel = \"m\"\n[publish]\nfeed = \"{endpoint}\"\n{LANE}"));
        for bound in ["tcp://*:5556", "tcp://0.0.0.0:*", "tcp://192.168.1.7:5556", "tcp://[::1]:5556"] {
            station(bound).expect(bound);
        }
        for unbound in ["tcp://localhost:5556", "tcp://line-3:5556", "tcp://:5556", "tcp://::1:5556", "tcp://127.0.0.1", "ipc://feed"] {
            let told = station(unbound).expect_err(unbound).to_string();
            assert!(told.contains("`publish.feed` is") && told.contains("127.0.0.1 for this machine alone"), "{told}");
        }
    }

    #[test]
    fn two_lanes_on_one_camera_are_refused() {
        let lane = |name: &str| {
            format!(
                "[[lane]]\nname = \"{name}\"\nrecipe = \"r\"\ndeadline_ms = 300\n[lane.camera]\nkind = \"gige\"\nid = \"CAM\"\nline_rate_hz = 5000\n\
                 [lane.wafer]\nformat = \"M10\"\n"
            )
        };
        let problems = load(&format!("[network]\nmodel = \"m\"\n{}{}", lane("a"), lane("b"))).expect_err("one camera, two lanes");
        assert!(problems.to_string().contains("two lanes on the camera \"CAM\""), "{problems}");
    }

    #[test]
    fn a_scale_that_nobody_knows_is_missing_but_to_a_calibration() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("station.toml");
        let text = "[network]\nmodel = \"m\"\n[[lane]]\nname = \"a\"\nrecipe = \"r\"\ndeadline_ms = 300\n[lane.camera]\nkind = \"gige\"\n\
            id = \"CAM\"\nline_rate_hz = 5000\n[lane.wafer]\nformat = \"M10\"\n";
        std::fs::write(&file, text).expect("a file");
        let told = StationConfig::load(&file).expect_err("no scale").to_string();
        assert!(told.contains("`lane[0].belt.mm_per_px` is missing") && told.contains("hairline calibrate"), "{told}");
        let (config, _) = StationConfig::load_to_calibrate(&file).expect("all that a calibration needs");
        assert_eq!(config.lanes[0].belt.mm_per_px, None);
        std::fs::write(&file, text.replace("M10", "M11")).expect("a file");
        let told = StationConfig::load_to_calibrate(&file).expect_err("another mistake").to_string();
        assert!(told.contains("`lane[0].wafer.format`") && !told.contains("mm_per_px"), "{told}");
    }

    #[test]
    fn a_frame_that_fills_too_slowly_is_warned_of() {
        let text = "[network]\nmodel = \"m\"\n[[lane]]\nname = \"a\"\nrecipe = \"r\"\ndeadline_ms = 300\n[lane.camera]\nkind = \"gige\"\n\
            id = \"CAM\"\nline_rate_hz = 1000\nblock_lines = 512\n[lane.wafer]\nformat = \"M10\"\n[lane.belt]\nmm_per_px = 0.1\nmm_per_line = 0.1\n";
        let (_, problems) = load(text).expect("valid, with a warning");
        assert!(problems.to_string().contains("`lane[0].camera.block_lines` takes 512 ms"), "{problems}");
    }

    #[test]
    fn masks_kept_for_review_that_take_much_memory_are_warned_of() {
        let told = |keep_cells: u32, lanes: usize| {
            let lane = |n: usize| LANE.replace("\"a\"", &format!("\"a{n}\""));
            let lanes: String = (0..lanes).map(lane).collect();
            load(&format!("[network]\nmodel = \"m\"\n[review]\nkeep_cells = {keep_cells}\n{lanes}")).expect("valid").1.to_string()
        };
        assert_eq!((told(200, 1), told(8000, 1)), (String::new(), String::new()));
        assert!(told(28_800, 1).contains("`review` has `keep_cells` = 28800, which takes 6.7 GB of memory for 1 lane(s)"));
        assert!(told(8000, 2).contains("3.7 GB of memory for 2 lane(s)"), "{}", told(8000, 2));
    }

    #[test]
    fn simulated_wafers_that_are_not_square_are_refused() {
        let station = |wafer: &str| format!("[network]\nmodel = \"m\"\n{}", LANE.replace("format = \"M10\"", wafer));
        let problems = load(&station("width_mm = 182.0\nlength_mm = 91.0")).expect_err("no square");
        let told = problems.to_string();
        assert!(told.contains("`lane[0].wafer.length_mm` of 91 is not the width of 182") && told.contains("remedy: "), "{told}");
        load(&station("width_mm = 91.0\nlength_mm = 91.0")).expect("a square");
    }

    #[test]
    fn cut_corners_that_overlap_are_refused_with_the_sides_that_they_share() {
        let station = |wafer: &str| {
            let lane = LANE.replace("\"simulated\"", "\"files\"\npath = \"p\"\ncell_px = 1300").replace("format = \"M10\"", wafer);
            load(&format!("[network]\nmodel = \"m\"\n{lane}"))
        };
        let told = station("format = \"M10\"\ncorner_mm = 100").expect_err("half of the wafer").to_string();
        assert!(told.contains("`lane[0].wafer.corner_mm` has corners that overlap") && told.contains("remedy: "), "{told}");
        for side in ["leading", "right", "trailing", "left"] {
            assert!(told.contains(&format!("100 + 100 mm on the {side} side of 182 mm")), "{told}");
        }
        let told = station("width_mm = 182.0\nlength_mm = 91.0\ncorner_mm = [60, 0, 18, 40]").expect_err("two of them").to_string();
        assert!(told.contains("60 + 40 mm on the left side of 91 mm") && told.matches(" side of ").count() == 1, "{told}");
        for fits in ["format = \"M10\"\ncorner_mm = 91", "width_mm = 182.0\nlength_mm = 91.0\ncorner_mm = [90, 0, 18, 1]"] {
            station(fits).expect("corners that meet at most");
        }
    }

    #[test]
    fn a_drawn_gap_that_is_none_is_refused_and_left_out_looks_as_the_belts() {
        let station = |camera: &str, belt: &str| {
            let lane = LANE.replace("\"simulated\"", &format!("\"files\"\npath = \"p\"\ncell_px = 1300\n{camera}"));
            load(&format!("[network]\nmodel = \"m\"\n{lane}[lane.belt]\n{belt}\n"))
        };
        for (level, belt) in [("0.03", "gap = \"bright\""), ("0.94", "gap = \"bright\""), ("0.98", ""), ("0.2", "edge_level = 0.5")] {
            let told = station(&format!("gap_level = {level}"), belt).expect_err("no gap").to_string();
            assert!(told.contains(&format!("`lane[0].camera.gap_level` of {level} is no")) && told.contains("leave it out"), "{told}");
        }
        for (camera, belt) in [("", "gap = \"bright\""), ("", ""), ("gap_level = 0.4", "edge_level = 0.5\ngap_level = 0.45")] {
            station(camera, belt).expect("a gap");
        }
    }

    #[test]
    fn a_belt_that_allows_no_skew_is_refused() {
        let told =
            load(&format!("[network]\nmodel = \"m\"\n{LANE}[lane.belt]\nskew_deg_max = 0.0\n")).expect_err("nothing lies so straight");
        assert!(told.to_string().contains("`lane[0].belt.skew_deg_max` is 0"), "{told}");
    }

    #[test]
    fn broken_toml_and_missing_files_are_told_by_name() {
        assert!(load("[station\n").expect_err("broken").to_string().contains("station.toml:1: error: is no valid TOML"));
        let problems = StationConfig::load(Path::new("/nowhere/station.toml")).expect_err("missing");
        assert!(problems.to_string().contains("/nowhere/station.toml: error: cannot be read"));
    }
}
