//! GenICam features from the configuration, set by the type that the camera declares.

use crate::camera::error::CameraError;
use crate::config::FeatureValue;
use aravis::glib;
use aravis::glib::prelude::*;
use aravis::prelude::*;

/// The value that executes a command feature.
const EXECUTE: &str = "execute";

/// Sets one feature, by its GenICam type: command, boolean, enumeration, integer, float or string.
pub(super) fn set(camera: &aravis::Camera, id: &str, name: &str, value: &FeatureValue) -> Result<(), CameraError> {
    let refused = |reason: String| CameraError::Feature { id: id.into(), feature: name.into(), value: shown(value), reason };
    let node = camera.device().and_then(|device| device.feature(name));
    let node = node.ok_or_else(|| refused("the camera has no such feature".into()))?;
    let expected = |what: &str| Err(refused(format!("this feature takes {what}")));
    let done = if node.is::<aravis::GcCommand>() {
        match value {
            FeatureValue::Text(text) if text == EXECUTE => camera.execute_command(name),
            _ => return expected("\"execute\", it is a command"),
        }
    } else if node.is::<aravis::GcBoolean>() {
        match value {
            FeatureValue::Bool(on) => camera.set_boolean(name, *on),
            _ => return expected("true or false"),
        }
    } else if node.is::<aravis::GcEnumeration>() {
        let entries = camera.dup_available_enumerations_as_strings(name).unwrap_or_default().join(", ");
        match value {
            FeatureValue::Text(entry) if entries.split(", ").any(|known| known == entry) => camera.set_string(name, entry),
            _ => return expected(&format!("one of: {entries}")),
        }
    } else if node.dynamic_cast_ref::<aravis::GcInteger>().is_some() {
        match value {
            FeatureValue::Integer(number) => camera.set_integer(name, *number),
            _ => return expected("a whole number"),
        }
    } else if node.dynamic_cast_ref::<aravis::GcFloat>().is_some() {
        match value {
            FeatureValue::Integer(number) => camera.set_float(name, *number as f64),
            FeatureValue::Float(number) => camera.set_float(name, *number),
            _ => return expected("a number"),
        }
    } else if node.dynamic_cast_ref::<aravis::GcString>().is_some() {
        match value {
            FeatureValue::Text(text) => camera.set_string(name, text),
            _ => return expected("a text in quotes"),
        }
    } else {
        return Err(refused("this is no feature that has a value".into()));
    };
    done.map_err(|error| told(&error, id).unwrap_or_else(|| refused(error.message().into())))
}

/// Sets an integer feature and reads it back: some cameras round to what they like better.
pub(super) fn set_exactly(camera: &aravis::Camera, id: &str, name: &str, value: i64) -> Result<(), CameraError> {
    set(camera, id, name, &FeatureValue::Integer(value))?;
    let refused = |reason| CameraError::Feature { id: id.into(), feature: name.into(), value: value.to_string(), reason };
    match camera.integer(name) {
        Ok(found) if found == value => Ok(()),
        Ok(found) => Err(refused(format!("it took {found} instead"))),
        Err(error) => Err(told(&error, id).unwrap_or_else(|| refused(error.message().into()))),
    }
}

/// Whether an error says that the camera is away or busy, rather than that it refuses.
fn told(error: &glib::Error, id: &str) -> Option<CameraError> {
    use aravis::DeviceError::{
        NotConnected, NotController, NotFound, ProtocolErrorAccessDenied, ProtocolErrorBusy, Timeout, TransferError,
    };
    let away = [NotConnected, NotController, NotFound, ProtocolErrorAccessDenied, ProtocolErrorBusy, Timeout, TransferError];
    let away = away.into_iter().any(|kind| error.matches(kind));
    away.then(|| CameraError::NotThere { id: id.into(), reason: error.message().into() })
}

fn shown(value: &FeatureValue) -> String {
    match value {
        FeatureValue::Bool(on) => on.to_string(),
        FeatureValue::Integer(number) => number.to_string(),
        FeatureValue::Float(number) => number.to_string(),
        FeatureValue::Text(text) => format!("\"{text}\""),
    }
}
