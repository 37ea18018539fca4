//! A GigE Vision line camera on loopback that shows pictures of cells, line by line.
//!
//! It is Aravis's own fake GigE Vision camera, which speaks the real GVCP and GVSP protocols; its
//! frames are blocks of consecutive lines of a belt on which cells pass, with a gap between them.
//! What passes is written to a log, so that a receiver can be held against it.

mod belt;

use aravis::glib::object::ObjectType;
use belt::Belt;
use clap::Parser;
use std::ffi::c_void;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// A GigE Vision line camera on loopback that shows pictures of cells.
///
/// The client sets the frame's size (Width, Height) and rate (AcquisitionFrameRate).
#[derive(Debug, Parser)]
#[command(name = "line_camera")]
pub struct Arguments {
    /// Pictures of cells, shown one after the other, again and again.
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// Address to serve; loopback (127.x.x.x) only.
    #[arg(long, default_value = "127.0.0.1")]
    pub interface: String,
    /// Serial number; the camera's id is Aravis-Fake-SERIAL.
    #[arg(long, default_value = "LINE01")]
    pub serial: String,
    /// Pixels of the sensor's line.
    #[arg(long, default_value_t = 1344)]
    pub width: usize,
    /// Side of every cell in pixels.
    #[arg(long, default_value_t = 1300)]
    pub cell_px: u32,
    /// Lines of gap before each cell.
    #[arg(long, default_value_t = 150)]
    pub gap_lines: u32,
    /// Grey level where no cell is.
    #[arg(long, default_value_t = 8)]
    pub gap_level: u8,
    /// Each cell lies turned by up to this angle, degrees.
    #[arg(long, default_value_t = 0.0)]
    pub skew_deg: f64,
    /// Sensor noise, grey levels (standard deviation).
    #[arg(long, default_value_t = 2.0)]
    pub noise: f64,
    /// Show only the gap after this many cells; 0: never.
    #[arg(long, default_value_t = 0)]
    pub cells: u64,
    /// Share of stream packets lost on purpose, such as 0.0001.
    #[arg(long, default_value_t = 0.0)]
    pub lost: f64,
    /// Stop the belt once when this many lines have passed; 0: never.
    #[arg(long, default_value_t = 0)]
    pub stop_at_line: u64,
    /// How long the belt then stands, seconds.
    #[arg(long, default_value_t = 1.5)]
    pub stop_s: f64,
    /// Seed of turns and noise.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write what passes to this file, as JSON lines with cell, file, first_line, lines, turn_deg.
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// End when standard input ends, so that the camera does not outlive whoever started it.
    #[arg(long)]
    pub until_stdin_ends: bool,
}

/// The register of GigE Vision that tells how long a camera waits for its client's heartbeat, in milliseconds.
const HEARTBEAT_TIMEOUT: u32 = 0x0938;
const HEARTBEAT_TIMEOUT_MS: u32 = 600_000;

/// What passes under the camera. One process is one camera.
static BELT: Mutex<Option<Belt>> = Mutex::new(None);

type FillPattern = extern "C" fn(*mut c_void, *mut c_void, u32, u32, u32);

unsafe extern "C" {
    fn arv_fake_camera_set_fill_pattern(camera: *mut c_void, fill: FillPattern, data: *mut c_void);
    fn arv_buffer_get_data(buffer: *mut c_void, size: *mut usize) -> *mut u8;
    fn arv_buffer_get_image_width(buffer: *mut c_void) -> i32;
    fn arv_buffer_get_image_height(buffer: *mut c_void) -> i32;
}

/// Fills a frame with the belt's next lines; called by the fake camera's thread.
extern "C" fn fill(buffer: *mut c_void, _data: *mut c_void, _exposure_us: u32, _gain: u32, _pixel_format: u32) {
    // SAFETY: Aravis calls this with a buffer that lives until it returns, allocated for a whole
    // frame (width × height, one byte a pixel in Mono8, more in other formats).
    let frame = unsafe {
        let width = usize::try_from(arv_buffer_get_image_width(buffer)).unwrap_or(0);
        let height = usize::try_from(arv_buffer_get_image_height(buffer)).unwrap_or(0);
        let data = arv_buffer_get_data(buffer, std::ptr::null_mut());
        if data.is_null() || width == 0 {
            return;
        }
        std::slice::from_raw_parts_mut(data, width * height).chunks_exact_mut(width)
    };
    if let Ok(mut belt) = BELT.lock()
        && let Some(belt) = belt.as_mut()
    {
        frame.for_each(|line| belt.next_line(line));
    }
}

/// Runs the camera until the process is killed (or standard input ends).
pub fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if !arguments.interface.starts_with("127.") {
        return Err("only loopback (127.x.x.x) is served".into());
    }
    *BELT.lock().map_err(|e| e.to_string())? = Some(Belt::new(&arguments)?);
    let camera = aravis::GvFakeCamera::new(Some(&arguments.interface), Some(&arguments.serial));
    if !camera.is_running() {
        return Err(format!("the camera did not start (is port 3956/udp on {} taken?)", arguments.interface).into());
    }
    camera.set_gvsp_lost_ratio(arguments.lost);
    let fake = camera.fake_camera().ok_or("Aravis gives no fake camera")?;
    // Neither a belt that stands, with which Aravis's camera stops listening, nor a busy machine makes it let its client go.
    if !fake.write_register(HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS) || fake.heartbeat_timeout() != HEARTBEAT_TIMEOUT_MS {
        return Err("the camera does not take another heartbeat timeout".into());
    }
    // SAFETY: the camera is alive, and `fill` needs no data of its own.
    unsafe {
        let fake: *mut c_void = fake.as_ptr().cast();
        arv_fake_camera_set_fill_pattern(fake, fill, std::ptr::null_mut());
    }
    println!("camera Aravis-Fake-{} on {}: {} pictures", arguments.serial, arguments.interface, arguments.images.len());
    if arguments.until_stdin_ends {
        std::io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}
