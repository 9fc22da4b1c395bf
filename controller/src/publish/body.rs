//! Versions as bodies. Pools are kept as canonical text, so that a whole version is put together without parsing.

use std::collections::BTreeMap;

use bytes::Bytes;
use evenkeel_api::channel::{PoolUid, SnapshotPatch, merge_patch};
use serde_json::Value;

use crate::published::Published;

/// The whole of `version`: a `SnapshotDocument`.
#[must_use]
pub fn whole(version: &Published) -> Bytes {
    let Published { epoch, revision, hash, pools } = version;
    let length: usize = pools.iter().map(|(uid, pool)| uid.len() + pool.text.as_str().len() + 8).sum();
    let mut body = String::with_capacity(length + 256);
    body.push_str(&format!(r#"{{"epoch":{epoch},"revision":{revision},"hash":"{hash}","pools":{{"#));
    for (at, (uid, pool)) in pools.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        body.push_str(&Value::from(uid.as_str()).to_string());
        body.push(':');
        body.push_str(pool.text.as_str());
    }
    body.push_str("}}");
    body.into()
}

/// What makes `new` of `old`: a `SnapshotPatch`. Costs as much as the pools that changed.
#[must_use]
pub fn change(old: &Published, new: &Published) -> Bytes {
    let removed = old.pools.keys().filter(|uid| !new.pools.contains_key(*uid));
    let mut pools: BTreeMap<PoolUid, Value> = removed.map(|uid| (uid.clone(), Value::Null)).collect();
    for (uid, pool) in &new.pools {
        let change = match old.pools.get(uid) {
            Some(old) if old.text.digest() == pool.text.digest() => None,
            Some(old) => merge_patch(&old.text.to_value(), &pool.text.to_value()),
            None => Some(pool.text.to_value()),
        };
        pools.extend(change.map(|change| (uid.clone(), change)));
    }
    let patch = SnapshotPatch { epoch: new.epoch, revision: new.revision, hash: new.hash.clone(), pools };
    // A document of strings and numbers: there is nothing that JSON cannot hold.
    serde_json::to_vec(&patch).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use evenkeel_api::channel::{PoolText, SnapshotDocument, merge};
    use serde_json::json;

    use super::*;
    use crate::published::PublishedPool;

    fn version(revision: u64, pools: &[(&str, Value)]) -> Published {
        let pools = pools.iter().map(|(uid, value)| {
            ((*uid).to_owned(), PublishedPool { text: PoolText::new(value).unwrap(), generation: 1 })
        });
        Published::new(3, revision, pools.collect())
    }

    #[test]
    fn a_whole_version_is_a_snapshot_document() {
        let version = version(2, &[("a\"b", json!({"x": "ä"})), ("c", json!({}))]);
        let document: SnapshotDocument = serde_json::from_slice(&whole(&version)).unwrap();
        assert_eq!((document.epoch, document.revision, document.hash), (3, 2, version.hash));
        assert_eq!(document.pools["a\"b"], json!({"x": "ä"}));
        assert_eq!(document.pools.len(), 2);
        assert_eq!(&whole(&Published::new(0, 1, BTreeMap::new()))[..12], br#"{"epoch":0,""#);
    }

    #[test]
    fn a_change_holds_what_changed_and_makes_the_new_of_the_old() {
        let old = version(1, &[("a", json!({"x": 1, "y": 1})), ("b", json!({})), ("gone", json!({}))]);
        let new = version(2, &[("a", json!({"x": 2})), ("b", json!({})), ("new", json!({"z": []}))]);
        let patch: SnapshotPatch = serde_json::from_slice(&change(&old, &new)).unwrap();
        assert_eq!((patch.epoch, patch.revision, &patch.hash), (3, 2, &new.hash));
        let expect = json!({"a": {"x": 2, "y": null}, "gone": null, "new": {"z": []}});
        assert_eq!(serde_json::to_value(&patch.pools).unwrap(), expect);
        let mut made: Value =
            old.pools.iter().map(|(uid, pool)| (uid.clone(), pool.text.to_value())).collect();
        merge(&mut made, &expect);
        let wanted: Value = new.pools.iter().map(|(uid, pool)| (uid.clone(), pool.text.to_value())).collect();
        assert_eq!(made, wanted);
    }
}
