"""IAM: users, groups, roles, policies, instance profiles, access keys.

Owns identities and what they may do, and answers the gateway's ports for both (`identities`, `entitlements`). Hears from the
trail what was called (`last_used`). Calls nobody, but looks at Batch, ECS and EC2 before a service-linked role is deleted;
emits "IAM Role Changed" and "IAM Instance Profile Changed", so that what was refused is tried again when the reason is gone.

AWS's: fields, names, limits, texts, the order of checks, unique ids in trust policies, documents of managed policies.
Ours: a change holds from the next request on, where AWS takes seconds; markers name the last item of a page; the ids of AWS's
managed policies are made from their names, since no public list of these policies has them; of each of them the newest
version alone is known; there are no devices for a second factor, no certificates and no identity providers.
"""
