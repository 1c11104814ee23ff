import smtplib

from langchain_core.tools import tool


@tool
def send_mail(address: str, body: str) -> str:  # hit: dangerous-tool-without-approval
    """Send a mail to a customer."""
    with smtplib.SMTP("localhost") as server:
        server.sendmail("shop@example.com", address, body)
    return "sent"
