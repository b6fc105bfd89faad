//! A hasher for maps, whose work is done in C.

use std::hash::{BuildHasherDefault, Hasher};

#[link(name = "fnvhash", kind = "static")]
extern "C" {
    fn fnv1a(hash: u64, data: *const u8, length: usize) -> u64;
}

pub type Build = BuildHasherDefault<Fnv>;

pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        // SAFETY: the function reads as many bytes as the slice has.
        self.0 = unsafe { fnv1a(self.0, bytes.as_ptr(), bytes.len()) };
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
