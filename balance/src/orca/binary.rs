//! `xds.data.orca.v3.OrcaLoadReport` in the encoding of Protocol Buffers. Unknown fields are skipped, as that encoding
//! wants.

use super::{LoadReport, OrcaError};

const DOUBLE: u64 = 1;
const BYTES: u64 = 2;

pub(super) fn parse(bytes: &[u8]) -> Result<LoadReport, OrcaError> {
    let mut report = LoadReport::default();
    let mut rest = Reader(bytes);
    while !rest.0.is_empty() {
        let tag = rest.varint()?;
        match (tag >> 3, tag & 7) {
            (1, DOUBLE) => report.set("cpu_utilization", rest.double()?)?,
            (2, DOUBLE) => report.set("mem_utilization", rest.double()?)?,
            (4, BYTES) => entry(&mut report, "request_cost", rest.bytes()?)?,
            (5, BYTES) => entry(&mut report, "utilization", rest.bytes()?)?,
            (6, DOUBLE) => report.set("rps_fractional", rest.double()?)?,
            (7, DOUBLE) => report.set("eps", rest.double()?)?,
            (8, BYTES) => entry(&mut report, "named_metrics", rest.bytes()?)?,
            (9, DOUBLE) => report.set("application_utilization", rest.double()?)?,
            (0 | 1 | 2 | 4..=9, _) => return Err(OrcaError::Syntax),
            (_, kind) => rest.skip(kind)?,
        }
    }
    Ok(report)
}

fn entry(report: &mut LoadReport, map: &str, bytes: &[u8]) -> Result<(), OrcaError> {
    let (mut name, mut value) = ("", 0.0);
    let mut rest = Reader(bytes);
    while !rest.0.is_empty() {
        let tag = rest.varint()?;
        match (tag >> 3, tag & 7) {
            (1, BYTES) => {
                let Ok(text) = std::str::from_utf8(rest.bytes()?) else { return Err(OrcaError::Syntax) };
                name = text;
            }
            (2, DOUBLE) => value = rest.double()?,
            (0..=2, _) => return Err(OrcaError::Syntax),
            (_, kind) => rest.skip(kind)?,
        }
    }
    report.set_named(map, name, value)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, OrcaError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { return Err(OrcaError::Syntax) };
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OrcaError::Syntax)
    }

    fn double(&mut self) -> Result<f64, OrcaError> {
        let Ok(bytes) = self.take(8)?.try_into() else { return Err(OrcaError::Syntax) };
        Ok(f64::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8], OrcaError> {
        let Ok(len) = self.varint()?.try_into() else { return Err(OrcaError::Syntax) };
        self.take(len)
    }

    fn skip(&mut self, kind: u64) -> Result<(), OrcaError> {
        match kind {
            0 => self.varint().map(|_| ()),
            1 => self.take(8).map(|_| ()),
            2 => self.bytes().map(|_| ()),
            5 => self.take(4).map(|_| ()),
            _ => Err(OrcaError::Syntax),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], OrcaError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(OrcaError::Syntax)?;
        self.0 = rest;
        Ok(taken)
    }
}
