//! An object of numbers and of objects of numbers, which is all of JSON that a report needs. A parser of its own, since
//! others let the last of two equal keys win, and this crate is to stay small.

use super::{LoadReport, OrcaError, number};

pub(super) fn parse(text: &[u8]) -> Result<LoadReport, OrcaError> {
    let Ok(text) = std::str::from_utf8(text) else { return Err(OrcaError::Syntax) };
    let mut report = LoadReport::default();
    let mut rest = Reader(text);
    rest.object(|rest, field| {
        if rest.peek() == Some('{') {
            return rest.object(|rest, name| {
                let value = rest.number()?;
                report.set_named(field, name, value)
            });
        }
        let value = rest.number()?;
        // Deprecated, and of no use here.
        if field == "rps" { Ok(()) } else { report.set(field, value) }
    })?;
    if rest.peek().is_some() { Err(OrcaError::Syntax) } else { Ok(report) }
}

struct Reader<'a>(&'a str);

impl Reader<'_> {
    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
        self.0.chars().next()
    }

    fn expect(&mut self, expected: char) -> Result<(), OrcaError> {
        if self.peek() != Some(expected) {
            return Err(OrcaError::Syntax);
        }
        self.0 = &self.0[expected.len_utf8()..];
        Ok(())
    }

    /// An object; `entry` reads the value of each key.
    fn object(
        &mut self,
        mut entry: impl FnMut(&mut Self, &str) -> Result<(), OrcaError>,
    ) -> Result<(), OrcaError> {
        self.expect('{')?;
        if self.peek() == Some('}') {
            return self.expect('}');
        }
        loop {
            let key = self.string()?;
            self.expect(':')?;
            entry(self, &key)?;
            match self.peek() {
                Some(',') => self.expect(',')?,
                _ => return self.expect('}'),
            }
        }
    }

    fn string(&mut self) -> Result<String, OrcaError> {
        self.expect('"')?;
        let mut text = String::new();
        let mut characters = self.0.chars();
        loop {
            match characters.next().ok_or(OrcaError::Syntax)? {
                '"' => break,
                '\\' => text.push(escaped(&mut characters)?),
                '\0'..='\u{1f}' => return Err(OrcaError::Syntax),
                other => text.push(other),
            }
        }
        self.0 = characters.as_str();
        Ok(text)
    }

    /// A number, or a string that holds one, as the JSON of Protocol Buffers may have it.
    fn number(&mut self) -> Result<f64, OrcaError> {
        if self.peek() == Some('"') {
            return number(&self.string()?);
        }
        let end = self.0.find([',', '}', ' ', '\t', '\r', '\n']).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        number(text)
    }
}

fn escaped(characters: &mut std::str::Chars<'_>) -> Result<char, OrcaError> {
    Ok(match characters.next().ok_or(OrcaError::Syntax)? {
        same @ ('"' | '\\' | '/') => same,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let digit = |characters: &mut std::str::Chars<'_>| {
                characters.next().and_then(|c| c.to_digit(16)).ok_or(OrcaError::Syntax)
            };
            let code = (0..4).try_fold(0, |code, _| Ok(code * 16 + digit(characters)?))?;
            // Halves of pairs are not put together: no name of a metric needs them.
            char::from_u32(code).ok_or(OrcaError::Syntax)?
        }
        _ => return Err(OrcaError::Syntax),
    })
}
