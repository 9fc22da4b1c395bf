//! Names with numbers, without formatting anew for each.

/// Builds `name_0`, `name_1` and so on in one buffer.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    text: Vec<u8>,
    name: usize,
}

impl Numbered {
    /// Begins with another name.
    pub(super) fn name(&mut self, name: &str) {
        self.text.clear();
        self.text.extend_from_slice(name.as_bytes());
        self.text.push(b'_');
        self.name = self.text.len();
    }

    /// The name with this number, in decimal.
    pub(super) fn number(&mut self, mut number: u64) -> &[u8] {
        self.text.truncate(self.name);
        loop {
            self.text.push(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.text[self.name..].reverse();
        &self.text
    }
}
