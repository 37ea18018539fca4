//! A page of HTML with everything in it: styles, charts as SVG, pictures as base64.

use super::chart::{Chart, escape};
use super::gallery::{ALARM, HIT, MISS, Shown};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::fmt::Write;

/// Grows part by part.
pub(super) struct Page {
    html: String,
}

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#f5f6f7;margin:0 auto;max-width:1200px;padding:24px}\
h1{font-size:24px;margin:0 0 16px}h2{font-size:18px;margin:32px 0 12px}\
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(130px,1fr));gap:10px}\
.tile,.card{background:#fff;border:1px solid #e2e4e7;border-radius:8px}\
.tile{padding:10px 14px}.tile b{display:block;font-size:20px;font-variant-numeric:tabular-nums}.tile span{color:#667;font-size:13px}\
.charts,.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(480px,1fr));gap:14px}\
.card{padding:10px;overflow:hidden}.card svg,.card img{width:100%;display:block}.card img{image-rendering:pixelated}\
.caption{font-size:13px;color:#445;margin-top:8px}.key i{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 5px 0 14px;vertical-align:-1px}\
table{border-collapse:collapse;background:#fff;border:1px solid #e2e4e7;border-radius:8px}\
td{padding:5px 14px;border-top:1px solid #eee;font-variant-numeric:tabular-nums}td:first-child{color:#667}\
@media print{body{background:#fff}}";

impl Page {
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        let html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        );
        Self { html }
    }

    fn add(&mut self, part: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = self.html.write_fmt(part);
    }

    /// Figures to be seen first: what, and how much.
    pub fn tiles(&mut self, tiles: &[(String, String)]) {
        self.html.push_str("<div class=\"tiles\">");
        for (what, value) in tiles {
            self.add(format_args!("<div class=\"tile\"><b>{}</b><span>{}</span></div>", escape(value), escape(what)));
        }
        self.html.push_str("</div>\n");
    }

    pub fn charts(&mut self, title: &str, charts: &[Chart]) {
        self.add(format_args!("<h2>{}</h2>\n<div class=\"charts\">", escape(title)));
        charts.iter().for_each(|chart| self.add(format_args!("<div class=\"card\">{}</div>\n", chart.svg())));
        self.html.push_str("</div>\n");
    }

    pub fn gallery(&mut self, title: &str, shown: &[Shown]) {
        if shown.is_empty() {
            return;
        }
        self.add(format_args!("<h2>{}</h2>\n<p class=\"key\">Picture, label, what was found:", escape(title)));
        for ([red, green, blue], what) in [(HIT, "found"), (ALARM, "false alarm (FP)"), (MISS, "missed (FN)")] {
            self.add(format_args!("<i style=\"background:rgb({red},{green},{blue})\"></i>{what}"));
        }
        self.html.push_str("</p>\n<div class=\"pictures\">");
        for picture in shown {
            let c = picture.counts;
            self.add(format_args!(
                "<div class=\"card\"><img alt=\"\" src=\"data:image/png;base64,{}\"><div class=\"caption\"><b>{}</b> · IoU {:.3} · {} px found, {} false, {} missed</div></div>\n",
                STANDARD.encode(&picture.png),
                escape(&picture.caption),
                c.iou(),
                c.tp,
                c.fp,
                c.fn_
            ));
        }
        self.html.push_str("</div>\n");
    }

    pub fn table(&mut self, title: &str, rows: &[(String, String)]) {
        self.add(format_args!("<h2>{}</h2>\n<table>", escape(title)));
        rows.iter().for_each(|(key, value)| self.add(format_args!("<tr><td>{}</td><td>{}</td></tr>\n", escape(key), escape(value))));
        self.html.push_str("</table>\n");
    }

    pub fn list(&mut self, title: &str, items: &[Value]) {
        if items.is_empty() {
            return;
        }
        self.add(format_args!("<h2>{}</h2>\n<ul>", escape(title)));
        items.iter().filter_map(Value::as_str).for_each(|item| self.add(format_args!("<li>{}</li>\n", escape(item))));
        self.html.push_str("</ul>\n");
    }

    pub fn finish(mut self) -> String {
        self.html.push_str("</body></html>\n");
        self.html
    }
}
