"""An attack's result -> file: table, json, sarif, junit, html. What is given here is masked already (attack/masking.py)."""
