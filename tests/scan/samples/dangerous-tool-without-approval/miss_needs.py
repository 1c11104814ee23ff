import stripe
from agents import Agent, function_tool


@function_tool(needs_approval=True)
def refund(charge: str, cents: int) -> str:
    """Refund a charge."""
    stripe.Refund.create(charge=charge, amount=cents)
    return "done"


agent = Agent(name="support", instructions="Help customers.", tools=[refund])
