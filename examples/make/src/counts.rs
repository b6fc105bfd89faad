//! How often each word comes in a text.

use std::collections::HashMap;

/// The most frequent words with their counts; equally frequent ones in the order of the alphabet.
pub fn most_frequent(text: &str, limit: usize) -> Vec<(String, usize)> {
    let mut counts: HashMap<String, usize, fnv::Build> = HashMap::default();
    for word in words::words(text) {
        *counts.entry(word).or_insert(0) += 1;
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    sorted.truncate(limit);
    sorted
}
