//! Tests that need the outside world: processes, sockets, network namespaces.

mod album;
mod bad_config;
mod bad_input;
mod bench;
mod configs;
mod cuda;
mod demo;
mod gige;
mod line;
mod line_camera;
mod log;
mod loopback;
mod piped;
mod pytorch;
mod station;
mod train;
mod wire;
