"""What Longshore costs, beside its peers: `scripts/bench` runs this.

`__main__` says what is measured and prints the table, `servers` starts Longshore and its peers, `account` gives each the
same account to work in, `requests` makes the bytes that are sent, `load` sends them from a process of its own, `jobs` and
`containers` measure jobs and bare containers. Nothing here is imported by Longshore.
"""
