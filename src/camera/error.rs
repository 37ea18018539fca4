use crate::picture_file::PictureFileError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a camera cannot be started, or what is wrong with it.
#[derive(Debug, Error)]
pub enum CameraError {
    /// GStreamer itself does not start or lacks an element.
    #[error("GStreamer does not start: {0}; install gstreamer1.0-plugins-base and look at `gst-inspect-1.0 appsink`")]
    Gstreamer(String),
    /// The operating system gives no thread.
    #[error("no thread for camera of lane {lane}: {source}")]
    Thread {
        /// The lane.
        lane: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A GigE camera does not answer, or another program holds it. Not final: it is tried again.
    #[error(
        "camera {id} does not answer or is held by another program: {reason}; look for it with `arv-tool-0.8`, at its cable, power \
         and IP address, and end what else uses it (another station, a viewer)"
    )]
    NotThere {
        /// Its id from the configuration.
        id: String,
        /// What Aravis said.
        reason: String,
    },
    /// The camera answers, but refuses a GenICam feature or its value.
    #[error("camera {id} does not take {feature} = {value}: {reason}; `arv-tool-0.8 -n {id} features` lists what it takes")]
    Feature {
        /// The camera's id.
        id: String,
        /// Name of the GenICam feature.
        feature: String,
        /// What was to be set.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The camera's pixel format is not one grey channel in whole bytes.
    #[error("camera {id} sends {found}; expected one grey channel: set camera.pixel_format to Mono8, Mono10, Mono12 or Mono16")]
    PixelFormat {
        /// The camera's id.
        id: String,
        /// What it sends.
        found: String,
    },
    /// GStreamer caps that are not one grey channel.
    #[error(
        "the pipeline gives {found}; expected one grey channel: add `! videoconvert ! video/x-raw,format=GRAY8` \
         at the end of camera.fragment"
    )]
    NotGrey {
        /// The caps that came.
        found: String,
    },
    /// A GStreamer fragment that does not start: its device is not there, most likely. Not final: it is tried again.
    #[error("camera.fragment `{fragment}` does not start: {reason}; try it with `gst-launch-1.0 {fragment} ! fakesink`")]
    NotStarted {
        /// The fragment.
        fragment: String,
        /// What GStreamer said.
        reason: String,
    },
    /// A GStreamer fragment that cannot be made.
    #[error("camera.fragment `{fragment}` does not run: {reason}; try it with `gst-launch-1.0 {fragment} ! fakesink`")]
    Fragment {
        /// The fragment.
        fragment: String,
        /// What GStreamer said.
        reason: String,
    },
    /// A folder or file of pictures that cannot be listed.
    #[error("camera.path {path}: {reason}")]
    Path {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// One picture that cannot be used.
    #[error("picture {path}: {reason}")]
    Picture {
        /// The picture.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A picture's file that cannot be read or decoded.
    #[error(transparent)]
    PictureFile(#[from] PictureFileError),
    /// Simulated wafers that do not fit the line.
    #[error(
        "a simulated wafer of {side_px:.0} px turned by {skew_deg}° needs lines of {needed_px} px, camera.width_px is {width_px}; \
         raise camera.width_px, or lower skew_deg_max or the wafer's size"
    )]
    WaferTooWide {
        /// Side of the wafer in camera pixels.
        side_px: f64,
        /// Largest skew.
        skew_deg: f64,
        /// Line width it needs.
        needed_px: u32,
        /// Line width there is.
        width_px: u32,
    },
}

impl CameraError {
    /// Whether waiting may help (a camera without power) or only a change of the configuration.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::NotThere { .. } | Self::NotStarted { .. })
    }

    /// Whether the configuration, or a file that it names, has to be changed. A camera that is not there, or a fragment whose
    /// plugin is not, may be there at the next start.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Path { .. }
                | Self::Picture { .. }
                | Self::PictureFile(_)
                | Self::NotGrey { .. }
                | Self::Feature { .. }
                | Self::PixelFormat { .. }
                | Self::WaferTooWide { .. }
        )
    }
}
