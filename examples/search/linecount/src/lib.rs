//! Counts lines with a little C: the workspace's native static library.

use std::os::raw::c_char;

extern "C" {
    fn linecount(text: *const c_char, size: usize) -> usize;
}

/// How many lines `text` holds; a last line without its newline counts.
pub fn count(text: &[u8]) -> usize {
    // SAFETY: the C side reads exactly `size` bytes from `text` and keeps nothing.
    unsafe { linecount(text.as_ptr().cast(), text.len()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_the_unfinished_last_line() {
        assert_eq!(super::count(b""), 0);
        assert_eq!(super::count(b"a\n"), 1);
        assert_eq!(super::count(b"a\n\nb"), 3);
    }
}
