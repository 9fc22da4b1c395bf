//! Who takes part: an algorithm by name, with its defaults. Of parameters only the hash table and function, bounded
//! load and probes vary, each by a name of its own.

use std::{fmt, str::FromStr};

use evenkeel_balance::{
    Adaptive, Algorithm, Auto, ConsistentHash, HashFunction, LeastResponseTime, Prequal, Signals, Table,
    WeightedByLoad,
};
use serde::Deserialize;

/// An algorithm with its defaults.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum Entrant {
    /// One of those whose name says all.
    Plain(Plain),
    /// Consistent hashing by a table and a function, `bounded` to 1.25 times the mean load:
    /// `Ring`, `Maglev/bounded`, `Ring/MurmurHash3`.
    Hash {
        /// The table.
        table: TableName,
        /// The function.
        function: HashFunction,
        /// Bounded load.
        bounded: bool,
    },
}

/// Algorithms whose name says all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of balance")]
pub enum Plain {
    RoundRobin,
    WeightedRoundRobin,
    Random,
    PowerOfTwoChoices,
    LeastRequest,
    LeastResponseTime,
    Prequal,
    /// Prequal, by probes of the endpoints in place of what the proxy sees itself.
    PrequalProbed,
    WeightedByLoad,
    Adaptive,
    Auto,
    /// Auto that may choose Prequal by probes.
    AutoProbed,
}

/// Tables of consistent hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of balance")]
pub enum TableName {
    Ring,
    Maglev,
    Rendezvous,
}

/// Bounded load as the scenarios have it.
pub(crate) const BOUND: f64 = 1.25;

const PLAIN: [Plain; 12] = [
    Plain::RoundRobin,
    Plain::WeightedRoundRobin,
    Plain::Random,
    Plain::PowerOfTwoChoices,
    Plain::LeastRequest,
    Plain::LeastResponseTime,
    Plain::Prequal,
    Plain::PrequalProbed,
    Plain::WeightedByLoad,
    Plain::Adaptive,
    Plain::Auto,
    Plain::AutoProbed,
];
const TABLES: [(TableName, &str); 3] =
    [(TableName::Ring, "Ring"), (TableName::Maglev, "Maglev"), (TableName::Rendezvous, "Rendezvous")];
const FUNCTIONS: [(HashFunction, &str); 5] = [
    (HashFunction::XxHash64, "XxHash64"),
    (HashFunction::MurmurHash3, "MurmurHash3"),
    (HashFunction::Fnv1a, "FNV1a"),
    (HashFunction::SipHash, "SipHash"),
    (HashFunction::Md5, "MD5"),
];

impl Entrant {
    /// The algorithm.
    #[must_use]
    pub fn algorithm(self) -> Algorithm {
        match self {
            Self::Plain(plain) => plain.algorithm(),
            Self::Hash { table, function, bounded } => Algorithm::ConsistentHash(ConsistentHash {
                table: match table {
                    TableName::Ring => Table::default(),
                    TableName::Maglev => Table::Maglev { size: 65_537 },
                    TableName::Rendezvous => Table::Rendezvous,
                },
                function,
                bounded_load: bounded.then_some(BOUND),
            }),
        }
    }

    /// Whether it asks endpoints, which needs a path to ask.
    #[must_use]
    pub const fn probes(self) -> bool {
        matches!(self, Self::Plain(Plain::PrequalProbed | Plain::AutoProbed))
    }
}

impl Plain {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::RoundRobin => Algorithm::RoundRobin,
            Self::WeightedRoundRobin => Algorithm::WeightedRoundRobin,
            Self::Random => Algorithm::Random,
            Self::PowerOfTwoChoices => Algorithm::PowerOfTwoChoices { choices: 2 },
            Self::LeastRequest => Algorithm::LeastRequest { choices: 16 },
            Self::LeastResponseTime => Algorithm::LeastResponseTime(LeastResponseTime::default()),
            Self::Prequal => Algorithm::Prequal(Prequal::default()),
            Self::PrequalProbed => probed(),
            Self::WeightedByLoad => Algorithm::WeightedByLoad(WeightedByLoad::default()),
            Self::Adaptive => Algorithm::Adaptive(Adaptive::default()),
            Self::Auto => Algorithm::Auto(Auto::default()),
            Self::AutoProbed => {
                let mut auto = Auto::default();
                let prequal = auto.allowed.iter_mut().filter(|each| matches!(each, Algorithm::Prequal(_)));
                prequal.for_each(|each| *each = probed());
                Algorithm::Auto(auto)
            }
        }
    }
}

fn probed() -> Algorithm {
    Algorithm::Prequal(Prequal { signals: Signals::Fed, ..Prequal::default() })
}

impl FromStr for Entrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(plain) = PLAIN.into_iter().find(|plain| format!("{plain:?}") == text) {
            return Ok(Self::Plain(plain));
        }
        let mut words = text.split('/');
        let table = words.next().and_then(|word| TABLES.iter().find(|(_, name)| *name == word));
        let Some((table, _)) = table else { return Err(unknown(text)) };
        let (mut function, mut bounded) = (None, false);
        for word in words {
            let named = FUNCTIONS.iter().find(|(_, name)| *name == word).map(|(named, _)| *named);
            let again = if named.is_some() { function.is_some() } else { bounded };
            match (named, word) {
                (Some(_), _) if again => return Err(format!("{text:?} may name one function")),
                (None, "bounded") if again => return Err(format!("{text:?} may say bounded once")),
                (Some(named), _) => function = Some(named),
                (None, "bounded") => bounded = true,
                (None, _) => return Err(unknown(text)),
            }
        }
        Ok(Self::Hash { table: *table, function: function.unwrap_or(HashFunction::XxHash64), bounded })
    }
}

/// Which ones there are.
fn unknown(text: &str) -> String {
    let plain: Vec<_> = PLAIN.iter().map(|plain| format!("{plain:?}")).collect();
    let functions = FUNCTIONS.map(|(_, name)| format!("/{name}"));
    format!(
        "no algorithm {text:?}; there are {}, and Ring, Maglev, Rendezvous, each with /bounded or a function or both: {}",
        plain.join(", "),
        functions.join(", ")
    )
}

impl TryFrom<String> for Entrant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Entrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(plain) => f.pad(&format!("{plain:?}")),
            Self::Hash { table, function, bounded } => {
                let table = TABLES.iter().find(|(each, _)| each == table).map_or("", |(_, name)| *name);
                let function = FUNCTIONS.iter().skip(1).find(|(each, _)| each == function);
                let function = function.map_or_else(String::new, |(_, name)| format!("/{name}"));
                f.pad(&format!("{table}{function}{}", if *bounded { "/bounded" } else { "" }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, known: bool) {
        let parsed = text.parse::<Entrant>();
        assert_eq!(parsed.is_ok(), known, "{parsed:?}");
        if let Ok(entrant) = parsed {
            assert_eq!(entrant.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_told_which_there_are() {
        let problem = |text: &str| text.parse::<Entrant>().unwrap_err();
        assert!(problem("Ring/MD4").ends_with("/XxHash64, /MurmurHash3, /FNV1a, /SipHash, /MD5"));
        assert!(problem("Ring/MD5/SipHash").contains("may name one function"));
        assert!(problem("Ring/bounded/bounded").contains("may say bounded once"));
    }

    #[test]
    fn names_are_read_and_written() {
        PLAIN.iter().for_each(|plain| check(&format!("{plain:?}"), true));
        check("Ring", true);
        check("Maglev/bounded", true);
        check("Rendezvous/MurmurHash3", true);
        check("Ring/MD5/bounded", true);
        check("Ring/MD4", false);
        check("roundrobin", false);
    }
}
