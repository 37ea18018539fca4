use super::{BlindMessage, MaskMessage, Reply, Request, StatusMessage, VerdictMessage};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Value, json};

/// The JSON Schemas (2020-12) of all messages, each with its name: file `docs/wire/<name>.schema.json`.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("verdict", of::<VerdictMessage>()),
        ("mask", of::<MaskMessage>()),
        ("status", of::<StatusMessage>()),
        ("blind", of::<BlindMessage>()),
        ("request", SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<Request>()),
        ("reply", of::<Reply>()),
    ]
}

/// Lets a schema of named values take names that a later version adds within the same version of the form.
pub(super) fn may_grow(schema: &mut Schema) {
    let Some(values) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { return };
    let known: Vec<Value> = values.iter().filter_map(|value| value.get("const").cloned()).collect();
    values.push(json!({ "description": "One that a later version has added.", "type": "string", "not": { "enum": known } }));
}

fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
