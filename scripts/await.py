"""Waits until a JMESPath expression over the answer of an AWS call gives something, and prints what.

    await.py SECONDS SERVICE OPERATION PARAMETERS EXPRESSION

SERVICE and OPERATION as in boto3 (`batch describe_jobs`), PARAMETERS as JSON. Ends with 1 when the time is up. It asks
twenty times a second over one connection, where the aws command would spend half a second of CPU on each question.
"""

from __future__ import annotations

import json
import sys
import time

import botocore.session
import jmespath


def main() -> int:
    seconds, service, operation, parameters, expression = sys.argv[1:]
    client = botocore.session.get_session().create_client(service)
    wanted = jmespath.compile(expression)
    end = time.monotonic() + float(seconds)
    while True:
        answer = getattr(client, operation)(**json.loads(parameters))
        found = wanted.search(answer)
        if found:
            print(found if isinstance(found, str) else json.dumps(found, default=str))
            return 0
        if time.monotonic() > end:
            answer.pop("ResponseMetadata", None)
            print(
                f"await: nothing within {seconds} s; the last answer: {json.dumps(answer, default=str)}",
                file=sys.stderr,
            )
            return 1
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
