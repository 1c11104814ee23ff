"""From what detectors and the watch saw to what a person in the SOC is asked to look at."""

from afterguard.watch.triage.gather import BEYOND, HITS_OF, KINDS, Triage
from afterguard.watch.triage.said import HIDING, MEANS, UNDETERMINED, Disposition, Owner, Said, Suppression, disposed
from afterguard.watch.triage.sighting import Place, Sighting, Traffic, is_probe, of_drill, sightings, traffic

__all__ = ["BEYOND", "HIDING", "HITS_OF", "KINDS", "MEANS", "UNDETERMINED", "Disposition", "Owner", "Place", "Said", "Sighting", "Suppression", "Traffic", "Triage", "disposed", "is_probe", "of_drill", "sightings", "traffic"]  # fmt: skip
