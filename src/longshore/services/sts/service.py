"""The door of STS."""

from longshore.kit.service import Service
from longshore.services.sts.access import ACCESS
from longshore.services.sts.operations import identity, messages, roles, tokens

SERVICE = Service("sts", operations=[identity, messages, roles, tokens], access=ACCESS)
