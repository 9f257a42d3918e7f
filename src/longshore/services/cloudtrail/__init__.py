"""The record of calls: who did what to what, and how it was answered.

Owns the trail, and answers LookupEvents from it. It is told by the gateway, through the port `Trail`, of every call that
somebody was known for: also of one room's writing calls to another, and of its refused ones. It calls nobody.

Emits, for each refusal, at once, whether or not what the call did was rolled back:

    detail type  "AWS API Call via CloudTrail"      (`trail.REFUSED`)
    source       "aws.ecs": the service that refused
    resource     the ARN of the caller: `arn:aws:sts::ACCOUNT:assumed-role/ecsInstanceRole/i-0123...`
    detail       the CloudTrail record, the same that LookupEvents gives: `eventSource` "ecs.amazonaws.com", `eventName`
                 "RegisterContainerInstance", `errorCode`, `errorMessage`, `eventTime`, `requestID`, `resources`, and
                 `userIdentity` with `type`, `arn`, `principalId` ("AROA...:i-0123..."), for a role's session
                 `sessionContext.sessionIssuer.arn` (the role), for a service `invokedBy` alone

A refusal is an answer of AccessDenied, AccessDeniedException or UnauthorizedOperation (`trail.REFUSALS`). At AWS all calls
reach EventBridge by this type; here only refusals do, for they are what a room waits to hear of. Requests whose signature or
key was no good are in no record, as at AWS: nobody is known for them.

Ours: so many calls are kept, the newest (`Settings.trail_records`), for so many days (`trail_days`); AWS keeps 90 days.
"""
