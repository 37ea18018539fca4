//! `hairline run`: the daemon.

use super::check::load_config;
use super::{log, version};
use crate::station::{self, RunOptions};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Inspect: run the station as the configuration says.
///
/// SIGTERM or Ctrl-C ends it, once the cells that are on their way have their verdicts; SIGHUP reads the recipes anew. It ends with
/// status 64 where the configuration, or a file that it names, has to be corrected first: `hairline check` tells every mistake. RUST_LOG
/// chooses what it logs: a level (info, unless told), or parts of the program with theirs, such as hairline::camera=debug.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Stop after this many verdicts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    cells: Option<u64>,
}

/// Runs the station until SIGTERM or SIGINT. SIGHUP reloads the recipes. `commit` is what the program is built from, where that is known.
pub fn run(args: RunArgs, commit: Option<&str>) -> anyhow::Result<ExitCode> {
    log::start("info");
    tracing::info!(version = version(commit), config = %args.config.display(), "starting");
    let Some(config) = load_config(&args.config) else { return Ok(ExitCode::from(super::EXIT_CONFIG)) };
    let options = RunOptions { cells: args.cells, commit: commit.unwrap_or_default().to_owned(), ..Default::default() };
    match station::run(&config, options, asked_to_stop()) {
        Ok(summary) => {
            tracing::info!(verdicts = summary.verdicts, "stopped");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.is_configuration() => {
            log::tell(tracing::Level::ERROR, format_args!("Error: {error}"));
            Ok(ExitCode::from(super::EXIT_CONFIG))
        }
        Err(error) => Err(error.into()),
    }
}

/// Resolves at SIGTERM or SIGINT.
pub(super) async fn asked_to_stop() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(e), _) | (_, Err(e)) => tracing::error!("signals cannot be received: {e}"),
    }
}
