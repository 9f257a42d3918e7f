"""The one place where names meet: rooms, gateway, machines, agents.

`assemble` puts a house together, `indoors` runs agents inside the server's own process, `keys` keeps what lives outside the
database, `pages` answers what is not AWS's, `defaults` writes what `up` promises, `run` is the process.
"""
