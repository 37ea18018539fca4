//! `hairline run`: the daemon.

use super::check::load_config;
use super::terminal::note;
use crate::station::{self, RunOptions};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Inspect: run the station as the configuration says.
///
/// SIGTERM or Ctrl-C ends it, once the cells that are on their way have their verdicts; SIGHUP reads the recipes anew. It ends with
/// status 64 where the configuration, or a file that it names, has to be corrected first: `hairline check` tells every mistake. What it logs,
/// RUST_LOG chooses (info, unless told).
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The station's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Stop after this many verdicts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    cells: Option<u64>,
}

/// Runs the station until SIGTERM or SIGINT. SIGHUP reloads the recipes.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    start_log("info");
    let Some(config) = load_config(&args.config) else { return Ok(ExitCode::from(super::EXIT_CONFIG)) };
    let options = RunOptions { cells: args.cells, ..Default::default() };
    match station::run(&config, options, asked_to_stop()) {
        Ok(summary) => {
            tracing::info!(verdicts = summary.verdicts, "stopped");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.is_configuration() => {
            note!("Error: {error}");
            Ok(ExitCode::from(super::EXIT_CONFIG))
        }
        Err(error) => Err(error.into()),
    }
}

/// Logs to standard error; `RUST_LOG` chooses what, else `level`.
pub(super) fn start_log(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    // A log that cannot be written (its disk full, its pipe closed) must not end the station: the report about it would panic.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).log_internal_errors(false);
    // A second start in one process (tests) keeps the first log; the journal has times of its own.
    let _ =
        if journal { log.without_time().with_ansi(false).try_init() } else { log.with_ansi(std::io::stderr().is_terminal()).try_init() };
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
