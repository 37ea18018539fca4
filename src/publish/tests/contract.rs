//! `docs/wire/` says what the code does.

use super::{RUN, breaches, samples, validate};
use crate::cell::HoldReason;
use crate::judge::RULES;
use crate::publish::wire::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const HOW: &str = "regenerate it with `HAIRLINE_WRITE_SCHEMAS=1 cargo test --lib publish::tests::contract`, and look at the difference";

pub fn wire_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wire")
}

/// Compares a file with what it should be, or writes it if asked to.
fn agree(file: &Path, expected: &str) {
    if std::env::var_os("HAIRLINE_WRITE_SCHEMAS").is_some() {
        // Whole or not at all: other tests read the schemas meanwhile.
        crate::disk::write_whole(file, expected.as_bytes()).unwrap();
    }
    let found = std::fs::read_to_string(file).unwrap_or_default();
    assert!(found == expected, "{} is out of date; {HOW}", file.display());
}

#[test]
fn schemas_are_those_of_the_types() {
    for (name, schema) in schemas() {
        agree(&wire_dir().join(format!("{name}.schema.json")), &(serde_json::to_string_pretty(&schema).unwrap() + "\n"));
    }
}

/// Every field of every message is explained.
#[test]
fn every_property_has_a_description() {
    fn undescribed(value: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let tag = property.get("const").is_some();
                if property.get("description").is_none() && property.get("$ref").is_none() && !tag {
                    found.push(format!("{path}/{name}"));
                }
            }
        }
        for (key, inner) in value.as_object().into_iter().flatten() {
            undescribed(inner, &format!("{path}/{key}"), found);
        }
        for inner in value.as_array().into_iter().flatten() {
            undescribed(inner, path, found);
        }
    }
    let mut found = Vec::new();
    for (name, schema) in schemas() {
        undescribed(schema.as_value(), name, &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
}

/// The messages that the README shows, by the name in front of each block.
fn examples() -> Vec<(&'static str, &'static str, Value)> {
    let value = |message: &dyn erased::Json| message.value();
    let mut resent = samples::reject("a", 42);
    resent.resent = true;
    let reply = |body| value(&Reply::new(body));
    vec![
        ("verdict", "verdict", value(&samples::reject("a", 42))),
        ("hold", "verdict", value(&samples::hold("a", 43))),
        (
            "mask",
            "mask",
            value(&MaskMessage {
                schema: MaskSchema::V1,
                run: RUN.into(),
                lane: "a".into(),
                number: 42,
                width_px: 1344,
                height_px: 1344,
                encoding: MaskEncoding::Png1Bit,
            }),
        ),
        ("status", "status", value(&samples::status("a"))),
        ("blind", "blind", value(&samples::blind("a"))),
        (
            "bind by encoder",
            "request",
            json!({"request": "bind", "lane": "a", "id": "CARRIER-0815", "encoder_count": 1720320, "tolerance_counts": 200}),
        ),
        (
            "bind by time",
            "request",
            json!({"request": "bind", "lane": "a", "id": "CARRIER-0815", "unix_ns": samples::NOON_NS, "tolerance_ms": 50.0}),
        ),
        ("bound", "reply", reply(ReplyBody::Bound { lane: "a".into(), id: "CARRIER-0815".into() })),
        ("replay", "request", json!({"request": "replay", "lane": "a", "from": 42, "limit": 100})),
        ("replay end", "reply", reply(ReplyBody::ReplayEnd { run: RUN.into(), lane: "a".into(), sent: 100, next: 142 })),
        (
            "ask for blind times",
            "request",
            json!({"request": "blind", "lane": "a", "since_unix_ns": samples::NOON_NS - 3_600_000_000_000_i64}),
        ),
        ("blind times", "reply", reply(ReplyBody::Blind { records: vec![samples::blind("a")], complete: true })),
        ("error", "reply", reply(ReplyBody::Error { error: "this station has no lane `c`, it has `a`, `b`".into() })),
        (
            "hello",
            "reply",
            reply(ReplyBody::Hello {
                station: "line-3".into(),
                run: RUN.into(),
                lanes: vec![LaneNumbers { lane: "a".into(), last: 5120 }, LaneNumbers { lane: "b".into(), last: 5098 }],
            }),
        ),
    ]
}

mod erased {
    /// Serialisation behind a reference, so that examples of all types fit one list.
    pub trait Json {
        fn value(&self) -> serde_json::Value;
    }
    impl<T: serde::Serialize> Json for T {
        fn value(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}

/// Puts `within` between `begin` and the next `end` of a text that has them.
fn put(text: &mut String, begin: &str, end: &str, within: &str) -> bool {
    let Some(start) = text.find(begin).map(|at| at + begin.len()) else { return false };
    let end = start + text[start..].find(end).expect("its end");
    text.replace_range(start..end, within);
    true
}

#[test]
fn the_pages_show_real_messages() {
    let pages = ["feed.md", "requests.md"].map(|page| wire_dir().join(page));
    let mut texts = pages.each_ref().map(|page| std::fs::read_to_string(page).unwrap());
    for (name, schema, example) in examples() {
        validate(schema, &example);
        let (begin, shown) = (format!("<!-- example: {name} -->\n```json\n"), serde_json::to_string_pretty(&example).unwrap());
        assert!(texts.iter_mut().any(|text| put(text, &begin, "\n```", &shown)), "no page has the example `{name}`");
    }
    let shown: usize = texts.iter().map(|text| text.matches("<!-- example: ").count()).sum();
    assert_eq!(shown, examples().len(), "an example that no test makes");
    pages.iter().zip(&texts).for_each(|(page, text)| agree(page, text));
}

/// The names that a schema's definition allows, each with what it says of it.
fn named(schema: &str, definition: &str) -> Vec<(String, String)> {
    let (_, schema) = schemas().into_iter().find(|(name, _)| *name == schema).unwrap();
    let definition = &schema.as_value()["$defs"][definition];
    let values = definition.get("oneOf").or_else(|| definition.get("anyOf")).and_then(Value::as_array).unwrap();
    let name = |value: &Value| value.get("const").or_else(|| value["properties"]["reason"].get("const"))?.as_str().map(str::to_owned);
    values.iter().filter_map(|value| Some((name(value)?, value["description"].as_str()?.replace('\n', " ")))).collect()
}

#[test]
fn the_readme_names_all_reasons_rules_and_states() {
    let file = wire_dir().join("README.md");
    let mut text = std::fs::read_to_string(&file).unwrap();
    let rules = RULES.iter().map(|rule| format!("- `{rule}`\n")).collect::<String>();
    let table = |names: Vec<(String, String)>| {
        let rows = names.iter().map(|(name, description)| format!("| `{name}` | {description} |\n")).collect::<String>();
        format!("| | |\n|---|---|\n{rows}")
    };
    let reasons = named("verdict", "HoldReason");
    assert_eq!(reasons.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), HoldReason::NAMES);
    for (names, told) in [
        ("hold reasons", table(reasons)),
        ("rules", rules),
        ("camera", table(named("status", "CameraState"))),
        ("belt", table(named("status", "BeltState"))),
    ] {
        assert!(put(&mut text, &format!("<!-- names: {names} -->\n"), "<!-- end -->", &told), "{names}");
    }
    agree(&file, &text);
}

#[test]
fn a_record_of_before_the_recipe_was_told_is_read_and_valid() {
    let mut message = serde_json::to_value(samples::pass("a", 1)).unwrap();
    message.as_object_mut().unwrap().remove("recipe").unwrap();
    validate("verdict", &message);
    assert_eq!(serde_json::from_value::<VerdictMessage>(message).unwrap().recipe, None);
}

/// What may be added within a version is read by who does not know it yet.
#[test]
fn reasons_and_states_of_a_later_version_are_read_and_valid_and_known_ones_must_be_whole() {
    let mut message = serde_json::to_value(samples::hold("a", 1)).unwrap();
    message["hold"] = json!({"reason": "meteor", "detail": "a hole", "size_mm": 3.5});
    validate("verdict", &message);
    let read = serde_json::from_value::<VerdictMessage>(message.clone()).unwrap().hold.unwrap();
    assert_eq!((read.to_string().as_str(), read.name()), ("meteor: a hole", "other"));
    for reason in HoldReason::NAMES {
        assert_ne!(serde_json::from_value::<HoldReason>(json!({"reason": reason, "lines": 1, "detail": ""})).unwrap().name(), "other");
    }
    message["hold"] = json!({"reason": "lines_lost"});
    assert!(!breaches("verdict", &message).is_empty(), "how many?");

    let mut message = serde_json::to_value(samples::status("a")).unwrap();
    (message["camera"], message["belt"]) = (json!("asleep"), json!("runs_back"));
    validate("status", &message);
    let read: StatusMessage = serde_json::from_value(message.clone()).unwrap();
    assert_eq!((read.camera, read.belt), (CameraState::Unknown, BeltState::Unknown));
    message["camera"] = json!(1);
    assert!(!breaches("status", &message).is_empty(), "no name");
}

#[test]
fn another_version_is_refused() {
    let mut message = serde_json::to_value(samples::pass("a", 1)).unwrap();
    assert!(serde_json::from_value::<VerdictMessage>(message.clone()).is_ok());
    message["schema"] = json!("hairline.verdict/2");
    assert!(serde_json::from_value::<VerdictMessage>(message).is_err());
}

#[test]
fn a_gate_opens_only_on_a_timely_first_open() {
    let open = samples::pass("a", 1);
    let by = open.gate_by_unix_ns.unwrap();
    assert!(open.opens_gate(by));
    assert!(!open.opens_gate(by + 1), "too late");
    assert!(!VerdictMessage { resent: true, ..open.clone() }.opens_gate(by), "told again");
    assert!(!samples::reject("a", 1).opens_gate(by));
    assert!(VerdictMessage { gate_by_unix_ns: None, ..open }.opens_gate(i64::MAX), "no deadline");
}
