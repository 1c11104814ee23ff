"""The inline doors: what an application sends to its model passes here, both ways.

In: HTTP from the application. Out: HTTP to the model and back, with the verdict of a policy done to it. Decides nothing itself: `session`
says what to do and does no I/O, the other files do the I/O and know no policy.
"""
