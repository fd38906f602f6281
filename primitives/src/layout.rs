//! The fixed layout of everything that is hashed or signed.
//!
//! Integers are big-endian at their full width, byte strings and lists carry a 32-bit length, options a flag byte.
//! Each value hashed or signed starts with a domain string, so that no bytes mean two things.

/// Writes values in the fixed layout.
#[derive(Clone, Debug, Default)]
pub struct Layout(Vec<u8>);

impl Layout {
    /// Starts a layout with its domain, for example `basalt/header/v1`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let mut l = Self(Vec::with_capacity(512));
        l.bytes(domain.as_bytes());
        l
    }

    /// Appends one byte.
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.0.push(v);
        self
    }

    /// Appends a 16-bit integer.
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }

    /// Appends a 32-bit integer.
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }

    /// Appends a 64-bit integer.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }

    /// Appends a 128-bit integer.
    pub fn u128(&mut self, v: u128) -> &mut Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }

    /// Appends bytes of a length both sides know.
    pub fn fixed<const N: usize>(&mut self, v: &[u8; N]) -> &mut Self {
        self.0.extend_from_slice(v);
        self
    }

    /// Appends a 32-bit length and the bytes. Panics above 4 GiB, which every decoder's bound excludes.
    pub fn bytes(&mut self, v: &[u8]) -> &mut Self {
        self.len(v.len());
        self.0.extend_from_slice(v);
        self
    }

    /// Appends the length of a list whose items follow.
    pub fn len(&mut self, n: usize) -> &mut Self {
        self.u32(u32::try_from(n).expect("bounded by every decoder"))
    }

    /// Appends a flag and, if there is one, the value.
    pub fn option<T>(&mut self, v: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        match v {
            None => self.u8(0),
            Some(v) => {
                self.u8(1);
                write(self, v);
                self
            }
        }
    }

    /// The bytes written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
