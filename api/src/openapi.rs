//! The config channel as an OpenAPI 3.1 document. `xtask generate` writes it to api/openapi.yaml.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::channel::{
    Acknowledgement, ErrorReport, MAX_SNAPSHOT_BYTES, MERGE_PATCH, POOLS_PATH, PoolDocument, PoolsReport,
    ReceivedSnapshot, SNAPSHOT_PATH, SnapshotDocument, SnapshotPatch,
};

/// The document.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut schema = Schemas(&mut schemas);
    let paths = json!({
        SNAPSHOT_PATH: {
            "get": {
                "operationId": "getSnapshot",
                "summary": "The pools as received, and of those that were rejected the version in use",
                "responses": answers(&mut schema, Some(("The snapshot", reference::<ReceivedSnapshot>)), &["403"]),
            },
            "put": {
                "operationId": "putSnapshot",
                "summary": "Replaces the whole state",
                "requestBody": {
                    "required": true,
                    "content": {"application/json": {"schema": schema.reference::<SnapshotDocument>()}},
                },
                "responses": answers(&mut schema, ACKNOWLEDGED, &["403", "409", "413", "415", "422"]),
            },
            "patch": {
                "operationId": "patchSnapshot",
                "summary": "Changes the state that If-Match names",
                "parameters": [{
                    "name": "If-Match", "in": "header", "required": true,
                    "description": "Hash of the base, in quotes",
                    "schema": {"type": "string", "pattern": "^\"[0-9a-f]{64}\"$"},
                }],
                "requestBody": {
                    "required": true,
                    "content": {MERGE_PATCH: {"schema": schema.reference::<SnapshotPatch>()}},
                },
                "responses": answers(&mut schema, ACKNOWLEDGED, &["403", "409", "412", "413", "415", "422", "428"]),
            },
        },
        POOLS_PATH: {
            "get": {
                "operationId": "getPools",
                "summary": "What this proxy knows of its pools; the controller's heartbeat",
                "responses": answers(&mut schema, Some(("The report", reference::<PoolsReport>)), &["403"]),
            },
        },
    });
    schema.reference::<PoolDocument>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Evenkeel config channel",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": format!("{DESCRIPTION}\nBodies are at most {MAX_SNAPSHOT_BYTES} bytes."),
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"certificate": {
                "type": "mutualTLS",
                "description": "A certificate of the install's own CA, with the name of a controller",
            }},
        },
        "security": [{"certificate": []}],
    })
}

const DESCRIPTION: &str = "\
Served by every proxy on port 9443, over mTLS. Members of `pools` are documents of the schema PoolDocument; a proxy rejects
one that it cannot read, and keeps the version that it has, without harm to the others.

`hash` is the SHA-256, in hexadecimal, of a line `UID HASH` for each pool in byte order of the UIDs, each line ended by a
newline, where HASH is the SHA-256 of the pool's document in the canonical form of RFC 8785.

Order is (epoch, revision): a lower one, or the same with another hash, is answered 409; the same with the same hash 200.";

type Reference = fn(&mut Schemas<'_>) -> Value;

const ACKNOWLEDGED: Option<(&str, Reference)> =
    Some(("The request path uses the new state, but for the pools rejected", reference::<Acknowledgement>));

fn reference<T: JsonSchema>(schemas: &mut Schemas<'_>) -> Value {
    schemas.reference::<T>()
}

struct Schemas<'a>(&'a mut schemars::SchemaGenerator);

impl Schemas<'_> {
    fn reference<T: JsonSchema>(&mut self) -> Value {
        self.0.subschema_for::<T>().to_value()
    }
}

fn answers(schemas: &mut Schemas<'_>, success: Option<(&str, Reference)>, errors: &[&str]) -> Value {
    let mut answers = serde_json::Map::new();
    if let Some((description, schema)) = success {
        let schema = schema(schemas);
        answers.insert(
            "200".to_owned(),
            json!({"description": description, "content": {"application/json": {"schema": schema}}}),
        );
    }
    for status in errors {
        let schema = schemas.reference::<ErrorReport>();
        answers.insert(
            (*status).to_owned(),
            json!({"description": meaning(status), "content": {"application/json": {"schema": schema}}}),
        );
    }
    Value::Object(answers)
}

fn meaning(status: &str) -> &'static str {
    match status {
        "403" => "The certificate is of our CA, but not a controller's",
        "409" => "Older than what the proxy has",
        "412" => "The base is not what the proxy has: send the whole",
        "413" => "Too large",
        "415" => "Not the media type expected",
        "428" => "No If-Match",
        _ => "Not the JSON expected, with the position, or a hash that does not fit its pools",
    }
}
