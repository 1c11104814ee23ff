"""Source -> syntax. Every language and infrastructure format is parsed once, here, for discover and scan alike.

In: a Source (bytes, path, kind). Out: a syntax.Module for programming languages, a document.Document for structured
formats. Never raises on hostile input: what cannot be parsed comes back in `errors`.
"""
