"""The command line: `up`, `serve`, `env`, `explain`, `images`, `agent`. Everything else is the `aws` command."""
