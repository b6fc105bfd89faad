"""The companion commands of `headstart`, one module each with a `main(arguments) -> exit code`."""
