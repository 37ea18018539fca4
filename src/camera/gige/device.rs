use super::features;
use crate::camera::error::CameraError;
use crate::cell::PixelFormat;
use crate::config::{FeatureValue, GigeCamera};
use aravis::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An open camera, set up, with its receiving stream. Not acquiring yet.
pub(super) struct Device {
    /// Its id from the configuration.
    pub(super) id: String,
    /// The camera's controls.
    pub(super) camera: aravis::Camera,
    /// Where its frames arrive.
    pub(super) stream: aravis::Stream,
    /// Lines in every frame.
    pub(super) lines: u32,
    /// What reads the belt encoder's count out of its frames, where the configuration asks for it.
    pub(super) encoder: Option<Encoder>,
    lost: Arc<AtomicBool>,
}

impl Device {
    /// Opens the camera and sets it: features first, then pixel format, width and `block_lines`.
    ///
    /// # Errors
    /// [`CameraError::NotThere`] where it does not answer (or another program controls it),
    /// [`CameraError::Feature`] and [`CameraError::PixelFormat`] where it answers but refuses.
    pub(super) fn open(settings: &GigeCamera, block_lines: u32) -> Result<Self, CameraError> {
        let id = settings.id.as_str();
        let not_there = |error: aravis::glib::Error| CameraError::NotThere { id: id.into(), reason: error.message().into() };
        let camera = aravis::Camera::new(Some(id)).map_err(not_there)?;
        camera.set_range_check_policy(aravis::RangeCheckPolicy::Enable);
        for (name, value) in &settings.features {
            features::set(&camera, id, name, value)?;
        }
        if let Some(format) = &settings.pixel_format {
            features::set(&camera, id, "PixelFormat", &FeatureValue::Text(format.clone()))?;
        }
        if let Some(width_px) = settings.width_px {
            features::set_exactly(&camera, id, "Width", width_px.into())?;
        }
        features::set_exactly(&camera, id, "Height", block_lines.into())?;
        let format = camera.pixel_format().map_err(not_there)?;
        if grey(format).is_none() {
            let found =
                camera.pixel_format_as_string().map_or_else(|_| format!("pixel format {:#010x}", format.raw()), |name| name.to_string());
            return Err(CameraError::PixelFormat { id: id.into(), found });
        }
        camera.set_acquisition_mode(aravis::AcquisitionMode::Continuous).map_err(not_there)?;
        if camera.is_gv_device() && !settings.packet_socket {
            camera.gv_set_stream_options(aravis::GvStreamOption::PACKET_SOCKET_DISABLED);
        }
        let encoder = match &settings.encoder_chunk {
            Some(chunk) => Some(Encoder::enable(&camera, id, chunk)?),
            None => None,
        };
        let stream = camera.create_stream().map_err(not_there)?;
        let frame_bytes = camera.payload().map_err(not_there)? as usize;
        for _ in 0..settings.buffers.max(2) {
            stream.push_buffer(aravis::Buffer::new_allocate(frame_bytes));
        }
        let lost = Arc::new(AtomicBool::new(false));
        if let Some(device) = camera.device() {
            let lost = lost.clone();
            device.connect_control_lost(move |_| lost.store(true, Relaxed));
        }
        Ok(Self { id: id.into(), camera, stream, lines: block_lines, encoder, lost })
    }

    /// Whether the camera stopped answering the heartbeat, or another program took it.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // A camera that is gone would only let this wait for its timeouts.
        if !self.is_lost()
            && let Err(error) = self.camera.stop_acquisition()
        {
            tracing::debug!("camera {} does not stop: {error}", self.id);
        }
    }
}

/// Reads the belt encoder's count from a chunk that comes with every frame.
pub(super) struct Encoder {
    parser: aravis::ChunkParser,
    /// The chunk's node, by the Standard Features Naming Convention `Chunk` and its name.
    node: String,
}

impl Encoder {
    /// Has the camera send `chunk`.
    fn enable(camera: &aravis::Camera, id: &str, chunk: &str) -> Result<Self, CameraError> {
        let refused =
            |reason: String| CameraError::Feature { id: id.into(), feature: "encoder_chunk".into(), value: format!("{chunk:?}"), reason };
        if camera.device().and_then(|device| device.feature("ChunkModeActive")).is_none() {
            return Err(refused("the camera sends no chunks".into()));
        }
        camera.set_chunks(chunk).map_err(|error| refused(error.message().into()))?;
        let parser = camera.create_chunk_parser().ok_or_else(|| refused("its description of chunks cannot be read".into()))?;
        Ok(Self { parser, node: format!("Chunk{chunk}") })
    }

    /// The count in a frame; `None` where it carries none.
    pub(super) fn count(&self, frame: &aravis::Buffer) -> Option<i64> {
        self.parser.integer_value(frame, &self.node).ok()
    }
}

/// Our name of a grey format in whole bytes; `None` for all others.
pub(super) fn grey(format: aravis::PixelFormat) -> Option<PixelFormat> {
    match format {
        aravis::PixelFormat::MONO_8 => Some(PixelFormat::Gray8),
        aravis::PixelFormat::MONO_10 => Some(PixelFormat::Gray16Le { bits: 10 }),
        aravis::PixelFormat::MONO_12 => Some(PixelFormat::Gray16Le { bits: 12 }),
        aravis::PixelFormat::MONO_14 => Some(PixelFormat::Gray16Le { bits: 14 }),
        aravis::PixelFormat::MONO_16 => Some(PixelFormat::Gray16Le { bits: 16 }),
        _ => None,
    }
}
