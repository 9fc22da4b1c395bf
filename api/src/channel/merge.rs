//! JSON Merge Patch (RFC 7396), made and applied.

use serde_json::{Map, Value};

/// Applies `patch` to `target`.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, change) in patch {
        if change.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// The patch that makes `new` of `old`, or `None` if they are equal. Neither may hold a null, which a patch cannot say.
#[must_use]
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, new)| {
        let change = match old.get(key) {
            Some(old) => merge_patch(old, new)?,
            None => new.clone(),
        };
        Some((key.clone(), change))
    });
    let patch: Map<_, _> = removed.chain(changed).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(target: Value, patch: &Value, expect: &Value) {
        let mut target = target;
        merge(&mut target, patch);
        assert_eq!(target, *expect);
    }

    /// The table of RFC 7396, appendix A.
    #[test]
    fn merges_as_the_rfc_says() {
        check(json!({"a": "b"}), &json!({"a": "c"}), &json!({"a": "c"}));
        check(json!({"a": "b"}), &json!({"b": "c"}), &json!({"a": "b", "b": "c"}));
        check(json!({"a": "b"}), &json!({"a": null}), &json!({}));
        check(json!({"a": "b", "b": "c"}), &json!({"a": null}), &json!({"b": "c"}));
        check(json!({"a": ["b"]}), &json!({"a": "c"}), &json!({"a": "c"}));
        check(json!({"a": "c"}), &json!({"a": ["b"]}), &json!({"a": ["b"]}));
        check(json!({"a": {"b": "c"}}), &json!({"a": {"b": "d", "c": null}}), &json!({"a": {"b": "d"}}));
        check(json!({"a": [{"b": "c"}]}), &json!({"a": [1]}), &json!({"a": [1]}));
        check(json!(["a", "b"]), &json!(["c", "d"]), &json!(["c", "d"]));
        check(json!({"a": "b"}), &json!(["c"]), &json!(["c"]));
        check(json!({"a": "foo"}), &json!(null), &json!(null));
        check(json!({"a": "foo"}), &json!("bar"), &json!("bar"));
        check(json!({"e": null}), &json!({"a": 1}), &json!({"e": null, "a": 1}));
        check(json!([1, 2]), &json!({"a": "b", "c": null}), &json!({"a": "b"}));
        check(json!({}), &json!({"a": {"bb": {"ccc": null}}}), &json!({"a": {"bb": {}}}));
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3u8).prop_map(Value::from)];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_made_patch_makes_the_new_of_the_old(old in document(), new in document()) {
            let mut made = old.clone();
            if let Some(patch) = merge_patch(&old, &new) {
                merge(&mut made, &patch);
            }
            prop_assert_eq!(made, new);
        }
    }
}
