"""`longshore doctor`: checks the chain of roles of an account and says in plain words what is wrong and what mends it.

    read.py    -> Account      what an account says of itself, by AWS's public operations alone
    asked.py   -> Asked        which questions about it only policies can answer
    judge.py   -> Answer       the same questions, answered from the policies that were read
    checks.py  -> Finding      what is wrong: a table of functions of what was read
    mend.py    -> Do           the commands that mend a finding
    show.py                    a report for people, or for programs
    command.py                 the shell around it: options, questions, exit codes

All but read.py and command.py are pure. Nothing of the server is imported: doctor is told where to look, and looks there
in the same way at Longshore, at AWS itself and at any other server that speaks its protocols.
"""
