//! The document of the gateway's streams (AsyncAPI 3.0), made from the types that they carry.
//! `spec/asyncapi.json` is the committed document.

use serde_json::{Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};
use wire::event::{CloudEvent, DEFAULT_PREFIX, RunData, RunEvent};

/// Every event about a run.
const EVENTS: [RunEvent; 7] = [
    RunEvent::Queued,
    RunEvent::Opening,
    RunEvent::Running,
    RunEvent::Finalizing,
    RunEvent::Finalized,
    RunEvent::Failed,
    RunEvent::Cancelled,
];

/// The document.
///
/// # Errors
///
/// Never in practice: schemas have a JSON form.
pub fn document() -> serde_json::Result<Value> {
    let mut found = Vec::new();
    RunData::schemas(&mut found);
    let mut schemas = serde_json::Map::new();
    for (name, schema) in found {
        schemas.insert(name, serde_json::to_value(schema)?);
    }
    schemas.insert("CloudEvent".to_owned(), serde_json::to_value(CloudEvent::schema())?);
    schemas.insert("RunData".to_owned(), serde_json::to_value(RunData::schema())?);

    let types = EVENTS.map(|event| {
        let name: &str = event.into();
        format!("dev.lumio.run.{name}.v1")
    });
    let message = json!({
        "name": "RunEvent",
        "title": "A run changed",
        "contentType": "application/cloudevents+json",
        "payload": { "allOf": [
            { "$ref": "#/components/schemas/CloudEvent" },
            { "type": "object", "properties": {
                "type": { "enum": types },
                "data": { "$ref": "#/components/schemas/RunData" },
            } },
        ] },
    });
    let messages = json!({ "runEvent": { "$ref": "#/components/messages/RunEvent" } });
    let run = json!({ "description": "The run: a UUID with dashes." });
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lumio runner: what becomes of runs",
            "version": "1",
            "description": "Server-sent events of the gateway, and the same events on the bus. \
                An event's id is its `<run>:<number>`; a stream's id is a cursor, which \
                Last-Event-ID takes.",
            "license": { "name": "Apache-2.0" },
        },
        "channels": {
            "events": {
                "address": "/events",
                "description": "GET, text/event-stream: every run that the caller may see.",
                "messages": messages,
            },
            "runEvents": {
                "address": "/runs/{id}/events",
                "description": "GET, text/event-stream: one run.",
                "parameters": { "id": run },
                "messages": messages,
            },
            "bus": {
                "address": format!("{DEFAULT_PREFIX}.run.v1.{{event}}.{{id}}"),
                "description": "JetStream; the first token is NATS_PREFIX.",
                "parameters": {
                    "event": { "enum": EVENTS.map(|event| -> &str { event.into() }) },
                    "id": run,
                },
                "messages": messages,
            },
        },
        "operations": {
            "followAll": { "action": "send", "channel": { "$ref": "#/channels/events" } },
            "followRun": { "action": "send", "channel": { "$ref": "#/channels/runEvents" } },
            "publish": { "action": "send", "channel": { "$ref": "#/channels/bus" } },
        },
        "components": { "messages": { "RunEvent": message }, "schemas": schemas },
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_events() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/asyncapi.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&document().unwrap()).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == text, "spec/asyncapi.json is out of date; run with UPDATE=1");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document().unwrap();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
