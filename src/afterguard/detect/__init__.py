"""Text or Exchange -> Hit: one file a detector; the same ones serve guard, look-back, scan and attack."""
