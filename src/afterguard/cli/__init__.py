"""Commands: one short function each; parse, call a job, render, choose the exit code. No rules of their own."""
