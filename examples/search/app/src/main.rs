//! Searches files for a regular expression; prints text or JSON, or serves the results over HTTP.

mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Searches files for a regular expression.
#[derive(Parser)]
#[command(name = "search", version)]
struct Options {
    /// What to look for.
    pattern: String,
    /// A file or a directory; files that .gitignore names are passed over.
    #[arg(default_value = ".")]
    root: PathBuf,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// Serve the results as JSON on this loopback port, 0 for any free one; each GET searches anew.
    #[arg(long, value_name = "PORT")]
    serve: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(found) if found => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1), // as grep: nothing found
        Err(error) => {
            eprintln!("search: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    if let Some(port) = options.serve {
        serve::serve(port, options.pattern.clone(), options.root.clone())?;
        return Ok(true);
    }
    let report = scan::search(&options.pattern, &options.root)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for hit in &report.hits {
            println!("{hit}");
        }
        eprintln!("{}", report.summary);
    }
    Ok(report.summary.matches > 0)
}
