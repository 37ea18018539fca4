//! Hairline finds hair-fine cracks in solar cells while they are being made.
//!
//! The way of the data is one corridor: [`camera`] → [`stitch`] → [`inspect`] → [`judge`] →
//! [`ledger`] → [`publish`]. Every stage knows the words of the domain ([`cell`]) and its own work,
//! never its neighbours; [`station`] alone joins them.
#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod album;
pub mod camera;
pub mod cell;
pub mod commands;
pub mod config;
pub mod disk;
pub mod http;
pub mod inspect;
pub mod judge;
pub mod ledger;
pub mod loss;
pub mod measure;
pub mod nn;
pub mod picture_file;
pub mod publish;
pub mod review;
pub mod simulate;
#[cfg(test)]
mod skipped;
pub mod station;
pub mod stitch;
mod stop;
pub mod telemetry;
mod throttle;
pub mod train;

#[cfg(test)]
pub(crate) use skipped::skipped;
