//! A proc macro: a program that the compiler loads while it compiles `middle`.

use proc_macro::TokenStream;

/// `shout!("text")` is the text in capitals, at compile time.
#[proc_macro]
pub fn shout(input: TokenStream) -> TokenStream {
    input
        .to_string()
        .to_uppercase()
        .parse()
        .expect("capitals of a string literal are one")
}
