//! What an API server asks of an object that JSON Schema has no words for: no field that the schema does not name, and
//! nothing twice in a list that it calls a set or a map.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{SchemaError, Segment};

/// All that is wrong with `value` as it was written. What is of another type than it should be is left to the bounds.
pub(super) fn errors(schema: &Value, value: &Value) -> Vec<SchemaError> {
    let mut errors = Vec::new();
    walk(schema, value, &mut Vec::new(), &mut |path, message| {
        errors.push(SchemaError { path: path.to_vec(), message });
    });
    errors
}

fn walk(schema: &Value, value: &Value, path: &mut Vec<Segment>, found: &mut impl FnMut(&[Segment], String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                path.push(Segment::key(name));
                let of_name = schema["properties"].get(name);
                match of_name.or_else(|| schema.get("additionalProperties")) {
                    Some(schema) => walk(schema, value, path, found),
                    None => found(path, "unknown field".to_owned()),
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            let mut keys = HashSet::new();
            for (index, item) in items.iter().enumerate() {
                path.push(Segment::Index(index));
                if let Some(key) = key(schema, item).and_then(|key| keys.replace(key)) {
                    found(path, format!("duplicate value: {key}"));
                }
                walk(&schema["items"], item, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// What tells an item of a list from the others: in a set the item, in a map its keys. `None` where items may be alike,
/// and where a key is missing.
fn key(list: &Value, item: &Value) -> Option<Value> {
    match list["x-kubernetes-list-type"].as_str()? {
        "set" => Some(item.clone()),
        "map" => {
            let names = list["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Value::as_str);
            let key = names.map(|name| Some((name.to_owned(), item.get(name)?.clone())));
            key.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        _ => None,
    }
}
