//! Identities: of a run, of a name, of a fact.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::error::{Code, Refusal};

/// The longest service, worker, agent or step name, in bytes.
pub const NAME_MAX_BYTES: usize = 128;

/// One process life: a random `UUIDv7`, so that identities order roughly by birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// Mints a new identity from the wall clock and the system's randomness.
    #[must_use]
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// The identity as a number, for a crate that must not know what a UUID is.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The identity behind a number that [`RunId::as_u128`] gave.
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        Uuid::parse_str(text).map(Self).map_err(|_| Refusal::new(Code::BadField, "run_id is not a UUID"))
    }
}

/// A bounded name: 1 to 128 bytes of `A-Z a-z 0-9 . _ : @ -`.
///
/// The allow-list is what lets a name stand in a metric label, a URL path and an HTML page; each sink
/// escapes all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Code::BadName`] when it is empty, too long, or has a byte outside the allow-list.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'@' | b'-');
        if text.is_empty() || text.len() > NAME_MAX_BYTES || !text.bytes().all(allowed) {
            let shown: String = text.chars().take(40).collect();
            return Err(Refusal::new(
                Code::BadName,
                format!("name {shown:?} is not 1 to {NAME_MAX_BYTES} of [A-Za-z0-9._:@-]"),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        Self::new(text)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Who speaks of a run. Each counts its own `seq` from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The run itself (`self`).
    #[serde(rename = "self")]
    Own,
    /// The parent that sees its real exit.
    Witness,
    /// A person or a pipeline.
    Operator,
    /// The collector.
    Observer,
}

impl Source {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Witness => "witness",
            Self::Operator => "operator",
            Self::Observer => "observer",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Source {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        [Self::Own, Self::Witness, Self::Operator, Self::Observer]
            .into_iter()
            .find(|source| source.as_str() == text)
            .ok_or_else(|| {
                Refusal::new(Code::BadField, "source is none of self, witness, operator, observer")
            })
    }
}

/// What makes a fact that one and no other: the same identity again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FactId {
    /// The run it speaks of.
    pub run_id: RunId,
    /// Who speaks.
    pub source: Source,
    /// The speaker's count for this run, from 1.
    pub seq: u64,
}
