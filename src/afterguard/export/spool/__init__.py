"""The write-ahead spool: what a sink is to be sent, on disk before anybody tries to send it.

record.py is the bytes of one record; log.py one lane in segment files; reader.py reads it; counters.py holds what must survive a kill; bound.py puts lanes together
under one bound. Nothing here knows what a record means or where it goes.
"""
