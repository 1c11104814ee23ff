"""From what detectors and the watch saw to what a person in the SOC is asked to look at."""

from afterguard.watch.triage.gather import Triage
from afterguard.watch.triage.said import Disposition, Owner, Said, Suppression, disposed
from afterguard.watch.triage.sighting import Place, Sighting, Traffic, is_probe, sightings, traffic

__all__ = ["Disposition", "Owner", "Place", "Said", "Sighting", "Suppression", "Traffic", "Triage", "disposed", "is_probe", "sightings", "traffic"]  # fmt: skip
