"""The door of STS."""

from longshore.kit.service import Service
from longshore.services.sts.access import ACCESS
from longshore.services.sts.operations import identity, roles, tokens

SERVICE = Service("sts", operations=[identity, roles, tokens], access=ACCESS)
