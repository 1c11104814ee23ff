import stripe
from agents import Agent, function_tool


@function_tool
def refund(charge: str, cents: int) -> str:  # hit: dangerous-tool-without-approval
    """Refund a charge."""
    stripe.Refund.create(charge=charge, amount=cents)
    return "done"


agent = Agent(name="support", instructions="Help customers.", tools=[refund])
