use super::rooms::Rooms;
use std::fmt::Write;
use std::sync::Arc;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse}th,td{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #ccc}\
th:first-child,td:first-child{text-align:left}";

/// The page for people: is it ready, does it live, and each lane's sums since the start. Needs nothing
/// from elsewhere and no script; reloads itself.
pub(super) fn render(rooms: &Rooms) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>Hairline</title><style>{STYLE}</style></head><body><h1>Hairline {}</h1>\n<p>Live: {}<br>Ready: {}</p>\n\
         <table><tr><th>Lane</th><th>Camera</th><th>Pass</th><th>Reject</th><th>Hold</th><th>Lines lost</th>\
         <th>Judged</th><th>IoU</th><th>PA</th><th>OII</th></tr>\n",
        env!("CARGO_PKG_VERSION"),
        escape(&rooms.health.live().to_string()),
        escape(&rooms.health.ready().to_string()),
    );
    for lane in rooms.metrics.lanes() {
        page += &row(rooms, lane);
    }
    page += "</table>\n<p>Counts since the start. Judged, IoU, PA, OII: the last cells whose truth was told; \
             OII above 0 means overkill, below 0 escape.</p>\n\
             <p><a href=\"/metrics\">metrics</a> · <a href=\"/live\">live</a> · <a href=\"/ready\">ready</a> · \
             <a href=\"/review/page\">what is true of cells?</a> (on the station itself)</p></body></html>\n";
    page
}

fn row(rooms: &Rooms, lane: &Arc<str>) -> String {
    let (totals, running) = (rooms.metrics.totals(lane), rooms.review.running(lane));
    let camera = match (totals.camera_connected, totals.no_gap, totals.no_wafer) {
        (false, ..) => "not connected",
        (true, false, false) => "connected",
        (true, true, _) => "connected, sees no gap between wafers, which have no verdicts: are belt.edge_level and the light right?",
        (true, false, true) => "connected, sees no wafer: is the belt empty, or the light out?",
    };
    let reasons: Vec<String> = totals.holds.iter().map(|(reason, cells)| format!("{reason} {cells}")).collect();
    let hold = if reasons.is_empty() { "0".to_owned() } else { format!("{} ({})", totals.hold, reasons.join(", ")) };
    let counts = [totals.pass.to_string(), totals.reject.to_string(), hold, totals.lines_lost.to_string(), running.cells.to_string()];
    let mut row = format!("<tr><td>{}</td><td>{camera}</td>", escape(lane));
    for count in counts {
        let _ = write!(row, "<td>{count}</td>");
    }
    for value in [running.iou, running.pa, running.oii] {
        let shown = if running.cells > 0 { format!("{value:.3}") } else { "–".into() };
        let _ = write!(row, "<td>{shown}</td>");
    }
    row + "</tr>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
