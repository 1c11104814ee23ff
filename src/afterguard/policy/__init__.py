"""Exchange + Hits -> Verdict. So far: the draft a person starts from. Nothing here enforces anything."""
