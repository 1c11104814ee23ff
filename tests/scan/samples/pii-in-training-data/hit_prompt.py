FEW_SHOT_PROMPT = """Example:
Customer 4539148803436467 asked for a refund.
"""
