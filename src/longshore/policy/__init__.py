"""The policy language of IAM. Pure: documents and a question in, a decision out.

`document` compiles JSON once, `match` knows wildcards and variables, `conditions` one function an operator family,
`evaluate` decides, `validate` refuses malformed documents in AWS's words.
"""
