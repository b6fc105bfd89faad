//! Prints the ten most frequent words of what it reads.

use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    print!("{}", report::report(&text, 10));
    Ok(())
}
