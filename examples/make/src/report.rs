//! The most frequent words of a text, as a table.

pub fn report(text: &str, limit: usize) -> String {
    let counts = counts::most_frequent(text, limit);
    table::table(counts.iter().map(|(word, count)| (*count, word.as_str())))
}
