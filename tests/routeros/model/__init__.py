"""A model of a RouterOS router, for tests of scripts; what it does per version is data."""

from tests.routeros.model.facts import versions
from tests.routeros.model.faults import KINDS, FaultPlan, Hang, PowerCut
from tests.routeros.model.registry import Image, Registry
from tests.routeros.model.router import Router

__all__ = ["KINDS", "FaultPlan", "Hang", "Image", "PowerCut", "Registry", "Router", "versions"]
