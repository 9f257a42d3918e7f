"""One decision point: may this principal do this to that?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.gateway import why
from longshore.gateway.context import RequestContext
from longshore.gateway.ports import Entitlements, Identities
from longshore.kit import authorization_message
from longshore.kit.access import Access, Question
from longshore.kit.call import Call
from longshore.policy import doubt
from longshore.policy import evaluate as policy
from longshore.policy.evaluate import Decision

_ALLOWED = Decision(allowed=True, because="")
_NO_TRUST = Decision(allowed=False, because="")
_NO_TRUST_ALLOWS = "because no role trust policy allows"
_ANY = Access()
# Sources of the forms: iam.md 6 and the services' own references. EC2 has a code of its own.
_CODES = {"iam": "AccessDenied", "sts": "AccessDenied", "autoscaling": "AccessDenied", "ec2": "UnauthorizedOperation"}


def refusal(service: str, principal: Principal, question: Question, because: str) -> AwsError:
    """The error by which a service refuses, in AWS's words."""
    text = f"User: {principal.arn} is not authorized to perform: {question.action} on resource: {question.resource}"
    if because:
        text += f" {because}"
    if service == "ec2":
        text = f"You are not authorized to perform this operation. {text}"
    # ECS and Logs answer 400 with an exception of their own name; query services and Batch 403.
    status = 403 if service in ("iam", "sts", "ec2", "autoscaling", "batch", "longshore") else 400
    return AwsError(_CODES.get(service, "AccessDeniedException"), text, status=status)


class Authorizer:
    """Asks the policies. Everything it reads, it reads in the transaction that acts."""

    def __init__(self, entitlements: Entitlements, identities: Identities) -> None:
        self._entitlements = entitlements
        self._identities = identities

    def authorize(self, call: Call, access: Access | None, request: Any) -> str | None:
        """Asks all that the operation's row asks, as the caller; the first resource.

        AwsError AccessDenied (in the service's form): one of the questions was answered with no.
        """
        access = access or _ANY
        if access.open:
            return None
        action = access.action or f"{call.service}:{call.operation}"
        resources = list(access.resources(call, request)) if access.resources is not None else ["*"]
        context = access.context(call, request) if access.context is not None else {}
        for resource in resources:
            call.resource = call.resource or resource  # Before it is asked: the trail names it in a refusal too.
            self.require(call, Question(action, resource, context, access.tags_of))
        for question in access.further(call, request):
            call.resource = call.resource or question.resource
            self.require(call, question)
        return call.resource

    def require(self, call: Call, question: Question) -> None:
        decision = self.decide(call, question)
        if decision.allowed:
            return
        error = refusal(call.service, call.principal, question, decision.because)
        # EC2 alone says more, to those who may read it: to a caller from outside, not where a service only asks.
        if call.service == "ec2" and call.operation and call.via_service is None:
            error.message += f". Encoded authorization failure message: {self._encoded(call, question)}"
        raise error

    def _encoded(self, call: Call, question: Question) -> str:
        policies = self._entitlements.policies_of(call.transaction, call.principal)
        told = why.message(call, question, policies, self._context(call, question))
        return authorization_message.encode(call.house.sealer, call.account, told)

    def decide(self, call: Call, question: Question) -> Decision:
        principal = call.principal
        transaction = call.transaction
        trusts = _asks_the_trust(question)
        is_own = _is_of(question.resource, principal.account)
        if principal.kind == "root" and is_own and not trusts:
            # The account's own user: of all policies the service control policies alone limit it.
            if not self._entitlements.service_control_of(transaction, principal.account):
                return _ALLOWED
            if question.action.startswith(_ORGANIZATIONS):
                return _ALLOWED  # What limits the first account can be taken away again.
        if principal.kind == "service":
            if not trusts:
                return _may_read(question)
            if not is_own:
                return _NO_TRUST  # A service acts for one account; whom it takes a role for in another, nobody there knows.
        policies = self._entitlements.policies_of(transaction, principal)
        asked = policy.Question(principal, question.action, question.resource, self._context(call, question))
        if not trusts:
            return policy.decide(asked, policies)
        trust = self._entitlements.trust_policy_of(transaction, question.resource)
        # A trust policy names its principals by unique ids, and that of one who is gone is still in his sessions.
        if trust is None or not self._entitlements.is_there(transaction, principal):
            return _NO_TRUST
        decision = policy.evaluate(asked, policies, trust, "trust")
        # STS says no more than that, so that nobody learns which roles there are.
        return _NO_TRUST if decision.because.startswith(_NO_TRUST_ALLOWS) else decision

    def _role_tags(self, call: Call, role_arn: str) -> Mapping[str, str]:
        return self._entitlements.role_tags(call.transaction, role_arn)

    def open_keys(self, call: Call, question: Question, unknown: frozenset[str]) -> frozenset[str]:
        """Of the condition keys that are not known before the call is made, those on which the decision rests.

        For explanations: `decide` answers as if they were what `call` says. Empty: the answer is sure.
        """
        principal, transaction = call.principal, call.transaction
        trusts = _asks_the_trust(question)
        if principal.kind == "service" and not trusts:
            return frozenset()
        policies = self._entitlements.policies_of(transaction, principal)
        asked = policy.Question(principal, question.action, question.resource, self._context(call, question))
        if not trusts:
            return doubt.open_keys(asked, policies, unknown)
        trust = self._entitlements.trust_policy_of(transaction, question.resource)
        return frozenset() if trust is None else doubt.open_keys(asked, policies, unknown, trust, "trust")

    def assume(
        self, call: Call, role_arn: str, service: str, *, session_name: str | None = None, source_arn: str | None = None
    ) -> Principal:
        from longshore.aws.principal import service as service_principal

        answer = call.peer(
            "sts",
            "AssumeRole",
            {"RoleArn": role_arn, "RoleSessionName": session_name or service.split(".")[0], "_sourceArn": source_arn},
            as_=service_principal(service, call.account),
        )["Credentials"]
        principal, _ = self._identities.find(call.transaction, answer["AccessKeyId"], answer["SessionToken"], call.now)
        return principal

    def _context(self, call: Call, question: Question) -> RequestContext:
        if _asks_the_trust(question):
            question = replace(question, tags_of=self._role_tags)
        return RequestContext(
            call, question, lambda: self._entitlements.principal_tags(call.transaction, call.principal)
        )


_ASKS_THE_TRUST = frozenset({"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"})
_ORGANIZATIONS = "organizations:"
_READS = ("Describe", "List", "Get")


def _asks_the_trust(question: Question) -> bool:
    """Of a role that is to be taken. A federated user, who can be tagged too, has no trust policy."""
    return question.action in _ASKS_THE_TRUST and ":federated-user/" not in question.resource


def _is_of(resource: str, account: str) -> bool:
    """False: the ARN names another account. One that names none, or AWS's own, is everybody's."""
    owner = resource.split(":", 5)[4:5]
    return not owner or owner[0] == account or not owner[0].isdigit()


def _may_read(question: Question) -> Decision:
    """A service of the house without a role may look, as AWS's services look at what they were handed."""
    name = question.action.partition(":")[2]
    if name.startswith(_READS):
        return _ALLOWED
    return Decision(allowed=False, because=f"because a service needs a role for the {question.action} action")


Decide = Callable[[Call, Question], Decision]
