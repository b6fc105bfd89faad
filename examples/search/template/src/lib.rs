//! `#[derive(Template)]`: a `Display` that follows a format string naming the struct's fields.

use proc_macro::TokenStream;
use quote::quote;
use syn::{parse_macro_input, Data, DeriveInput, Error, Fields, LitStr};

/// `#[template("{path}:{line}: {text}")]` says how a value is shown.
#[proc_macro_derive(Template, attributes(template))]
pub fn derive_template(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error().into())
}

fn expand(input: &DeriveInput) -> Result<TokenStream, Error> {
    let text: LitStr = input
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("template"))
        .ok_or_else(|| Error::new_spanned(input, "say #[template(\"...\")]"))?
        .parse_args()?;
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(named) => named.named.iter().filter_map(|field| field.ident.as_ref()),
            _ => return Err(Error::new_spanned(input, "a template needs named fields")),
        },
        _ => return Err(Error::new_spanned(input, "only a struct has a template")),
    };
    let used = fields.filter(|field| text.value().contains(&format!("{{{field}}}")));
    let name = &input.ident;
    Ok(quote! {
        impl ::std::fmt::Display for #name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                #(let #used = &self.#used;)*
                ::std::write!(f, #text)
            }
        }
    }
    .into())
}
