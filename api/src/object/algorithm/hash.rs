//! Parameters of the algorithms by which a key of the request decides.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hash functions. Which one hardly matters for the spread; take another than the default to agree with something else.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashFunction {
    /// XXH64.
    #[default]
    XXHash64,
    /// MurmurHash3, x64, 128 bits, the first 64 of them.
    MurmurHash3,
    /// FNV-1a, 64 bits: its high bits mix badly, and on a ring these place the points.
    #[serde(rename = "FNV-1a")]
    Fnv1a,
    /// SipHash-2-4 under a fixed key.
    SipHash,
    /// The first 64 bits of MD5. For its spread alone; it protects nothing.
    MD5,
}

/// Parameters of SourceIPHash.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceIpHash {
    /// Function that hashes addresses and endpoints.
    pub hash_function: HashFunction,

    /// How many leading bits of an IPv4 address count: with 24, neighbours of a network share an endpoint.
    #[schemars(range(min = 1, max = 32))]
    pub ipv4_prefix_length: u8,

    /// How many leading bits of an IPv6 address count.
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix_length: u8,
}

impl Default for SourceIpHash {
    fn default() -> Self {
        Self { hash_function: HashFunction::default(), ipv4_prefix_length: 32, ipv6_prefix_length: 128 }
    }
}

/// Parameters of ConsistentHash.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConsistentHash {
    /// What of a request is hashed: the first of these that it has. A request that has none goes to a random endpoint.
    #[schemars(length(min = 1, max = 8))]
    pub keys: Vec<HashKey>,

    /// How keys are mapped to endpoints.
    #[serde(default)]
    pub table: HashTable,

    /// Function that hashes keys and endpoints.
    #[serde(default)]
    pub hash_function: HashFunction,

    /// Bounded load: how many requests in flight an endpoint may have, in per cent of the mean; a request goes on to
    /// the next endpoint then. Without it, the requests of a key go to its endpoint however many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 101, max = 1000))]
    pub maximum_load_percent: Option<u16>,
}

/// A part of a request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) == (self.type in ['Header', 'Cookie', 'Query'])")
    .message("name is what types Header, Cookie and Query need, and no other has").field_path(".name"))]
#[x_kube(validation = Rule::new("!has(self.name) || self.type == 'Query' || self.name.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$')")
    .message("name must be letters, digits and -._~!#$%&*+^| for a header or a cookie").field_path(".name"))]
#[x_kube(validation = Rule::new("!has(self.name) || self.type != 'Query' || self.name.matches('^[^&=#?<>\"]+$')")
    .message("name must be as it is written in the query, without & = # ? < > \"").field_path(".name"))]
pub struct HashKey {
    /// What it is.
    #[serde(rename = "type")]
    pub type_: HashKeyType,

    /// Name of the header, cookie or parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[!-~]+$"))]
    pub name: Option<String>,
}

/// The parts of a request that can be hashed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKeyType {
    /// The value of a header; of several, the first.
    Header,
    /// The value of a cookie.
    Cookie,
    /// The value of a query parameter, as it is written.
    Query,
    /// The path, without the query.
    Path,
    /// The host, without the port.
    Host,
    /// The address that connects to the proxy, or for which a peer within the class's `trustedCIDRs` asks in
    /// X-Forwarded-For: of those listed, the last that is not trusted itself.
    SourceIP,
}

/// How keys are mapped to endpoints.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.ring) || self.type == 'Ring'")
    .message("ring needs type Ring").field_path(".ring"))]
#[x_kube(validation = Rule::new("!has(self.maglev) || self.type == 'Maglev'")
    .message("maglev needs type Maglev").field_path(".maglev"))]
pub struct HashTable {
    /// The kind of table.
    #[serde(default, rename = "type")]
    pub type_: HashTableType,

    /// Parameters of Ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<Ring>,

    /// Parameters of Maglev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maglev: Option<Maglev>,
}

/// The kinds of table.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashTableType {
    /// Points on a ring: an endpoint that comes or goes moves its own keys alone.
    #[default]
    Ring,
    /// A table of fixed size (Maglev, NSDI 2016): the evenest, and the fastest; moves a few keys more than it must.
    Maglev,
    /// The highest hash of key and endpoint: moves what it must and no more; slow in large pools.
    Rendezvous,
}

/// Parameters of a ring.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Ring {
    /// Points per unit of an endpoint's weight: more of them spread keys more evenly, and take more memory. A ring has
    /// 524288 points at most: where it would have more, each unit of weight has half as many, or a quarter, and so on.
    #[schemars(range(min = 1, max = 2048))]
    pub points_per_weight: u32,
}

impl Default for Ring {
    fn default() -> Self {
        Self { points_per_weight: 160 }
    }
}

/// Parameters of a Maglev table.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Entries; the next prime number is taken. A hundred for each endpoint make shares differ by about 1 %.
    #[schemars(range(min = 11, max = 5_000_011))]
    pub table_size: u32,
}

impl Default for Maglev {
    fn default() -> Self {
        Self { table_size: 65_537 }
    }
}
