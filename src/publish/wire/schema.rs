use super::{BlindMessage, MaskMessage, Reply, Request, StatusMessage, VerdictMessage};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};

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

fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
