"""The command line: `serve` and `env`. Everything else is the `aws` command."""
