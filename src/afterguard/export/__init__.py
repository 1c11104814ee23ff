"""Alert, decision line, case, finding, action -> the SOC's formats: one file a format, listed in `formats`.

Encoders are pure: no socket, clock or file. What delivers the bytes stands in `sinks`.
"""
