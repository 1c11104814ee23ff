import smtplib

from langchain_core.tools import tool


@tool
def send_mail(address: str, body: str) -> str:
    """Send a mail to a customer."""
    if not approvals.granted("mail", address, body):
        return "waiting for a person"
    with smtplib.SMTP("localhost") as server:
        server.sendmail("shop@example.com", address, body)
    return "sent"
