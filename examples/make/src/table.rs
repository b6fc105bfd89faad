//! Tables of text.

/// Lines of two columns: numbers to the right, names to the left.
pub fn table<'a>(rows: impl IntoIterator<Item = (usize, &'a str)>) -> String {
    let rows: Vec<(String, &str)> = rows.into_iter().map(|(number, name)| (number.to_string(), name)).collect();
    let width = rows.iter().map(|(number, _)| number.len()).max().unwrap_or(0);
    rows.iter().map(|(number, name)| format!("{number:>width$}  {name}\n")).collect()
}
