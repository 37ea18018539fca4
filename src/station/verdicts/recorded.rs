//! How a verdict gets onto the disk, and what is told where it does not.

use super::{MARGIN, VerdictWorker};
use crate::cell::{Gate, HoldReason, Moment, VerdictKind};
use crate::judge::Recipe;
use crate::ledger::Entry;
use crate::publish::wire::VerdictMessage;
use crate::station::desk::ReadyCell;
use crate::throttle::Throttle;
use std::time::{Duration, Instant};

/// Of [`MARGIN`], what is kept free for sending alone.
const SENDING: Duration = Duration::from_millis(3);

impl VerdictWorker {
    /// Puts the verdict on disk. What the disk does not confirm in time is held, and says so, as is a pass that is too late for its
    /// gate by then, which `disk_late` lets be told; what was found cracked is ejected all the same.
    pub(super) fn record(
        &self,
        cell: &ReadyCell,
        message: VerdictMessage,
        png: &[u8],
        recipe: &Recipe,
        deadline: Option<Instant>,
        disk_late: &mut Throttle,
    ) -> VerdictMessage {
        let entry = |message: &VerdictMessage| {
            let header = message.to_json().unwrap_or_default();
            Entry {
                run: self.office.run.clone(),
                lane: self.state.name.clone(),
                number: cell.id.number,
                unix_ns: cell.end.at.unix_ns,
                header,
                payload: png.to_vec(),
            }
        };
        let out_of_time = message.hold == Some(HoldReason::Deadline);
        let gate = if message.verdict == VerdictKind::Pass { recipe.hold_gate } else { message.gate };
        let patience = deadline.map(|deadline| patience(gate, deadline, Instant::now()));
        let hurries = out_of_time && message.opens_gate(Moment::now().unix_ns);
        let confirmed = !hurries && self.recorder.confirm(entry(&message), patience);
        let Some(reason) = held_for(message.verdict, confirmed, deadline, Instant::now()) else { return message };
        if confirmed {
            if disk_late.passes(Instant::now()) {
                tracing::warn!(
                    cell = %cell.id,
                    "the verdict was on disk after its deadline: the cell is held; check the disk under `station.data_dir`, or raise \
                     `deadline_ms`"
                );
            }
        } else if !out_of_time {
            tracing::error!(cell = %cell.id, "the verdict was not on disk by its deadline: the cell is held; check `station.data_dir`");
        }
        let held = VerdictMessage {
            verdict: VerdictKind::Hold,
            hold: Some(message.hold.unwrap_or(reason)),
            rule: None,
            gate,
            recorded: false,
            ..message
        };
        self.recorder.later(entry(&held));
        held
    }
}

/// Why a cell of this verdict is held by now, where the ledger has confirmed it or not: a pass that is late finds its gate shut.
pub(super) fn held_for(verdict: VerdictKind, confirmed: bool, deadline: Option<Instant>, now: Instant) -> Option<HoldReason> {
    let too_late = verdict == VerdictKind::Pass && deadline.is_some_and(|deadline| now > deadline);
    match confirmed {
        false => Some(HoldReason::NotRecorded),
        true => too_late.then_some(HoldReason::Deadline),
    }
}

/// Until when to wait for the ledger, where `gate` is what the verdict told without it will say. `open` must be out before the deadline,
/// so it leaves time for sending; `eject` is what silence says as well, and may take the rest and [`MARGIN`] at least.
pub(super) fn patience(gate: Gate, deadline: Instant, now: Instant) -> Instant {
    match gate {
        Gate::Open => deadline.checked_sub(SENDING).unwrap_or(deadline),
        Gate::Eject => deadline.max(now + MARGIN),
    }
}
