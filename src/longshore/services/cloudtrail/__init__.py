"""The record of calls: who did what to what, and how it was answered.

Owns the trail, and answers LookupEvents from it. It is told by the gateway, through the port `Trail`, of every call; it
emits "AWS API Call via CloudTrail" for each refusal, so that a room can say why something waits.
"""
