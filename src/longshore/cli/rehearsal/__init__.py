"""`longshore import iam`: the identities of a real account, rebuilt here, so that a team rehearses its own roles.

    plan.py       what has to be done so that here is as there: a function of both. Pure.
    command.py    the shell around it: the file, the server, what is told

It works by AWS's public operations. What they can't do is listed, and passed over.
"""
