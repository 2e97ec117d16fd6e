//! Short texts without an allocator: paths under `/proc`, id maps.

use core::ffi::CStr;

/// At most 63 bytes and a NUL; what does not fit is left out, which no caller comes near.
pub(crate) struct Text {
    bytes: [u8; 64],
    length: usize,
}

impl Text {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 64], length: 0 }
    }

    pub(crate) fn push(mut self, text: &CStr) -> Self {
        for byte in text.to_bytes() {
            self = self.byte(*byte);
        }
        self
    }

    pub(crate) fn number(mut self, number: u32) -> Self {
        let mut unit = 1_000_000_000;
        while unit > 1 && number / unit == 0 {
            unit /= 10;
        }
        while unit > 0 {
            self = self.byte(b'0' + (number / unit % 10) as u8);
            unit /= 10;
        }
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        if let Some(place) = self.bytes.get_mut(self.length).filter(|_| self.length < 63) {
            *place = byte;
            self.length += 1;
        }
        self
    }

    pub(crate) fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_join_into_a_path() {
        let path = Text::new().push(c"/proc/").number(10).push(c"/ns/user");
        assert_eq!(path.as_cstr(), c"/proc/10/ns/user");
        assert_eq!(Text::new().number(0).as_cstr(), c"0");
        assert_eq!(Text::new().number(u32::MAX).as_cstr(), c"4294967295");
    }
}
