//! Tests that need the outside world: processes, sockets, network namespaces.

mod gige;
mod line;
mod line_camera;
mod loopback;
mod pytorch;
mod train;
